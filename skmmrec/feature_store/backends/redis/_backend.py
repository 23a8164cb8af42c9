"""Publishing to and serving from `ExactRedisOnlineStore`."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from uuid import uuid4

import pandas as pd
from feast import FeatureStore, FeatureView

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    VERSION_OF,
    Backend,
    BusyStoreError,
    Checksum,
    Event,
    Features,
    Row,
    Snapshot,
    VectorTable,
    chunks,
    vector_table,
)

from ._earlier import Earlier
from ._feedback import Feedback
from ._format import read_cell, with_value
from ._lease import Lease, held
from ._names import Names
from ._server import SCAN, Command
from ._store import ExactRedisOnlineStore

# Seconds after which a killed publisher's lease is free; a living one renews it.
_PUBLISHER = 30.0
# The same of a recorder, which needs some milliseconds, or a second where it has to
# read all items first; nobody renews it.
_RECORDER = 10.0
# Seconds to wait for other recorders; a killed one holds them up for `_RECORDER`.
_WAIT = 30.0
# Bytes in one transaction, of which Redis serves nobody else: 1 ms.
_PIECE = 250_000


@dataclass
class _Recorder:
    """What is done inside `exclusive`, all at its end."""

    lease: Lease
    last_event: int
    commands: list[Command] = field(default_factory=list)
    pushed: set[bytes] = field(default_factory=set)


class RedisBackend(Backend):
    """Hashes in one Redis server, chosen by a pointer.

    Notes
    -----
    No step holds the server up for more than some milliseconds, however large a
    publication is. A process that was paused for so long that its lease ran out
    changes nothing once it goes on.
    """

    online: ExactRedisOnlineStore

    def __init__(self, store: FeatureStore) -> None:
        super().__init__(store)
        self._tables = self.online.tables(self.config)
        self._server, self._names = self._tables.server, Names(self.project)
        self._feedback = Feedback(self._server, self._names)
        self._earlier = Earlier(self._server, self.project)
        self._local = threading.local()

    # Locks

    @contextmanager
    def sole_publisher(self, timeout: float) -> Iterator[None]:
        """Hold a lease, which a thread renews."""
        lease = Lease(self._server, self._names.publisher, _PUBLISHER)
        what = f"publishing to project {self.project!r}"
        with held(lease, timeout, what), lease.renewed():
            self._local.publisher = lease
            try:
                yield
            finally:
                self._local.publisher = None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lease of recorders; what is written waits for the end."""
        with self._recording() as lease:
            recorder = _Recorder(lease, self._feedback.last())
            self._local.recorder = recorder
            try:
                yield
            finally:
                self._local.recorder = None
            if recorder.commands:
                self._write([lease], recorder.commands)

    @contextmanager
    def _recording(self) -> Iterator[Lease]:
        lease = Lease(self._server, self._names.recorder, _RECORDER)
        with held(lease, _WAIT, f"recording in project {self.project!r}"):
            while self._earlier.has_events():
                self._write([lease], self._earlier.next_events(self._feedback))
            yield lease

    @property
    def _recorder(self) -> _Recorder | None:
        return getattr(self._local, "recorder", None)

    def _write(self, leases: Sequence[Lease], commands: Sequence[Command]) -> None:
        """Run commands in one transaction, if all leases are still ours."""
        holds = {lease.name: lease.token for lease in leases}
        sign = self._names.writer, uuid4().bytes
        marked = [*commands, ("SET", *sign)]
        if not self._server.together_while(holds, marked, sign):
            raise BusyStoreError(
                f"this process was held up for so long that others have gone on "
                f"publishing to or recording in project {self.project!r}; nothing was "
                "written, try again"
            )

    def _publish(self, commands: Sequence[Command]) -> None:
        """Run commands in one transaction, if we are still the sole publisher."""
        lease: Lease | None = getattr(self._local, "publisher", None)
        if lease is None:
            raise RuntimeError("publications are changed inside `sole_publisher` only")
        self._write([lease], commands)

    # Publications

    def publications(self) -> list[Snapshot]:
        """Read all records."""
        return self._tables.publications()

    def served(self) -> Snapshot | None:
        """Read the pointer, which holds the whole record."""
        return self._tables.served()

    def staged(self) -> Snapshot | None:
        """Read the record of what is staged."""
        text = self._server("GET", self._names.staged)
        return None if text is None else Snapshot.from_json(text)

    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Forget what was staged before, and what an earlier release left."""
        self._warn_of_eviction()
        self.discard()
        if self._server("HEXISTS", self._names.publications, snapshot.number):
            raise ValueError(f"there is a publication {snapshot.number} already")
        if self.served() is not None:
            self._earlier.delete_rows(self.online.feast(self.config), views)
        self._publish([("SET", self._names.staged, snapshot.to_json())])

    def _warn_of_eviction(self) -> None:
        memory = self._server("INFO", "memory")
        policy = str(memory.get("maxmemory_policy", ""))
        if memory.get("maxmemory") and policy.startswith("allkeys"):
            warnings.warn(
                f"Redis at {self._server.place} has maxmemory-policy {policy}: it may "
                "throw away what is served; set it to noeviction",
                UserWarning,
                stacklevel=2,
            )

    def count_staged(self, view: FeatureView) -> int:
        """Read the count of what is staged."""
        return int(self._server("HGET", self._names.done, view.name) or 0)

    def stage_rows(
        self,
        view: FeatureView,
        keys: Sequence[bytes],
        columns: Sequence[tuple[str, list[bytes]]],
    ) -> None:
        """Write hashes in pieces; rows count once the last of them is written."""
        staged = self.staged()
        if staged is None:
            raise RuntimeError("nothing is being staged; call `begin` before")
        total = sum(map(len, keys)) + sum(len(v) for _, vs in columns for v in vs)
        rows = max(1, _PIECE * len(keys) // max(1, total))
        for part in chunks(range(len(keys)), rows):
            commands = self._stage_piece(staged.number, view.name, keys, columns, part)
            self._publish(commands)
        done = self.count_staged(view) + len(keys)
        self._publish([("HSET", self._names.done, view.name, done)])

    def _stage_piece(
        self,
        number: int,
        view: str,
        keys: Sequence[bytes],
        columns: Sequence[tuple[str, list[bytes]]],
        rows: Sequence[int],
    ) -> list[Command]:
        commands: list[Command] = []
        for feature, values in columns:
            filled = [text for n in rows if values[n] for text in (keys[n], values[n])]
            if filled:
                column = self._names.column(number, view, feature)
                listed = self._names.columns(number)
                commands.append(("SADD", listed, f"{view}:{feature}"))
                commands.append(("HSET", column, *filled))
        return commands

    def complete(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Turn the record of what is staged into that of a publication."""
        record = self._names.publications, snapshot.number, snapshot.to_json()
        self._publish(
            [("HSET", *record), ("DEL", self._names.staged, self._names.done)]
        )

    def serve(self, snapshot: Snapshot) -> None:
        """Move the pointer, while nobody records."""
        if not self._server("HEXISTS", self._names.publications, snapshot.number):
            raise LookupError(
                f"there is no publication {snapshot.number} in project {self.project!r}"
            )
        lease: Lease | None = getattr(self._local, "publisher", None)
        with self._recording() as recording:
            leases = [recording] if lease is None else [lease, recording]
            self._write(leases, self._recorded(snapshot, served=True))

    def _recorded(self, snapshot: Snapshot, *, served: bool) -> list[Command]:
        """Return the commands that change the record of a publication."""
        text = snapshot.to_json()
        record: Command = ("HSET", self._names.publications, snapshot.number, text)
        return [record, ("SET", self._names.served, text)] if served else [record]

    def drop(self, number: int) -> None:
        """Delete a publication's hashes and its record at once."""
        served = self.served()
        if served is not None and served.number == number:
            raise ValueError(f"publication {number} is served and cannot be dropped")
        forget = self._tables.forget(number)
        self._publish([("HDEL", self._names.publications, number), *forget])

    def discard(self) -> None:
        """Delete staged hashes, and what does not count of what was written since."""
        staged = self.staged()
        if staged is not None:
            forget = self._tables.forget(staged.number)
            gone = ("DEL", self._names.staged, self._names.done)
            self._publish([*forget, gone])
        for view in PUBLISHED_VIEWS:
            self._tables.clean_later(view, self.served())
        self._make_checksums()

    def rows(self, view: FeatureView, snapshot: Snapshot) -> Iterator[list[Row]]:
        """Read hashes in the order of the keys."""
        return self._tables.rows(view.name, snapshot)

    # Reading and writing

    def read(
        self,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str],
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, Features]:
        """Read hashes by key."""
        found = self.online.read_values(self.config, view, keys, features, snapshot)
        return {
            key: {name: value for name, (value, _) in row.items()}
            for key, row in found.items()
        }

    def keys(self, view: FeatureView) -> list[bytes]:
        """List all keys."""
        return self.online.keys(self.config, view)

    def vectors(
        self, view: FeatureView, feature: str, snapshot: Snapshot | None = None
    ) -> VectorTable:
        """Return the cached table of vectors."""
        table = self.online.vectors(self.config, view, feature, snapshot)
        if table.version is None:
            return vector_table(view.join_keys[0], [], None)
        return table

    def write(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Write rows, with the rest of `exclusive` if inside."""
        with self._within() as recorder:
            for commands in self._tables.put(view, rows, "later", self.served()):
                recorder.commands += commands

    @contextmanager
    def _within(self) -> Iterator[_Recorder]:
        """Be inside `exclusive`, if the caller is not."""
        if self._recorder is not None:
            yield self._recorder
            return
        with self.exclusive():
            yield self._local.recorder

    def delete(self, view: FeatureView, keys: Sequence[bytes]) -> None:
        """Delete fields by key; Feast's own hashes are shared with other views."""
        feast = self.online.feast(self.config)
        for part in chunks(keys, SCAN):
            with self._within() as recorder:
                recorder.commands += feast.deletions(view, part)
                recorder.commands += self._later_deletions(view, part)
        if view.name in PUBLISHED_VIEWS:
            for snapshot in self.publications():
                self._delete_published(view.name, keys, snapshot)
            self._make_checksums()

    def _later_deletions(
        self, view: FeatureView, keys: Sequence[bytes]
    ) -> list[Command]:
        if view.name not in PUBLISHED_VIEWS:
            return []
        columns = self._tables.later_columns(view.name)
        return [
            *(("HDEL", column, *keys) for column in columns),
            ("HINCRBY", self._names.changes, view.name, 1),
        ]

    def _delete_published(
        self, view: str, keys: Sequence[bytes], snapshot: Snapshot
    ) -> None:
        """Delete rows of a publication, and count them less, in one step a part."""
        columns = [
            self._names.column(snapshot.number, view, feature)
            for feature in self._tables.features(view, snapshot.number)
        ]
        tags = self._names.column(snapshot.number, view, VERSION_OF[view])
        left = snapshot.counts.get(view, 0)
        for part in chunks(list(dict.fromkeys(keys)), SCAN):
            found = self._server("HMGET", tags, *part)
            there = [k for k, tag in zip(part, found, strict=True) if tag is not None]
            if there:
                left -= len(there)
                counts = {**snapshot.counts, view: left}
                gone = [("HDEL", column, *there) for column in columns]
                self._change(view, replace(snapshot, counts=counts), gone)

    def _change(
        self, view: str, snapshot: Snapshot, commands: Sequence[Command]
    ) -> None:
        """Change rows of a publication, whose checksum is then to be made anew."""
        served = self.served()
        is_served = served is not None and served.number == snapshot.number
        stale = ("SADD", self._names.stale, f"{snapshot.number}:{view}")
        record = self._recorded(snapshot, served=is_served)
        self._publish([*commands, stale, *record])

    def _make_checksums(self) -> None:
        """Make the checksums anew of what was changed, also before a process died."""
        known = {snapshot.number: snapshot for snapshot in self.publications()}
        for member in self._server("SMEMBERS", self._names.stale):
            number, _, view = member.decode().partition(":")
            snapshot = known.get(int(number))
            commands: list[Command] = [("SREM", self._names.stale, member)]
            if snapshot is not None:
                snapshot = self._checked(snapshot, view)
                known[snapshot.number] = snapshot
                served = self.served()
                is_served = served is not None and served.number == snapshot.number
                commands += self._recorded(snapshot, served=is_served)
            self._publish(commands)

    def _checked(self, snapshot: Snapshot, view: str) -> Snapshot:
        """Count and hash the rows of a publication as they are now."""
        checksum = Checksum()
        for part in self._tables.rows(view, snapshot):
            checksum.update_rows([row.key for row in part], [r.features for r in part])
        return replace(
            snapshot,
            counts={**snapshot.counts, view: checksum.n},
            checksums={**snapshot.checksums, view: checksum.hexdigest()},
        )

    def change(
        self, view: FeatureView, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Change values page by page."""
        for snapshot in self.publications():
            column = self._names.column(snapshot.number, view.name, feature)
            for page in self._server.scan(column):
                changed = [(key, change(value)) for key, value in page.items()]
                texts = [t for pair in changed if pair[1] is not None for t in pair]
                if texts:
                    self._change(view.name, snapshot, [("HSET", column, *texts)])
        later = self._names.later(view.name, feature)
        for page in self._server.scan(later):
            with self._within() as recorder:
                cells = self._server("HMGET", later, *page)
                for key, cell in zip(page, cells, strict=True):
                    value = None if cell is None else change(read_cell(cell)[0])
                    if value is not None:
                        new = with_value(cell, value)
                        recorder.commands.append(("HSET", later, key, new))
                changes = self._names.changes, view.name
                recorder.commands.append(("HINCRBY", *changes, 1))
        self._make_checksums()

    # Feedback

    def append_feedback(self, event: Event) -> bool:
        """Append one event, with the rest of `exclusive`."""
        recorder = self._recorder
        if recorder is None:
            raise RuntimeError("events are kept inside `exclusive` only")
        if event.pushed is not None:
            if event.pushed in recorder.pushed or self.recorded([event.pushed]):
                return False
            recorder.pushed.add(event.pushed)
        recorder.last_event += 1
        recorder.commands += self._feedback.append(recorder.last_event, event)
        return True

    def feedback(self, after: int) -> pd.DataFrame:
        """Read events."""
        self._take_over()
        return self._feedback.frame(after)

    def _take_over(self) -> None:
        """Number the events that an earlier release kept."""
        if self._earlier.has_events():
            with self._recording():
                pass

    def last_event(self) -> int:
        """Read the count of events."""
        self._take_over()
        return self._feedback.last()

    def recorded(self, pushed: Sequence[bytes], until: int | None = None) -> set[bytes]:
        """Look pushed events up."""
        numbers = self._feedback.numbers(pushed)
        return {key for key, n in numbers.items() if until is None or n <= until}

    def prune_feedback(self, until: int) -> None:
        """Delete the oldest entries."""
        self._take_over()
        self._feedback.prune(until)

    def delete_feedback(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Delete entries by user or item."""
        self._take_over()
        self._feedback.delete(join_key, keys)
