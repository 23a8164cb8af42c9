"""Threads that decode ahead of a model, and threads that encode in parallel."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from threading import Barrier, Event, Thread, get_ident
from typing import Any, TypeVar

from skmmrec.runtime._locks import ForkSafeLock

T = TypeVar("T")
R = TypeVar("R")

# The most items that a thread takes at a time. To hand over work costs 30 us, which is
# then 1 us for each item; 32 pictures are 50 ms of a core. Chunks of 16 were slower.
_CHUNK = 32
_threads_lock = ForkSafeLock()
# The thread that this process was forked in, until it is safe there to use torch.
_forked_in: int | None = None


def n_cores() -> int:
    """Return how many cores torch may use in this thread."""
    import torch

    survive_fork()
    return torch.get_num_threads()


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Let torch use so many cores in this thread, and leave others as they are."""
    import torch

    before = torch.get_num_threads()
    _set_own_threads(n_threads)
    try:
        yield
    finally:
        _set_own_threads(before)


def survive_fork() -> None:
    """Call this before torch is used: in a forked child it could hang.

    The threads of OpenMP do not survive a fork, but the thread that forked still waits
    for them, if it has used them before. With one core it needs none. In other threads
    of the child, and in the parent, nothing changes.
    """
    global _forked_in
    if _forked_in is None or _forked_in != get_ident():
        return
    if "torch" in sys.modules:
        _set_own_threads(1)
    _forked_in = None


def _note_fork() -> None:
    global _forked_in
    _forked_in = get_ident()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_note_fork)


def n_decoders(device: Any) -> int:
    """Return how many threads decode; beside an accelerator, one for each core."""
    return max(2, n_cores() if device.type == "cpu" else os.cpu_count() or 1)


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], n_threads: int, n_ahead: int
) -> Iterator[R]:
    """Map in threads, in order, with about `n_ahead` results ahead of the one in use.

    Threads take items in chunks, which begin small: few items spread over all threads.
    The end does not wait for the threads. The garbage collector closes an abandoned
    generator, perhaps in a thread that holds a lock which they need to finish.
    """
    pool = ThreadPoolExecutor(n_threads)
    is_over = Event()

    def work(chunk: list[T]) -> tuple[list[R], BaseException | None]:
        results: list[R] = []
        for item in chunk:
            if is_over.is_set():
                break
            try:
                results.append(function(item))
            except BaseException as error:
                return results, error
        return results, None

    pending: deque[Future[tuple[list[R], BaseException | None]]] = deque()
    sizes: deque[int] = deque()
    try:
        for chunk in _chunks(items, n_threads, n_ahead):
            pending.append(pool.submit(work, chunk))
            sizes.append(len(chunk))
            while sum(sizes) > n_ahead:
                sizes.popleft()
                yield from _results(pending.popleft())
        while pending:
            yield from _results(pending.popleft())
    finally:
        is_over.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _results(future: Future[tuple[list[R], BaseException | None]]) -> Iterator[R]:
    """Yield the results of a chunk, then raise the error that ended it."""
    results, error = future.result()
    results.reverse()
    while results:  # let go of each, which may be a large picture, once it is used
        yield results.pop()
    if error is not None:
        raise error


def _chunks(items: Iterable[T], n_threads: int, n_ahead: int) -> Iterator[list[T]]:
    """Cut a stream into chunks that grow with the number of items seen."""
    iterator = iter(items)
    most = max(1, min(_CHUNK, n_ahead // (2 * n_threads)))
    n_seen = 0
    while chunk := list(islice(iterator, min(most, 1 + n_seen // (4 * n_threads)))):
        yield chunk
        n_seen += len(chunk)


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
    """Start threads in which torch uses one core, and leave others as they are."""
    import torch

    ready = Barrier(n_lanes + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread's first use of torch would reset its number
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(n_lanes)
    with _for_new_threads_as_before():
        for _ in range(n_lanes):
            pool.submit(start)
        ready.wait()
    return pool


def _set_own_threads(n_threads: int) -> None:
    """Set how many cores torch uses in this thread alone."""
    import torch

    if torch.get_num_threads() == n_threads:
        return
    with _for_new_threads_as_before():
        torch.set_num_threads(n_threads)


@contextmanager
def _for_new_threads_as_before() -> Iterator[None]:
    """Undo what `torch.set_num_threads` does beyond the thread that calls it.

    It also sets the number that threads start with which have not used torch yet. That
    can only be read and set in a thread whose own number does not matter.
    """
    import torch

    def put_back() -> None:
        torch.get_num_threads()
        torch.set_num_threads(usual)

    with _threads_lock:
        usual = _in_new_thread(torch.get_num_threads)
        try:
            yield
        finally:
            _in_new_thread(put_back)


def _in_new_thread(function: Callable[[], R]) -> R:
    """Call a function in a thread; no pool, which would refuse while Python ends."""
    results: list[R] = []
    thread = Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]
