"""Who may write: the sole publisher, and one recorder at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from skmmrec.feature_store.backends.base import BusyStoreError

from ._feedback import Feedback
from ._lease import Lease, held
from ._names import Names
from ._server import Command, Server

# Seconds after which a killed publisher's lease is free; a living one renews it.
_PUBLISHER = 30.0
# The same of a recorder, which needs some milliseconds, or a second where it has to
# read all items first; nobody renews it.
_RECORDER = 10.0
# Seconds to wait for others, who may have been killed while they held the lease.
_WAIT = 60.0


@dataclass
class Recorder:
    """What is done inside `exclusive`, all at its end."""

    lease: Lease
    last_event: int
    commands: list[Command] = field(default_factory=list)
    pushed: set[bytes] = field(default_factory=set)


class Writer:
    """Transactions of one project, each only while its leases are held.

    Attributes
    ----------
    recorder : Recorder or None
        Of this thread, inside `exclusive`.
    """

    def __init__(self, server: Server, project: str, feedback: Feedback) -> None:
        self._server = server
        self._names = Names(project)
        self._project = project
        self._feedback = feedback
        self._local = threading.local()

    @contextmanager
    def sole_publisher(self, timeout: float) -> Iterator[Lease]:
        """Hold the lease of publishers, which a thread renews."""
        lease = Lease(self._server, self._names.publisher, _PUBLISHER)
        what = f"publishing to project {self._project!r}"
        with held(lease, timeout, what), lease.renewed():
            self._local.publisher = lease
            try:
                yield lease
            finally:
                self._local.publisher = None

    @contextmanager
    def _publisher(self) -> Iterator[Lease]:
        """Be the sole publisher, if the caller is not."""
        lease = getattr(self._local, "publisher", None)
        if lease is not None:
            yield lease
            return
        with self.sole_publisher(_WAIT) as lease:
            yield lease

    def publish(self, *parts: Sequence[Command]) -> None:
        """Run commands in one step a part, as the sole publisher."""
        with self._publisher() as lease:
            self._write([lease], *parts)

    def publish_alone(self, commands: Sequence[Command]) -> None:
        """Run commands in one step, while nobody records either."""
        with self._publisher() as lease, self.recording() as recording:
            self._write([lease, recording], commands)

    @contextmanager
    def recording(self) -> Iterator[Lease]:
        """Hold the lease of recorders."""
        lease = Lease(self._server, self._names.recorder, _RECORDER)
        with held(lease, _WAIT, f"recording in project {self._project!r}"):
            yield lease

    @contextmanager
    def exclusive(self) -> Iterator[Recorder]:
        """Hold the lease of recorders; what is written waits for the end."""
        with self.recording() as lease:
            recorder = Recorder(lease, self._feedback.last())
            self._local.recorder = recorder
            try:
                yield recorder
            finally:
                self._local.recorder = None
            if recorder.commands:
                self._write([lease], recorder.commands)

    @property
    def recorder(self) -> Recorder | None:
        """What this thread does inside `exclusive`."""
        return getattr(self._local, "recorder", None)

    @contextmanager
    def within(self) -> Iterator[Recorder]:
        """Be inside `exclusive`, if the caller is not."""
        if self.recorder is not None:
            yield self.recorder
            return
        with self.exclusive() as recorder:
            yield recorder

    def _write(self, leases: Sequence[Lease], *parts: Sequence[Command]) -> None:
        holds = {lease.name: lease.token for lease in leases}
        if not self._server.together_while(holds, parts, leases[-1].name + b":last"):
            raise BusyStoreError(
                "this process was held up for so long that its turn to write to "
                f"project {self._project!r} was over; nothing was written, try again"
            )
