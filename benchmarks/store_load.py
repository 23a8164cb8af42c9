"""Publish beside readers and a writer, and tell how long each of them waits.

    python benchmarks/store_load.py [--engine sqlite|postgres|redis]
        [--workers threads|processes] [--items 100000] [--users 20000] [--dim 64]
        [--readers 8] [--publications 3] [--rate 100]

Publishes with nobody else there and then, as often as asked for, beside readers
(`recommend` for one user after the other), and a writer (`record`), each in a thread or
a process of its own. Prints wall times at the median, the 99th percentile and the
most; errors; and answers that are of no publication, or mix two of them.

Readers ask without a pause, so that they take all of the processors, however many there
are: how long a publication takes is then how the system divides them. With `--rate`
they ask so many times a second together, at random, as those of a service do, and a
wait counts from when a request was due. The publisher's processor time tells what it
does itself from its waiting for a processor.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from skmmrec.feature_store import OnlineRecommender, publish
    from skmmrec.recommender import ServingVectors
    from tests.feature_store.services import (
        FolderFactory,
        postgres_settings,
        redis_settings,
    )

SEEN = 20  # items that each user has met
WARM_UP = 2.0  # seconds before the first publication, and after the last
# Publications with nobody else there. The last ones do as much as those under load:
# three others stay beside them, and the oldest of these goes.
IDLE, COMPARED = 5, 2


class Recommender:
    """Vectors of a version, of which every score tells the version.

    The users' part of a score is the version, the items' part ten times that. What
    orders the items comes to less than a half, so that a score of users and items of
    one version is 11 times its number, give or take a half, and no other is.
    """

    def __init__(self, number: int, n_users: int, n_items: int, dim: int) -> None:
        rng = np.random.default_rng(number)
        # Sums of products of two such numbers have a standard deviation of 0.08.
        scale = (0.24 / np.sqrt(dim)) ** 0.5
        users = rng.uniform(-scale, scale, (n_users, dim)).astype(np.float32)
        items = rng.uniform(-scale, scale, (n_items, dim)).astype(np.float32)
        users[:, 0], items[:, 0] = number, 1
        users[:, -1], items[:, -1] = 1, 10 * number
        seen = rng.integers(0, n_items, (n_users, SEEN)).tolist()
        self.vectors = ServingVectors(
            pd.DataFrame(users), pd.DataFrame(items), pd.Series(seen), f"v{number}"
        )

    def serving_vectors(self) -> ServingVectors:
        """Return what `publish` needs."""
        return self.vectors


def mixes(scores: np.ndarray) -> bool:
    """Tell whether scores are those of no version."""
    return bool(np.abs(scores - 11 * np.round(scores / 11)).max() > 0.5)


def read(
    repo: str, seed: int, n_users: int, gap: float, until: Any, report: Any
) -> None:
    """Ask for lists until told to stop, on average every `gap` seconds."""
    online, rng = OnlineRecommender(repo), np.random.default_rng(seed)
    times, errors, mixed = [], [], 0
    online.recommend([0], k=10)
    report.put("ready")
    due = time.perf_counter()
    while not until.is_set():
        user = int(rng.integers(n_users))
        due += rng.exponential(gap)
        start = time.perf_counter()
        if gap and due > start:
            until.wait(due - start)
        start = due if gap else start
        try:
            found = online.recommend([user], k=10)
        except Exception as error:  # counted and printed
            errors.append(repr(error)[:300])
        else:
            mixed += mixes(found["score"].to_numpy())
        times.append((start, time.perf_counter() - start))
    report.put(("reader", times, errors, mixed))


def write(repo: str, n_users: int, n_items: int, until: Any, report: Any) -> None:
    """Record an event every 10 ms until told to stop."""
    online, rng = OnlineRecommender(repo), np.random.default_rng(99)
    times, errors = [], []
    online.record(0, 0, 0.0)
    report.put("ready")
    while not until.wait(0.01):
        user, item = int(rng.integers(n_users)), int(rng.integers(n_items))
        start = time.perf_counter()
        try:
            online.record(user, item, 0.0)
        except Exception as error:  # counted and printed
            errors.append(repr(error)[:300])
        times.append((start, time.perf_counter() - start))
    report.put(("writer", times, errors, 0))


def line(name: str, seconds: list[float]) -> None:
    if not seconds:
        print(f"{name:42} nothing")
        return
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    print(
        f"{name:42} n {len(seconds):6}  p50 {p50:8.1f}  p99 {p99:8.1f}  "
        f"max {max(seconds) * 1e3:8.1f} ms"
    )


@contextmanager
def repository(engine: str) -> Iterator[Path]:
    """Lend a copy of the example's repository, with a server where one is needed."""
    source = Path(__file__).parents[1] / "feature_repo"
    ignored = shutil.ignore_patterns("data", "__pycache__")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        repo = Path(shutil.copytree(source, Path(folder, "repo"), ignore=ignored))
        if engine != "sqlite":
            start = {"postgres": postgres_settings, "redis": redis_settings}[engine]
            settings = servers.enter_context(start(FolderFactory(Path(folder))))
            path = repo / "feature_store.yaml"
            text = yaml.safe_load(path.read_text())
            path.write_text(yaml.safe_dump({**text, "online_store": settings}))
        yield repo


