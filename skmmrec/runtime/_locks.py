"""A lock that forked children find free."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from threading import RLock
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

T = TypeVar("T")

_locks: WeakSet[ForkSafeLock] = WeakSet()


class ForkSafeLock:
    """A reentrant lock for a ``with`` statement.

    A thread that holds a lock while another one forks does not exist in the child,
    where it could never give the lock back. So the child gets a new one. What the
    forking thread itself holds stays held.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Replace a lock that another thread holds."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock = RLock()


class cached_property(functools.cached_property[T]):
    """That of functools, whose lock in Python 3.11 a forked child may find held."""

    def __init__(self, func: Callable[[Any], T]) -> None:
        super().__init__(func)
        self.lock = ForkSafeLock()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_renew_all)
