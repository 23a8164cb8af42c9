"""Locks that Ctrl-C leaves free, and those of objects."""

import gc
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from weakref import ref

import pytest

from skmmrec.runtime import ForkSafeLock, lock_of


@pytest.fixture
def interrupted():
    """Have an alarm raise what Ctrl-C does."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.signal(signal.SIGALRM, before)


def is_free(lock):
    """Tell whether another thread may have a lock."""
    found = []

    def look():
        found.append(lock._lock.acquire(blocking=False))
        if found[0]:
            lock._lock.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no alarms")
def test_ctrl_c_keeps_no_lock(interrupted):
    """Of a hundred, ten came within a method of Python that took or gave the lock."""
    lock = ForkSafeLock()
    for _ in range(100):
        try:
            signal.setitimer(signal.ITIMER_REAL, 2e-5)
            while True:
                with lock:
                    pass
        except KeyboardInterrupt:
            assert is_free(lock)


def test_a_lock_is_reentrant_and_exclusive():
    lock = ForkSafeLock()
    with lock, lock:
        assert not is_free(lock)
    with pytest.raises(ZeroDivisionError), lock:
        1 / 0  # noqa: B018
    assert is_free(lock)


@dataclass
class Unhashable:
    name: str = "a"


def test_an_object_has_one_lock_as_long_as_it_lives():
    owners = [Unhashable(), Unhashable()]
    locks = [lock_of(owner) for owner in owners]
    assert locks[0] is lock_of(owners[0]) is not locks[1]
    assert lock_of(copy(owners[0])) is not locks[0]
    assert vars(owners[0]) == {"name": "a"}
    gone = ref(locks[0])
    del locks, owners[0]
    gc.collect()
    assert gone() is None


def test_locks_of_objects_are_given_to_threads_alike():
    owners = [Unhashable() for _ in range(50)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [lock_of(each) for each in owners], range(4)))
    assert found[1:] == found[:-1]
