"""Publishing to and serving from `ExactRedisOnlineStore`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureStore, FeatureView

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    Backend,
    Event,
    Place,
    Row,
    Snapshot,
    VectorTable,
    chunks,
    vector_table,
)

from ._edits import Edits
from ._feedback import Feedback
from ._packed import PACKED, pack_rows
from ._server import SCAN, Command
from ._store import ExactRedisOnlineStore
from ._vectors import packed_vectors
from ._writer import Writer

# Bytes and rows in one step, of which Redis serves nobody else: 1 ms of a processor.
_PIECE = 60_000
_PIECE_ROWS = 250
# Steps that are sent in one go: some MB.
_PIECES = 80


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
        self._server, self._names = self._tables.server, self._tables.names
        self._feedback = Feedback(self._server, self._names)
        self._writer = Writer(self._server, self.project, self._feedback)
        self._edits = Edits(self._tables, self._writer)

    def sole_publisher(self, timeout: float) -> AbstractContextManager[Any]:
        """Hold a lease, which a thread renews."""
        return self._writer.sole_publisher(timeout)

    def exclusive(self) -> AbstractContextManager[Any]:
        """Hold the lease of recorders; what is written waits for the end."""
        return self._writer.exclusive()

    # Publications

    def publications(self) -> list[Snapshot]:
        """Read all records."""
        return self._tables.publications()

    def staged(self) -> Snapshot | None:
        """Read the record of what is staged."""
        text = self._server("GET", self._names.staged)
        return None if text is None else Snapshot.from_json(text)

    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Forget what was staged before, and record what is to come."""
        self._warn_of_eviction()
        self.discard()
        if self._server("HEXISTS", self._names.publications, snapshot.number):
            raise ValueError(f"there is a publication {snapshot.number} already")
        self._writer.publish([("SET", self._names.staged, snapshot.to_json())])

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
        rows = min(_PIECE_ROWS, max(1, _PIECE * len(keys) // max(1, total)))
        done, parts = self.count_staged(view), []
        for part in chunks(range(len(keys)), rows):
            piece = slice(part[0], part[-1] + 1)
            values = [(feature, column[piece]) for feature, column in columns]
            first = done + part[0]
            commands = self._piece(staged.number, view.name, first, keys[piece], values)
            parts.append(commands)
        parts.append([("HSET", self._names.done, view.name, done + len(keys))])
        for some in chunks(parts, _PIECES):
            self._writer.publish(*some)

    def _piece(
        self,
        number: int,
        view: str,
        first: int,
        keys: Sequence[bytes],
        columns: Sequence[tuple[str, list[bytes]]],
    ) -> list[Command]:
        """Return the commands that stage some rows, of which the first has a number."""
        commands: list[Command] = []
        for feature, values in columns:
            pairs = zip(keys, values, strict=True)
            filled = [text for pair in pairs if pair[1] for text in pair]
            if filled:
                column = self._names.column(number, view, feature)
                listed = self._names.columns(number)
                commands.append(("SADD", listed, f"{view}:{feature}"))
                commands.append(("HSET", column, *filled))
            if (view, feature) == PACKED and all(values):
                packed = self._names.packed(number)
                commands.append(("HSET", packed, first, pack_rows(keys, values)))
        return commands

    def complete(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Turn the record of what is staged into that of a publication."""
        record = self._names.publications, snapshot.number, snapshot.to_json()
        self._writer.publish(
            [("HSET", *record), ("DEL", self._names.staged, self._names.done)]
        )

    def serve(self, snapshot: Snapshot) -> None:
        """Move the pointer, while nobody records."""
        self._find(snapshot.number)
        served, commands = self.served(), list[Command]()
        if served is None or served.number != snapshot.number:
            for view in PUBLISHED_VIEWS:
                self._tables.later.clean(view, snapshot, owned=True)
                commands.append(("HINCRBY", self._names.changes, view, 1))
        text = snapshot.to_json()
        record = ("HSET", self._names.publications, snapshot.number, text)
        self._writer.publish_alone(
            [*commands, record, ("SET", self._names.served, text)]
        )

    def _find(self, number: int) -> None:
        if not self._server("HEXISTS", self._names.publications, number):
            raise LookupError(
                f"there is no publication {number} in project {self.project!r}"
            )

    def drop(self, number: int) -> None:
        """Delete a publication's hashes and its record at once."""
        self._find(number)
        served = self.served()
        if served is not None and served.number == number:
            raise ValueError(f"publication {number} is served and cannot be dropped")
        forget = self._tables.forget(number)
        self._writer.publish([("HDEL", self._names.publications, number), *forget])

    def discard(self) -> None:
        """Delete staged hashes, and what does not count of what was written since."""
        staged = self.staged()
        if staged is not None:
            forget = self._tables.forget(staged.number)
            gone = ("DEL", self._names.staged, self._names.done)
            self._writer.publish([*forget, gone])
        if not self.publications():
            self._writer.publish(*([command] for command in self._tables.unknown()))
        for view in PUBLISHED_VIEWS:
            self._tables.later.clean(view, self.served())
        self._edits.make_checksums()

    def rows(self, view: FeatureView, snapshot: Snapshot) -> Iterator[list[Row]]:
        """Read hashes in the order of the keys."""
        return self._tables.rows(view.name, snapshot)

    # Reading and writing

    def copied_vectors(
        self, view: FeatureView, snapshot: Snapshot
    ) -> Iterator[tuple[list[bytes], np.ndarray]]:
        """Read the packed pieces."""
        if view.name == PACKED[0]:
            yield from packed_vectors(self._tables, snapshot)

    def check_later(self, view: FeatureView) -> None:
        """See that no hash of them is missing."""
        self._tables.later.check(view.name)

    def keys(self, view: FeatureView) -> list[bytes]:
        """List all keys."""
        return self.online.keys(self.config, view)

    def vectors(
        self, view: FeatureView, feature: str, snapshot: Snapshot | None = None
    ) -> VectorTable:
        """Return the cached table of vectors."""
        table = self.online.vectors(self.config, view, feature, snapshot)
        if table.version is None:
            return vector_table(Place.of(view, feature), [], None)
        return table

    def write(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Write rows, with the rest of `exclusive` if inside."""
        with self._writer.within() as recorder:
            for commands in self._tables.later.put(view, rows, "later", self.served()):
                recorder.commands += commands

    def delete(self, view: FeatureView, keys: Sequence[bytes]) -> None:
        """Delete fields by key; Feast's own hashes are shared with other views."""
        feast = self.online.feast(self.config)
        for part in chunks(keys, SCAN):
            with self._writer.within() as recorder:
                recorder.commands += feast.deletions(view, part)
                if view.name in PUBLISHED_VIEWS:
                    recorder.commands += self._tables.later.deletions(view.name, part)
        if view.name in PUBLISHED_VIEWS:
            self._edits.delete(view.name, keys)

    def change(
        self, view: FeatureView, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Change values page by page."""
        self._edits.change_later(view.name, feature, change)
        self._edits.change(view.name, feature, change)

    # Feedback

    def append_feedback(self, event: Event) -> bool:
        """Append one event, with the rest of `exclusive`."""
        recorder = self._writer.recorder
        if recorder is None:
            raise RuntimeError("events are kept inside `exclusive` only")
        if event.pushed is not None:
            if event.pushed in recorder.pushed or self.recorded([event.pushed]):
                return False
            recorder.pushed.add(event.pushed)
        recorder.last_event += 1
        recorder.commands += self._feedback.append(recorder.last_event, event)
        return True

    def feedback(self, after: int, limit: int | None = None) -> pd.DataFrame:
        """Read events."""
        return self._feedback.frame(after, limit)

    def check_feedback(self) -> None:
        """Read all events, of which there must be a stream once there was one."""
        self._feedback.check()
        super().check_feedback()

    def last_event(self) -> int:
        """Read the count of events."""
        return self._feedback.last()

    def recorded(self, pushed: Sequence[bytes], until: int | None = None) -> set[bytes]:
        """Look pushed events up."""
        numbers = self._feedback.numbers(pushed)
        return {key for key, n in numbers.items() if until is None or n <= until}

    def prune_feedback(self, until: int) -> int:
        """Delete the oldest entries."""
        return self._feedback.prune(until)

    def delete_feedback(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Delete entries by user or item."""
        self._feedback.delete(join_key, keys)
