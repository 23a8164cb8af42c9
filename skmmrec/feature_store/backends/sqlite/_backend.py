"""Publishing to and serving from `ExactSqliteOnlineStore`."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pandas as pd
from feast import FeatureView

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    VERSION_OF,
    Backend,
    BusyStoreError,
    DamagedStoreError,
    Event,
    Row,
    Snapshot,
    chunks,
    feedback_frame,
    from_us,
    text_of,
)

from . import _feedback as events, _files as files, _publications as publications
from ._connections import (
    empty_log,
    joined,
    sync,
    telling,
    telling_publication,
    transaction,
)
from ._edits import changed, without
from ._overlay import Overlay
from ._publications import COMPLETE, STAGED, Record
from ._rows import upsert
from ._store import ExactSqliteOnlineStore
from ._tables import (
    KEYS_PER_QUERY,
    columns_of,
    feast_seconds,
    latest_times,
    prepare_table,
    quote,
)


class SqliteBackend(Backend):
    """The embedded database, and a file for each publication; exact search."""

    online: ExactSqliteOnlineStore

    # The file that was begun here. Another one was begun by a process that ended, and
    # is looked at before it is trusted.
    _begun = ""

    @contextmanager
    def _main(self) -> Iterator[sqlite3.Connection]:
        """Use this thread's connection to the main database."""
        with telling(self._path):
            yield self.online.connect(self.config)

    @property
    def _path(self) -> str:
        return self.online.db_path(self.config)

    @property
    def _folder(self) -> Path:
        return self.online.folder(self.config)

    def _name(self, view: FeatureView) -> str:
        return self.online.table_name(self.config, view)

    @contextmanager
    def sole_publisher(self, timeout: float) -> Iterator[None]:
        """Lock a file beside the database; the lock ends with the process."""
        self.online.connect(self.config)  # makes the folder
        path = self._path + ".publish"
        with telling(path):
            lock = sqlite3.connect(path, timeout=timeout, isolation_level=None)
        with closing(lock):
            with telling(path):
                _acquire(lock, self._path, timeout)
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Begin a transaction that writes."""
        with self._main() as conn, transaction(conn):
            yield

    def publications(self) -> list[Snapshot]:
        """Read the records."""
        return [record.snapshot for record in self._records(COMPLETE)]

    def staged(self) -> Snapshot | None:
        """Read the record; None if its file is gone or damaged."""
        record = self._staged()
        return record and record.snapshot

    def _staged(self) -> Record | None:
        for record in self._records(STAGED):
            path = self._folder / record.file
            if record.file == self._begun or files.is_sound(path):
                return record
        return None

    def _records(self, state: str) -> list[Record]:
        with self._main() as conn:
            return publications.records(conn, self.project, state)

    def _staged_file(self) -> Path:
        record = self._staged()
        if record is None:
            raise LookupError("nothing is staged; `begin` comes first")
        return self._folder / record.file

    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Make an empty file."""
        self._discard_staged()
        if snapshot.number in {s.number for s in self.publications()}:
            raise ValueError(f"there is a publication {snapshot.number} already")
        file = publications.new_file(self.project, snapshot.number)
        with self._main() as conn:
            for view in views:
                prepare_table(conn, self._name(view))
            files.create(self._folder / file)
            self._begun = file
            with transaction(conn):
                publications.create_tables(conn)
                publications.add(conn, self.project, snapshot, file)

    def count_staged(self, view: FeatureView) -> int:
        """Count rows of the file."""
        return files.count(self._staged_file(), view.name)

    def stage_rows(
        self,
        view: FeatureView,
        keys: Sequence[bytes],
        columns: Sequence[tuple[str, list[bytes]]],
    ) -> None:
        """Append to the file, in one transaction of its own."""
        vectors = {field.name for field in view.features if field.vector_length}
        files.append(self._staged_file(), view.name, keys, columns, vectors)

    def complete(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Have the disk keep the file."""
        path = self._staged_file()
        for view, count in snapshot.counts.items():
            self._check(path, view, count, snapshot.checksums.get(view))
        files.finish(path)
        with self._main() as conn, transaction(conn):
            publications.update(conn, self.project, Record(snapshot, path.name))

    def _check(self, path: Path, view: str, count: int, checksum: str | None) -> None:
        """Refuse a file that has not what was staged."""
        same = files.count(path, view) == count
        if same and path.name != self._begun and checksum is not None:
            same = files.checksum(path, view).hexdigest() == checksum
        if not same:
            raise DamagedStoreError(
                f"{path} has lost rows of {view} that were staged; publish again"
            )

    def serve(self, snapshot: Snapshot) -> None:
        """Move the pointer."""
        with self._main() as conn, transaction(conn):
            record = publications.find(conn, self.project, snapshot)
            before = publications.served(conn, self.project)
            if before is None or before.snapshot.number != snapshot.number:
                for overlay in self._overlays(conn, snapshot):
                    overlay.empty(conn)
            publications.update(conn, self.project, Record(snapshot, record.file))
            publications.point(conn, self.project, snapshot.number)

    def drop(self, number: int) -> None:
        """Remove the record, then the file."""
        with self._main() as conn, transaction(conn):
            served = publications.served(conn, self.project)
            if served and served.snapshot.number == number:
                raise ValueError(
                    f"publication {number} is served; serve another one to drop it"
                )
            if number not in {r.snapshot.number for r in self._records(COMPLETE)}:
                raise publications.no_publication(number)
            publications.remove(conn, self.project, number)
        self._remove_orphans()

    def discard(self) -> None:
        """Remove records and files of no use, and rows that are not served."""
        self._discard_staged()
        snapshot = self.served()
        if snapshot is None:
            return
        with self._main() as conn:
            for overlay in self._overlays(conn, snapshot):
                overlay.clean(conn)

    def _overlays(self, conn: sqlite3.Connection, snapshot: Snapshot) -> list[Overlay]:
        return [
            Overlay(table, snapshot, VERSION_OF[view])
            for view in PUBLISHED_VIEWS
            for table in _tables_of(conn, self.project, view)
        ]

    def _discard_staged(self) -> None:
        with self._main() as conn:
            for record in self._records(STAGED):
                with transaction(conn):
                    publications.remove(conn, self.project, record.snapshot.number)
        self._remove_orphans()

    def _remove_orphans(self) -> None:
        """Remove files without a record, once the disk keeps that there is none."""
        with self._main() as conn:
            known = publications.files(conn)
        if not self._folder.exists():
            return
        orphans = [
            path
            for path in self._folder.iterdir()
            # A journal has the name of its file and more.
            if path.name not in known and path.name.rpartition("-")[0] not in known
        ]
        if orphans:
            sync(self._path + "-wal")
        for path in orphans:
            path.unlink(missing_ok=True)

    def rows(self, view: FeatureView, snapshot: Snapshot) -> Iterator[list[Row]]:
        """Read the file from end to end."""
        published = self.online.publication(self.config, snapshot, own=True)
        assert published is not None
        path, event_us = published.path, published.snapshot.event_us
        with telling_publication(path), closing(published.conn) as conn:
            files.check_blocks(path, conn, view.name)
            for keys, columns in files.scan(conn, view.name):
                names = [name for name, _ in columns]
                values = zip(*(column for _, column in columns), strict=True)
                yield [
                    Row(key, dict(zip(names, row, strict=True)), event_us)
                    for key, row in zip(keys, values, strict=True)
                ]

    def read_column(
        self,
        view: FeatureView,
        keys: Sequence[bytes],
        feature: str,
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, bytes]:
        """Read one feature by key."""
        return self.online.read_column(self.config, view, keys, feature, snapshot)

    def has_rows(self, view: FeatureView) -> bool:
        """Look for a table."""
        with self._main() as conn:
            return bool(columns_of(conn, self._name(view)))

    def keys(self, view: FeatureView) -> list[bytes]:
        """List all keys."""
        return self.online.keys(self.config, view)

    def write(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Upsert rows; the caller may hold a transaction."""
        name, keys = self._name(view), [row.key for row in rows]
        with self._main() as conn:
            prepare_table(conn, name)
            with joined(conn):
                overlay = self.online.disown(self.config, view, keys)
                since = 0 if overlay is None else overlay.snapshot.served_us
                times = latest_times(conn, name, keys)
                cells = [
                    cell
                    for row in rows
                    for cell in _cells(row, 1 + max(since, times.get(row.key, 0)))
                ]
                upsert(conn, name, cells)

    def delete(self, view: FeatureView, keys: Sequence[bytes]) -> None:
        """Delete rows by key, and write files without them."""
        edited = []
        if view.name in PUBLISHED_VIEWS:
            edited = [
                without(self._folder, r, view.name, keys)
                for r in self._records(COMPLETE)
            ]
        name = quote(self._name(view))
        with self._main() as conn:
            with joined(conn):
                self._put(conn, edited)
                for part in chunks(keys, KEYS_PER_QUERY):
                    marks = ",".join("?" * len(part))
                    query = f"DELETE FROM {name} WHERE entity_key IN ({marks})"
                    conn.execute(query, part)
            if edited:
                self._forget_bytes(conn)

    def change(
        self, view: FeatureView, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Update values row by row, and write files with others."""
        edited = [
            changed(self._folder, record, view.name, feature, change)
            for record in self._records(COMPLETE)
        ]
        table = quote(self._name(view))
        select = f"SELECT rowid, value FROM {table} WHERE feature_name = ?"
        with self._main() as conn:
            with joined(conn):
                self._put(conn, edited)
                cells = conn.execute(select, (feature,)).fetchall()
                values = ((change(value), row) for row, value in cells)
                conn.executemany(
                    f"UPDATE {table} SET value = ? WHERE rowid = ?",
                    [pair for pair in values if pair[0] is not None],
                )
            self._forget_bytes(conn)

    def _put(self, conn: sqlite3.Connection, edited: Sequence[Record]) -> None:
        for record in edited:
            publications.update(conn, self.project, record)

    def _forget_bytes(self, conn: sqlite3.Connection) -> None:
        """Leave nothing of what was deleted in the log nor in other files."""
        if not conn.in_transaction:
            self._remove_orphans()
            empty_log(conn, self._path)

    def append_feedback(self, event: Event) -> bool:
        """Insert one event; the caller holds the transaction."""
        with self._main() as conn:
            return events.append_feedback(conn, self.project, event)

    def feedback(self, after: int, limit: int | None = None) -> pd.DataFrame:
        """Read events."""
        with self._main() as conn:
            rows = events.read_feedback(conn, self.project, after, limit)
        return feedback_frame(rows)

    def last_event(self) -> int:
        """Read the counter."""
        with self._main() as conn:
            return events.last_event(conn)

    def recorded(self, pushed: Sequence[bytes], until: int | None = None) -> set[bytes]:
        """Look for the keys of events."""
        with self._main() as conn:
            return events.recorded(conn, self.project, pushed, until)

    def prune_feedback(self, until: int) -> int:
        """Delete events by number."""
        with self._main() as conn, joined(conn):
            return events.prune_feedback(conn, self.project, until)

    def delete_feedback(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Delete events by user or item."""
        with self._main() as conn, joined(conn):
            events.delete_feedback(conn, self.project, join_key, keys)


def _acquire(lock: sqlite3.Connection, path: str, timeout: float) -> None:
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        raise BusyStoreError(
            f"another process has been publishing to {path} for {timeout} s"
        ) from error


def _cells(row: Row, at_least: int) -> Iterator[tuple[object, ...]]:
    when = max(row.event_us, at_least)
    seconds = feast_seconds(from_us(when))
    for name, value in row.features.items():
        yield row.key, name, value, text_of(value), seconds, None, when


def _tables_of(conn: sqlite3.Connection, project: str, view: str) -> list[str]:
    """Return Feast's tables of a view, of which there may be one a version."""
    pattern = re.compile(rf"{re.escape(f'{project}_{view}')}(_v\d+)?")
    names = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in names if pattern.fullmatch(name)]
