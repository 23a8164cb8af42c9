"""Locks that Ctrl-C leaves free."""

import signal
import threading

import pytest

from skmmrec.runtime import ForkSafeLock


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
