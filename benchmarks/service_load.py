"""Ask the service beside asking the store directly, and tell how long each takes.

    python benchmarks/service_load.py [--engine sqlite|postgres|redis]
        [--items 100000] [--users 20000] [--dim 64] [--workers 2] [--clients 4]
        [--seconds 20]

First so many processes as there are workers call `OnlineRecommender.recommend` for one
user after the other; then so many clients, each a process with one connection, ask a
service with so many workers for the same. Prints wall times at the median, the 99th
percentile and the most, answers per second, errors, and the ratios.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

# Processes import this file anew: those that only ask over HTTP need none of Feast.
warnings.simplefilter("ignore")
SPAWN = multiprocessing.get_context("spawn")
Ask = Callable[[int], int]


def direct(place: str) -> Ask:
    """Ask the store in the folder."""
    from skmmrec.feature_store import OnlineRecommender

    online = OnlineRecommender(place)
    return lambda user: len(online.recommend([user], k=10))


def over_http(place: str) -> Ask:
    """Ask the service at the address, over one connection."""
    connection = http.client.HTTPConnection(urlsplit(place).netloc, timeout=30)
    headers = {"Content-Type": "application/json"}

    def ask(user: int) -> int:
        body = json.dumps({"users": user, "k": 10})
        connection.request("POST", "/recommend", body, headers)
        answer = json.loads(connection.getresponse().read())
        return len(answer["recommendations"])

    return ask


def keep_asking(
    kind: str, place: str, seed: int, options: Any, start: Any, report: Any
) -> None:
    """Ask for lists until the time is over."""
    ask = {"direct": direct, "over HTTP": over_http}[kind](place)
    rng, times, errors = np.random.default_rng(seed), [], []
    ask(0)
    start.wait()
    until = time.perf_counter() + options.seconds
    while time.perf_counter() < until:
        user = int(rng.integers(options.users))
        begin = time.perf_counter()
        try:
            if ask(user) != 10:
                errors.append("a list of another length")
        except Exception as error:  # counted and printed
            errors.append(repr(error)[:200])
        times.append(time.perf_counter() - begin)
    report.put((times, errors))


def measure(kind: str, place: str, n_processes: int, options: Any) -> dict[str, float]:
    """Let processes ask together; print and return what it took."""
    start, report = SPAWN.Barrier(n_processes), SPAWN.Queue()
    arguments = [(kind, place, n, options, start, report) for n in range(n_processes)]
    processes = [SPAWN.Process(target=keep_asking, args=each) for each in arguments]
    for process in processes:
        process.start()
    reports = [report.get() for _ in processes]
    for process in processes:
        process.join()
    times = np.concatenate([each for each, _ in reports]) * 1e3
    errors = [error for _, found in reports for error in found]
    p50, p99 = np.percentile(times, [50, 99])
    rate = len(times) / options.seconds
    print(
        f"{kind:10} {n_processes} asking  p50 {p50:7.2f}  p99 {p99:7.2f}  "
        f"max {times.max():7.1f} ms  {rate:7.1f}/s  errors {len(errors)}",
        flush=True,
    )
    for error in sorted(set(errors))[:5]:
        print("  ", error)
    return {"p50": p50, "p99": p99, "rate": rate}


def run_service(repo: str, port: int, workers: int) -> None:
    """Serve until the process is ended."""
    from skmmrec.service import serve

    serve(repo, port=port, workers=workers)


@contextmanager
def service(repo: Path, options: argparse.Namespace) -> Iterator[str]:
    """Start the service; give its address once it answers."""
    process = SPAWN.Process(
        target=run_service, args=(str(repo), options.port, options.workers)
    )
    process.start()
    try:
        wait(options.port)
        yield f"http://127.0.0.1:{options.port}"
    finally:
        process.terminate()
        process.join()


def wait(port: int) -> None:
    """Wait until the service is ready, each worker being asked some times."""
    until, good = time.monotonic() + 300, 0
    while good < 20:
        if time.monotonic() > until:
            raise TimeoutError("the service does not answer")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/readyz")
            good += connection.getresponse().status == 200
        except OSError:
            time.sleep(0.2)


def run(options: argparse.Namespace, repo: Path) -> None:
    from benchmarks.store_load import Recommender
    from skmmrec.feature_store import publish

    publish(Recommender(1, options.users, options.items, options.dim), repo)
    own = measure("direct", str(repo), options.workers, options)
    with service(repo, options) as url:
        for n_clients in sorted({options.workers, options.clients}):
            found = measure("over HTTP", url, n_clients, options)
            ratios = "  ".join(f"{key} {found[key] / own[key]:.2f}" for key in own)
            print(f"{'':10} over direct: {ratios}")


def main() -> None:
    from benchmarks.store_load import parser_of, repository

    parser = parser_of(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--port", type=int, default=8765)
    options = parser.parse_args()
    print(f"{options.engine}, {options.items} x {options.dim}, {os.cpu_count()} CPUs")
    with repository(options.engine) as repo:
        run(options, repo)


if __name__ == "__main__":
    main()
