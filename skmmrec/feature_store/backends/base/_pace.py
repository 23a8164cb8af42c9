"""Work in the background that leaves the processors to those who answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds of a processor between two pauses: what one list of 100,000 items takes, and
# after how long Python lets another thread run.
_PIECE = 0.005
# How many times as long as a piece its pause is: a tenth of a processor is worked, so
# that ten processes that load the same publication take one of them together. Of eight
# that answer 30 lists a second on two processors, the longest wait while 100,000 x 64
# are published on Redis was 216 ms with such pauses, and 483 without
# (`benchmarks/store_load.py`).
_REST = 9
# Seconds of pauses in all, after which there are no more: much more has to be loaded
# then than 100,000 vectors, which take some 0.1 s, and should be there before long.
_MOST = 5.0


class Pace:
    """How fast a thread works in the background, until it is told to hurry."""

    def __init__(self) -> None:
        self._hurried = threading.Event()
        self._left = _MOST
        self._since = 0.0

    def hurry(self) -> None:
        """Have no more pauses: somebody waits."""
        self._hurried.set()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Have `give_way` in this thread make the pauses."""
        self._since = time.thread_time()
        _KEPT.pace = self
        try:
            yield
        finally:
            _KEPT.pace = None

    def pause(self) -> None:
        """Pause if a piece of work has been done."""
        worked = time.thread_time() - self._since
        if worked < _PIECE or self._left <= 0 or self._hurried.is_set():
            return
        pause = min(_REST * worked, self._left)
        self._left -= pause
        self._hurried.wait(pause)
        self._since = time.thread_time()


class _Kept(threading.local):
    pace: Pace | None = None


_KEPT = _Kept()


def give_way() -> None:
    """Pause now and then, in a thread that works in the background."""
    if _KEPT.pace is not None:
        _KEPT.pace.pause()
