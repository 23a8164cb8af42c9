"""Leases: locks that end some time after their process was killed or paused.

Whoever holds one writes on condition that it is still the holder (`Server.
together_while`), so a process that was paused changes nothing once it goes on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from redis.exceptions import LockNotOwnedError
from redis.lock import Lock

from skmmrec.feature_store.backends.base import BusyStoreError, StoreError

from ._server import Server

_LOG = logging.getLogger("skmmrec.feature_store")


class Lease:
    """One lease that is held.

    Attributes
    ----------
    name : bytes
    token : bytes
        What the entry holds for as long as the lease is ours.
    """

    def __init__(self, server: Server, name: bytes, seconds: float) -> None:
        self.name = name
        self._server = server
        self._seconds = seconds
        self._lock = Lock(
            server.client, cast("str", name), timeout=seconds, thread_local=False
        )
        self.token = b""

    def acquire(self, timeout: float) -> bool:
        """Wait for the lease; False after `timeout` seconds."""
        # A recorder holds it for milliseconds, and so asks every ten; a publisher,
        # whose lease is longer, less often.
        with self._server.errors():
            again = self._seconds / 1000
            if not self._lock.acquire(sleep=again, blocking_timeout=timeout):
                return False
        self.token = self._lock.local.token
        return True

    def release(self) -> None:
        """Let others have it; one that was lost is theirs already."""
        try:
            with self._server.errors():
                self._lock.release()
        except StoreError as error:
            # It ends by itself, and an error of what was done under it says more.
            _LOG.info("lease %r was not released: %s", self.name, error)

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Keep the lease from running out, by a thread."""
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _renew(self, done: threading.Event) -> None:
        while not done.wait(self._seconds / 3):  # two may fail before it runs out
            try:
                with self._server.errors():
                    self._lock.reacquire()
            except StoreError as error:
                _LOG.warning("the lease of the publisher was not renewed: %s", error)
                if isinstance(error.__cause__, LockNotOwnedError):
                    return  # whatever is written from now on is refused


@contextmanager
def held(lease: Lease, timeout: float, what: str) -> Iterator[Lease]:
    """Hold a lease, or raise a BusyStoreError."""
    if not lease.acquire(timeout):
        raise BusyStoreError(f"another process has been {what} for {timeout} s")
    try:
        yield lease
    finally:
        lease.release()
