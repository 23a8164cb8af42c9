"""Threads that answer, and how many requests may wait for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ._problems import ProblemError

T = TypeVar("T")


class Threads:
    """A fixed number of threads, and a queue before them that has an end.

    A request that is given up waits no longer; work that has begun goes on to its end
    and holds its thread until then, so that no more run than there are threads.

    Parameters
    ----------
    name : str
        What threads and errors are called by.
    n_threads : int
    max_waiting : int
        Length of the queue.
    """

    def __init__(self, name: str, n_threads: int, max_waiting: int) -> None:
        self._name, self._most = name, n_threads + max_waiting
        self._n_threads, self._pool = n_threads, self._new_pool(n_threads)
        self._lock, self._taken = threading.Lock(), 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run something in a thread.

        Raises ProblemError when the queue is full.
        """
        with self._lock:
            if self._taken >= self._most:
                raise ProblemError("busy", f"all threads for {self._name} are taken")
            self._taken += 1
        future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._taken -= 1

    def close(self) -> None:
        """Finish what has begun, and drop the rest; then one may begin anew."""
        closed, self._pool = self._pool, self._new_pool(self._n_threads)
        closed.shutdown(wait=False, cancel_futures=True)

    def _new_pool(self, n_threads: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(n_threads, f"skmmrec-{self._name}")
