"""From one publication to the next, without a reader who waits."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet

from skmmrec.feature_store.backends.base import Pace, Snapshot
from skmmrec.runtime import ForkSafeLock

_LOG = logging.getLogger("skmmrec.feature_store")

# Seconds after which requests wait for what is served. 100,000 x 64 vectors take 0.1 s
# to load, and ten times that with the pauses of `Pace`, so whoever takes a minute loads
# tens of millions or has a broken disk.
PATIENCE = 60.0

# Seconds that a fork waits for loads, whose connections must not cross it. A load that
# takes longer waits for something that the forking thread may hold.
_FORK_WAIT = 10.0


class _Changes:
    """What this process has changed, so that it is read from then on."""

    latest: object = None


def hand_over_now() -> None:
    """Have all readers of this process read what is served, from now on."""
    _Changes.latest = object()


@dataclass
class _Loading:
    """A publication that a thread reads into memory, at a pace."""

    snapshot: Snapshot
    thread: threading.Thread
    pace: Pace


class Handover:
    """The publication to read: what is served, or what was, while that is loaded.

    Notes
    -----
    The first publication is read at once, and so is another one

    - after this process has published or rolled back, or after `adopt`,
    - when loading it has failed: whoever reads it then is told why,
    - when loading it takes longer than `PATIENCE`,
    - in a forked child, to which the thread did not come along.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._ready: Snapshot | None = None
        self._noted: object = None
        self._loading: _Loading | None = None
        self._behind_since: float | None = None
        _HANDOVERS.add(self)

    def read(
        self, served: Callable[[], Snapshot], load: Callable[[Snapshot], object]
    ) -> Snapshot:
        """Return the publication to read, `served` telling which is served.

        `load` reads one into memory, in a thread of its own.
        """
        # Read first: a change that is noted from now on is seen next time.
        noted = _Changes.latest
        now, ready = served(), self._ready
        if ready is None or noted is not self._noted or is_same(now, ready):
            return self._take(now, noted)
        with self._lock:
            loading = self._started(now, load)
            since = self._behind_since = self._behind_since or time.monotonic()
        if time.monotonic() - since > PATIENCE or not loading.thread.is_alive():
            return self._take(now, noted)
        return ready

    def adopt(self, snapshot: Snapshot) -> Snapshot:
        """Read a publication that is served from now on; return it."""
        return self._take(snapshot, self._noted)

    def _take(self, snapshot: Snapshot, noted: object) -> Snapshot:
        loading = self._loading
        if loading is not None:
            loading.pace.hurry()
        self._ready, self._noted = snapshot, noted
        self._loading = self._behind_since = None
        return snapshot

    def _started(
        self, snapshot: Snapshot, load: Callable[[Snapshot], object]
    ) -> _Loading:
        """Have a publication loaded, if it is not being loaded already."""
        loading = self._loading
        if loading is None or not is_same(loading.snapshot, snapshot):
            pace = Pace()
            args = (snapshot, load, pace)
            thread = threading.Thread(target=_run, args=args, daemon=True)
            loading = self._loading = _Loading(snapshot, thread, pace)
            thread.start()
        return loading

    def join(self, timeout: float) -> None:
        """Wait for what is being loaded."""
        loading = self._loading
        if loading is not None and loading.thread is not threading.current_thread():
            loading.pace.hurry()
            loading.thread.join(timeout)


def _run(snapshot: Snapshot, load: Callable[[Snapshot], object], pace: Pace) -> None:
    try:
        with pace.kept():
            load(snapshot)
    except Exception as error:  # the next reader gets the error
        _LOG.warning("publication %d was not loaded: %s", snapshot.number, error)


_HANDOVERS: WeakSet[Handover] = WeakSet()


def _join_all() -> None:
    for handover in list(_HANDOVERS):
        handover.join(_FORK_WAIT)


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(before=_join_all)


def is_same(one: Snapshot, other: Snapshot) -> bool:
    """Tell whether two records are of one publication: its number may come again."""
    return (one.number, one.event_us) == (other.number, other.event_us)