@contextmanager
def working(workers: Sequence[Any], until: Any, report: Any) -> Iterator[list]:
    """Have workers work meanwhile, from when all are ready; then give their reports."""
    for worker in workers:
        worker.start()
    for _ in workers:  # each process imports Feast
        assert report.get() == "ready"
    reports: list = []
    yield reports
    until.set()
    reports += [report.get() for _ in workers]
    for worker in workers:
        worker.join()


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Make a parser of what all loads of a store are told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--engine", default="sqlite", choices=["sqlite", "postgres", "redis"]
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=64)
    return parser


class Taken(NamedTuple):
    """Seconds of a publication: by the clock, and of a processor."""

    wall: float
    processor: float


def publish_timed(number: int, repo: Path, options: argparse.Namespace) -> Taken:
    model = Recommender(number, options.users, options.items, options.dim)
    # Threads share a process: only what this one does is the publisher's then.
    is_alone = options.workers == "processes"
    processor = time.process_time if is_alone else time.thread_time
    start, begin = time.perf_counter(), processor()
    publish(model, repo)
    return Taken(time.perf_counter() - start, processor() - begin)


def run(options: argparse.Namespace, repo: Path) -> None:
    idle = [publish_timed(number + 1, repo, options) for number in range(IDLE)]
    gap = options.readers / options.rate if options.rate else 0.0
    threads = options.workers == "threads"
    if threads:
        import queue

        until, report, start = threading.Event(), queue.Queue(), threading.Thread
    else:
        context = multiprocessing.get_context("spawn")
        until, report, start = context.Event(), context.Queue(), context.Process
    workers = [
        start(target=read, args=(str(repo), n, options.users, gap, until, report))
        for n in range(options.readers)
    ]
    arguments = (str(repo), options.users, options.items, until, report)
    workers.append(start(target=write, args=arguments))
    with working(workers, until, report) as reports:
        time.sleep(WARM_UP)
        quiet, loaded, spans = time.perf_counter(), [], []
        for number in range(IDLE + 1, IDLE + 1 + options.publications):
            begin = time.perf_counter()
            loaded.append(publish_timed(number, repo, options))
            spans.append((begin, time.perf_counter() + 1.0))
        time.sleep(WARM_UP)
    show(reports, quiet, spans)
    for name, taken in (("idle", idle[-COMPARED:]), ("under load", loaded)):
        line(f"publication, {name}", [each.wall for each in taken])
        line("  the publisher's processor time", [t.processor for t in taken])


def show(reports: list, quiet: float, spans: list[tuple[float, float]]) -> None:
    for kind in ("reader", "writer"):
        times = [t for name, found, _, _ in reports if name == kind for t in found]
        within = [
            any(start + taken > a and start < b for a, b in spans)
            for start, taken in times
        ]
        during = [t for (_, t), inside in zip(times, within, strict=True) if inside]
        others = [
            t
            for (start, t), inside in zip(times, within, strict=True)
            if not inside and start < quiet
        ]
        line(f"{kind}, nobody publishes", others)
        line(f"{kind}, while a model is published", during)
    errors = [error for _, _, found, _ in reports for error in found]
    print(f"errors {len(errors)}, mixed answers {sum(r[3] for r in reports)}")
    for error in sorted(set(errors))[:5]:
        print("  ", error)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--workers", default="threads", choices=["threads", "processes"]
    )
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--publications", type=int, default=3)
    parser.add_argument("--rate", type=float, help="requests a second, of all readers")
    options = parser.parse_args()
    print(f"{options.engine}, {options.workers}, {os.cpu_count()} CPUs")
    with repository(options.engine) as repo:
        run(options, repo)


if __name__ == "__main__":
    main()
