"""Threads that decode ahead of a model, and threads that encode in parallel."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from threading import Barrier, RLock
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_threads_lock = RLock()


def n_cores() -> int:
    """Return how many cores torch may use in this thread."""
    import torch

    return torch.get_num_threads()


def n_decoders(device: Any) -> int:
    """Return how many threads decode; beside an accelerator, one for each core."""
    return max(2, n_cores() if device.type == "cpu" else os.cpu_count() or 1)


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], n_threads: int, n_ahead: int
) -> Iterator[R]:
    """Map in threads, in order, with at most `n_ahead` results ahead of the one in use.

    The end does not wait for the threads. The garbage collector closes an abandoned
    generator, perhaps in a thread that holds a lock which they need to finish.
    """
    pool = ThreadPoolExecutor(n_threads)
    try:
        yield from _in_order(pool, function, items, n_ahead)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def map_in_lanes(
    function: Callable[[T], R], items: Iterable[T], n_lanes: int
) -> Iterator[R]:
    """Map with a torch function, in order, in threads of one core each (lanes).

    Cores that share one small batch wait for each other in every layer; lanes do not.
    A single item gets all cores, in the calling thread. If an error occurs, calls that
    have started are finished first; an abandoned generator does not wait for them (see
    `map_ahead`).
    """
    iterator = iter(items)
    first = list(islice(iterator, 2))
    items = chain(first, iterator)
    if n_lanes == 1 or len(first) < 2:
        yield from map(function, items)
        return
    pool = _lanes(n_lanes)
    try:
        yield from _in_order(pool, function, items, n_lanes)
    except Exception:
        pool.shutdown(wait=True)
        raise
    finally:
        pool.shutdown(wait=False)


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[R]:
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _lanes(n_lanes: int) -> ThreadPoolExecutor:
    """Start threads in which torch uses one core, and leave other threads as they are.

    `torch.set_num_threads` applies to the calling thread, and to threads that have not
    used torch yet.
    """
    import torch

    ready = Barrier(n_lanes + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread's first use of torch would reset its number
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(n_lanes)
    with _threads_lock:
        n_threads = torch.get_num_threads()
        for _ in range(n_lanes):
            pool.submit(start)
        ready.wait()
        torch.set_num_threads(n_threads)
    return pool
