"""Publishing to and serving from `ExactSqliteOnlineStore`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import pandas as pd
from feast import FeatureView

from skmmrec.feature_store.backends.base import (
    Backend,
    Batch,
    Features,
    Row,
    Snapshot,
    VectorTable,
    chunks,
    feedback_frame,
    from_us,
    text_of,
)

from . import _staging as staging
from ._feedback import append_feedback, delete_feedback, read_feedback
from ._store import ExactSqliteOnlineStore, upsert
from ._tables import KEYS_PER_QUERY, feast_seconds, prepare_table, quote, transaction


class SqliteBackend(Backend):
    """The embedded database: one file, one writer at a time, exact search."""

    online: ExactSqliteOnlineStore

    def _conn(self) -> sqlite3.Connection:
        return self.online.connect(self.config)

    def _name(self, view: FeatureView) -> str:
        return self.online.table_name(self.config, view)

    def sole_publisher(self, timeout: float) -> AbstractContextManager[None]:
        """Lock a file beside the database."""
        return staging.sole_publisher(self.online.db_path(self.config), timeout)

    def exclusive(self) -> AbstractContextManager[None]:
        """Begin a transaction that writes."""
        return transaction(self._conn())

    def state(self, state: str) -> Snapshot | None:
        """Return the snapshot in a state."""
        return staging.read_state(self._conn(), self.project, state)

    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Make empty staging tables."""
        names = [self._name(view) for view in views]
        staging.begin_staging(self._conn(), self.project, names, snapshot)

    def count_staged(self, view: FeatureView) -> int:
        """Count the rows of a staging table, by entity."""
        return staging.count_staged(self._conn(), self._name(view))

    def stage_rows(
        self, view: FeatureView, batch: Batch, rows: range, event_us: int
    ) -> None:
        """Fill a staging table, one transaction a chunk."""
        staging.stage_rows(self._conn(), self._name(view), batch, rows, event_us)

    def serve(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Rename the staging tables in one transaction."""
        names = [self._name(view) for view in views]
        staging.serve_staged(self._conn(), self.project, names, snapshot)

    def discard(self) -> None:
        """Drop the staging tables."""
        staging.discard_staged(self._conn(), self.project)

    def read(
        self, view: FeatureView, keys: Sequence[bytes], features: Sequence[str]
    ) -> dict[bytes, Features]:
        """Read rows by key."""
        found = self.online.read_values(self.config, view, keys, features)
        return {
            key: {name: cell[0] for name, cell in row.items()}
            for key, row in found.items()
        }

    def read_column(
        self, view: FeatureView, keys: Sequence[bytes], feature: str
    ) -> dict[bytes, bytes]:
        """Read one feature by key."""
        return self.online.read_column(self.config, view, keys, feature)

    def keys(self, view: FeatureView) -> list[bytes]:
        """List all keys."""
        return self.online.keys(self.config, view)

    def vectors(self, view: FeatureView, feature: str, version: str) -> VectorTable:
        """Return the cached table of vectors."""
        return self.online.vectors(self.config, view, feature, version)

    def write(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Upsert rows; the caller may hold a transaction."""
        cells = [
            (
                row.key,
                name,
                value,
                text_of(value),
                feast_seconds(from_us(row.event_us)),
                None,
                row.event_us,
            )
            for row in rows
            for name, value in row.features.items()
        ]
        conn, name = self._conn(), self._name(view)
        if not conn.in_transaction:
            prepare_table(conn, name)
        with nullcontext() if conn.in_transaction else transaction(conn):
            upsert(conn, name, cells)

    def delete(self, view: FeatureView, keys: Sequence[bytes]) -> None:
        """Delete rows by key."""
        conn, table = self._conn(), quote(self._name(view))
        with nullcontext() if conn.in_transaction else transaction(conn):
            for part in chunks(keys, KEYS_PER_QUERY):
                marks = ",".join("?" * len(part))
                conn.execute(f"DELETE FROM {table} WHERE entity_key IN ({marks})", part)

    def change(
        self, view: FeatureView, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Update values row by row."""
        conn, table = self._conn(), quote(self._name(view))
        select = f"SELECT rowid, value FROM {table} WHERE feature_name = ?"
        with transaction(conn):
            values = (
                (row, change(value)) for row, value in conn.execute(select, (feature,))
            )
            changed = [(value, row) for row, value in values if value is not None]
            conn.executemany(f"UPDATE {table} SET value = ? WHERE rowid = ?", changed)

    def append_feedback(
        self, user_key: bytes, item_key: bytes, y: float, event_us: int
    ) -> None:
        """Insert one event; the caller holds the transaction."""
        append_feedback(self._conn(), self.project, user_key, item_key, y, event_us)

    def feedback(self, since: int) -> pd.DataFrame:
        """Read events."""
        return feedback_frame(read_feedback(self._conn(), self.project, since))

    def delete_feedback(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Delete events by user or item."""
        delete_feedback(self._conn(), self.project, join_key, keys)
