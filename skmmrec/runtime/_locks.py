"""A lock that forked children find free."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from operator import attrgetter
from threading import RLock
from typing import Any, TypeVar
from weakref import WeakSet, finalize

T = TypeVar("T")

_locks: WeakSet[ForkSafeLock] = WeakSet()


class ForkSafeLock:
    """A reentrant lock for a ``with`` statement.

    A thread that holds a lock while another one forks does not exist in the child,
    where it could never give the lock back. So the child gets a new one. What the
    forking thread itself holds stays held.

    Both methods are those of the lock itself, which Ctrl-C does not interrupt: a method
    of Python that is interrupted could keep the lock for good.
    """

    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))

    def __init__(self) -> None:
        self._lock = RLock()
        _locks.add(self)

    def renew(self) -> None:
        """Replace a lock that another thread holds."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock = RLock()


_of_objects: dict[int, ForkSafeLock] = {}
_making = ForkSafeLock()


def lock_of(owner: object) -> ForkSafeLock:
    """Lock of an object, which is no part of it: no copy and no pickle has it."""
    with _making:
        if id(owner) not in _of_objects:
            _of_objects[id(owner)] = ForkSafeLock()
            finalize(owner, _of_objects.pop, id(owner)).atexit = False
        return _of_objects[id(owner)]


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
