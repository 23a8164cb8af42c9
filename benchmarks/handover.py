"""Have processes read another publication at once, with pauses and without, by turns.

    python benchmarks/handover.py [--engine sqlite|postgres|redis] [--rate 30]
        [--items 100000] [--users 20000] [--dim 64] [--readers 8] [--swaps 12]
        [--every 6]

Readers ask for lists, at random times, `rate` a second together. Every few seconds
another one of three publications is served, and each reader's process reads it in the
background: every other time with the pauses of `Pace`, every other time without. Prints
how long lists take after a swap, counted from when they were due, the longest of each
swap, and how long the loads take. The first swap of each kind comes first in its list:
processes that were forked copy their memory then.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from store_load import line, mixes, parser_of, publish_timed, repository, working

from skmmrec.feature_store import OnlineRecommender, _handover, open_store
from skmmrec.feature_store._publications import next_us
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import Pace, Snapshot

KEPT = 3  # publications; stores keep the vectors of two in memory
WARM_UP = 3.0  # seconds before the first swap


@contextmanager
def switched(paces: Any) -> Iterator[list]:
    """Have pauses where `paces` says so; give the loads, with and without."""
    loads, pause, run = [], Pace.pause, _handover.Handover._run

    def timed(self: Any, snapshot: Snapshot, pace: Pace) -> None:
        kind, start = paces.value, time.perf_counter()
        run(self, snapshot, pace)
        loads.append((kind, time.perf_counter() - start))

    _handover.Handover._run = timed
    Pace.pause = lambda self: pause(self) if paces.value else None
    yield loads


def read(repo: str, seed: int, options: Any, until: Any, report: Any, paces: Any):
    """Ask for lists until told to stop."""
    online, rng = OnlineRecommender(repo), np.random.default_rng(seed)
    times, mixed, gap = [], 0, options.readers / options.rate
    with switched(paces) as loads:
        online.recommend([0], k=10)
        report.put("ready")
        due = time.perf_counter()
        while not until.is_set():
            due += rng.exponential(gap)
            until.wait(max(0.0, due - time.perf_counter()))
            found = online.recommend([int(rng.integers(options.users))], k=10)
            mixed += mixes(found["score"].to_numpy())
            times.append((due, time.perf_counter() - due))
    report.put((times, mixed, loads))


def swap(repo: Path, options: Any, paces: Any) -> list[tuple[float, int]]:
    """Serve one publication after the other; return when, and with pauses or not."""
    backend, swaps = backend_of(open_store(repo)), []
    for n in range(options.swaps):
        paces.value = (n + n // 2) % 2  # in the order 0 1 1 0
        number = backend.served().number % KEPT + 1
        [chosen] = [s for s in backend.publications() if s.number == number]
        swaps.append((time.perf_counter(), paces.value))
        with backend.sole_publisher(60):
            backend.serve(replace(chosen, served_us=next_us(backend)))
        time.sleep(options.every)
    return swaps


def show(swaps: list[tuple[float, int]], reports: list, every: float) -> None:
    times = [each for found, _, _ in reports for each in found]
    print("lists", len(times), "mixed", sum(mixed for _, mixed, _ in reports))
    line("before", [taken for due, taken in times if due < swaps[0][0]])
    for kind, name in enumerate(("without pauses", "with pauses")):
        after = [
            [taken for due, taken in times if start <= due < start + every]
            for start, one in swaps
            if one == kind
        ]
        line(name, [taken for some in after for taken in some])
        longest = [round(max(some, default=0) * 1e3) for some in after]
        print("  longest of each swap, ms", longest)
        line("  loads", [t for _, _, some in reports for one, t in some if one == kind])


def run(options: Any, repo: Path) -> None:
    for number in range(1, KEPT + 1):
        publish_timed(number, repo, options)
    context = multiprocessing.get_context("fork")
    until, report, paces = context.Event(), context.Queue(), context.Value("i", 0)
    workers = [
        context.Process(target=read, args=(str(repo), n, options, until, report, paces))
        for n in range(options.readers)
    ]
    with working(workers, until, report) as reports:
        time.sleep(WARM_UP)
        swaps = swap(repo, options, paces)
    show(swaps, reports, options.every)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rate", type=float, default=30, help="lists a second, of all")
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--swaps", type=int, default=12)
    parser.add_argument("--every", type=float, default=6.0, help="seconds")
    parser.set_defaults(workers="processes")
    options = parser.parse_args()
    with repository(options.engine) as repo:
        run(options, repo)


if __name__ == "__main__":
    main()
