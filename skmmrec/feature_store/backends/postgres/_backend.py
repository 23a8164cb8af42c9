"""Publishing to and serving from `ExactPostgresOnlineStore`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, repeat

import pandas as pd
from feast import FeatureView
from psycopg import Connection

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    Backend,
    BusyStoreError,
    Event,
    Features,
    Row,
    Snapshot,
    feedback_frame,
)

from . import _feedback as events, _overlay as overlay, _publications as publications
from ._engine import OWNED, Publication, ownership
from ._sql import lock, one, statement, table_exists
from ._store import ExactPostgresOnlineStore

_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
# A recorder that sleeps in its transaction keeps all others out; none needs a second.
_SLEEP = "SET LOCAL idle_in_transaction_session_timeout = '30s'"


class PostgresBackend(Backend):
    """Publications in tables of their own, beside Feast's tables."""

    online: ExactPostgresOnlineStore

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self.online.engine(self.config).connections.get() as conn:
            yield conn

    @contextmanager
    def _prepared(self) -> Iterator[Connection]:
        """Lend a connection, with our tables made."""
        with self._reading() as conn:
            self.online.engine(self.config).prepare(conn)
            yield conn

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._prepared() as conn, conn.transaction():
            yield conn

    def _overlay(self, view: FeatureView) -> str:
        return self.online.engine(self.config).overlay(view)

    @contextmanager
    def sole_publisher(self, timeout: float) -> Iterator[None]:
        """Hold an advisory lock, which ends with the connection."""
        deadline, name = time.monotonic() + timeout, f"publish {self.project}"
        publishing = self.online.engine(self.config).publishing
        if not publishing.acquire(timeout=timeout):
            raise self._busy(timeout)
        try:
            with self._prepared() as conn:
                while not one(conn, _TRY_LOCK, [name]):
                    if time.monotonic() > deadline:
                        raise self._busy(timeout)
                    time.sleep(0.05)  # 20 questions a second burden no server
                try:
                    yield
                finally:
                    if not conn.closed:  # else it has ended already
                        conn.execute(_UNLOCK, [name])
        finally:
            publishing.release()

    def _busy(self, timeout: float) -> BusyStoreError:
        return BusyStoreError(
            f"another process has been publishing to project {self.project!r} for "
            f"{timeout} s"
        )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Begin a transaction that only one recorder may be in."""
        with self._transaction() as conn:
            conn.execute(_SLEEP)
            lock(conn, f"record {self.project}")
            yield

    # Publications

    def publications(self) -> list[Snapshot]:
        """Return those that can be served, the earliest number first."""
        return self._snapshots("ready")

    def staged(self) -> Snapshot | None:
        """Return the one that is being written, or that a killed process left."""
        found = self._snapshots("staged")
        return found[-1] if found else None

    def _snapshots(self, state: str) -> list[Snapshot]:
        with self._reading() as conn:
            if not self.online.engine(self.config).exists(conn):
                return []
            found = publications.records(conn, self.project, state)
        return [record.snapshot for record in found]

    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Make empty tables, which have no index yet."""
        overlays = [self._overlay(view) for view in views]
        with self._prepared() as conn:
            publications.discard_staged(conn, self.project)
            publications.begin(conn, self.project, views, overlays, snapshot)

    def count_staged(self, view: FeatureView) -> int:
        """Count the rows of a staged table."""
        with self._prepared() as conn:
            table = publications.staged(conn, self.project).publication.tables[
                view.name
            ]
            return int(one(conn, statement("SELECT count(*) FROM {}", table.name)))

    def stage_rows(
        self,
        view: FeatureView,
        keys: Sequence[bytes],
        columns: Sequence[tuple[str, list[bytes]]],
    ) -> None:
        """Copy rows in PostgreSQL's binary form, in one transaction."""
        overlay.check_keys(view, keys)
        with self._prepared() as conn:
            table = publications.staged(conn, self.project).publication.tables[
                view.name
            ]
            publications.stage_rows(conn, table, keys, columns)

    def complete(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Index the staged tables, and record that they can be served."""
        with self._prepared() as conn:
            publications.complete(conn, self.project, snapshot)

    def serve(self, snapshot: Snapshot) -> None:
        """Move the pointer in one transaction."""
        with self._prepared() as conn:
            publications.serve(conn, self.project, snapshot)

    def drop(self, number: int) -> None:
        """Forget a publication, and drop its tables as soon as nobody reads them."""
        with self._prepared() as conn:
            publications.drop(conn, self.project, number)

    def discard(self) -> None:
        """Forget what is staged, and clean Feast's tables of what is not served."""
        engine = self.online.engine(self.config)
        with self._prepared() as conn:
            publications.discard_staged(conn, self.project)
            served = engine.served(conn)
            if served is not None:
                overlay.clean(conn, served)

    def rows(self, view: FeatureView, snapshot: Snapshot) -> Iterator[list[Row]]:
        """Return the rows of a publication, in parts."""
        engine, last = self.online.engine(self.config), b""
        while True:
            with self._reading() as conn:
                keys, rows = engine.pinned(
                    conn,
                    snapshot,
                    partial(_rows_after, conn, view.name, last),
                )
            if not keys:
                return
            times = repeat(snapshot.served_us)
            yield list(map(Row, keys, rows, times))
            last = keys[-1]

    # Reading and writing

    def has_rows(self, view: FeatureView) -> bool:
        """Look for a table."""
        with self._reading() as conn:
            return table_exists(conn, self._overlay(view))

    def keys(self, view: FeatureView) -> list[bytes]:
        """List all keys."""
        engine, name = self.online.engine(self.config), self._overlay(view)
        query, args, parts = "SELECT entity_key FROM {} o", list[object](), [name]
        with self._reading() as conn:
            served = engine.served(conn) if view.name in PUBLISHED_VIEWS else None
            if served is not None:
                query = f"{query} WHERE {OWNED} UNION SELECT entity_key FROM {{}}"
                args += ownership(view.name, served.snapshot)
                parts += [name, served.tables[view.name].name]
            with conn.cursor(binary=True) as cursor:
                distinct = f"SELECT DISTINCT entity_key FROM ({query}) AS every"
                return [
                    row[0] for row in cursor.execute(statement(distinct, *parts), args)
                ]

    def write(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Upsert rows; the caller may hold a transaction."""
        overlay.check_keys(view, [row.key for row in rows])
        name, engine = self._overlay(view), self.online.engine(self.config)
        with self._transaction() as conn:
            lock(conn, f"record {self.project}")
            served = engine.served(conn) if view.name in PUBLISHED_VIEWS else None
            if served is not None:
                snapshot, keys = served.snapshot, [row.key for row in rows]
                overlay.disown(conn, name, view.name, keys, snapshot)
                rows = overlay.later_rows(conn, name, view.name, rows, snapshot)
            cells = chain.from_iterable(map(overlay.row_cells, rows))
            overlay.upsert(conn, name, cells, self.config.online_store.vector_enabled)

    def delete(self, view: FeatureView, keys: Sequence[bytes]) -> None:
        """Delete rows by key."""
        query = "DELETE FROM {} WHERE entity_key = ANY(%s)"
        with self._transaction() as conn:
            conn.execute(statement(query, self._overlay(view)), (list(keys),))
            publications.delete_rows(conn, self.project, view.name, keys)

    def change(
        self, view: FeatureView, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Update values row by row."""
        with self._transaction() as conn:
            overlay.change_values(conn, self._overlay(view), feature, change)
            publications.change_values(conn, self.project, view.name, feature, change)

    # Feedback

    def append_feedback(self, event: Event) -> bool:
        """Insert one event; the caller holds the transaction."""
        with self._prepared() as conn:
            return events.append(conn, self.project, event)

    def feedback(self, after: int, limit: int | None = None) -> pd.DataFrame:
        """Read events."""
        with self._prepared() as conn:
            rows = events.read(conn, self.project, after, limit)
        return feedback_frame(rows)

    def last_event(self) -> int:
        """Return the number of the last event."""
        with self._prepared() as conn:
            return events.last(conn, self.project)

    def recorded(self, pushed: Sequence[bytes], until: int | None = None) -> set[bytes]:
        """Return which pushed events have been kept."""
        with self._prepared() as conn:
            return events.recorded(conn, self.project, pushed, until)

    def prune_feedback(self, until: int) -> int:
        """Delete events up to a number."""
        with self._prepared() as conn:
            return events.prune(conn, self.project, until)

    def delete_feedback(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Delete events by user or item."""
        with self._prepared() as conn:
            events.delete(conn, self.project, join_key, keys)


def _rows_after(
    conn: Connection, view: str, last: bytes, publication: Publication
) -> tuple[list[bytes], list[Features]]:
    return publications.feature_page(conn, publication.tables[view], last)
