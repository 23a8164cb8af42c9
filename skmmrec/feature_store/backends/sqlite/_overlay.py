"""Rows that were written after a publication, in Feast's own table of the view.

They count if they belong to the publication: see `Snapshot.owns`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import NamedTuple

from skmmrec.feature_store.backends.base import (
    Cells,
    Snapshot,
    chunks,
    pack_text,
)

from ._connections import transaction
from ._tables import columns_of, quote, select_values

# Cells that are removed at a time: about 10 ms, in which whoever records waits.
_PIECE = 1000
# A row is owned by its version, which is a cell as any other.
_OWNED = (
    "SELECT entity_key FROM {table} WHERE feature_name = :name "
    "AND value = :version AND event_us > :since"
)
_FOREIGN = (
    "(COALESCE(event_us, 0) <= :since OR NOT EXISTS (SELECT 1 FROM {table} AS tag "
    "WHERE tag.entity_key = cell.entity_key AND tag.feature_name = :name "
    "AND tag.value = :version AND tag.event_us > :since))"
)


class Overlay(NamedTuple):
    """Where a publication's later rows are, and what owns them.

    Attributes
    ----------
    table : str
        Name of Feast's table.
    snapshot : Snapshot
    version_name : str
        The feature that holds the model version.
    """

    table: str
    snapshot: Snapshot
    version_name: str

    def _sql(self, text: str) -> str:
        return text.format(table=quote(self.table))

    def _arguments(self) -> dict[str, object]:
        return {
            "name": self.version_name,
            "version": pack_text(self.snapshot.version),
            "since": self.snapshot.served_us,
        }

    def is_empty(self, conn: sqlite3.Connection) -> bool:
        """Tell whether there is nothing, as is mostly so after a publication.

        A table that is not there, or that this store has not prepared yet, holds
        nothing that belongs to a publication.
        """
        if "event_us" not in columns_of(conn, self.table):
            return True
        first = f"SELECT 1 FROM {quote(self.table)} LIMIT 1"
        return conn.execute(first).fetchone() is None

    def read(
        self,
        conn: sqlite3.Connection,
        keys: Sequence[bytes],
        features: Sequence[str] | None,
    ) -> dict[bytes, Cells]:
        """Return owned values, by key and feature (None: all)."""
        if self.is_empty(conn):
            return {}
        names = None if features is None else [*features, self.version_name]
        since = self.snapshot.served_us + 1
        rows = select_values(conn, self.table, keys, names, since)
        version = pack_text(self.snapshot.version)
        return {
            key: {n: c for n, c in row.items() if features is None or n in features}
            for key, row in rows.items()
            if row.get(self.version_name, (b"",))[0] == version
        }

    def keys(self, conn: sqlite3.Connection) -> list[bytes]:
        """Return the keys of owned rows."""
        if self.is_empty(conn):
            return []
        rows = conn.execute(self._sql(_OWNED), self._arguments())
        return [key for (key,) in rows]

    def column(
        self, conn: sqlite3.Connection, feature: str
    ) -> list[tuple[bytes, bytes, int]]:
        """Return key, value and event time of all owned values of a feature."""
        if self.is_empty(conn):
            return []
        return conn.execute(
            self._sql(
                "SELECT entity_key, value, event_us FROM {table} "
                "WHERE feature_name = :feature AND event_us > :since "
                f"AND entity_key IN ({_OWNED})"
            ),
            {**self._arguments(), "feature": feature},
        ).fetchall()

    def empty(self, conn: sqlite3.Connection) -> None:
        """Remove what is owned; the caller holds a transaction."""
        if not self.is_empty(conn):
            query = f"DELETE FROM {{table}} WHERE entity_key IN ({_OWNED})"
            conn.execute(self._sql(query), self._arguments())

    def disown(self, conn: sqlite3.Connection, keys: Sequence[bytes]) -> None:
        """Remove what is not owned of some rows; the caller holds a transaction."""
        delete = self._sql(
            "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} AS cell "
            f"WHERE entity_key = :key AND {_FOREIGN})"
        )
        arguments = self._arguments()
        conn.executemany(delete, ({**arguments, "key": key} for key in keys))

    def clean(self, conn: sqlite3.Connection) -> None:
        """Remove all that is not owned, in short transactions.

        They are looked for outside of these, and looked at once more inside.
        """
        if self.is_empty(conn):
            return
        query = self._sql(f"SELECT rowid FROM {{table}} AS cell WHERE {_FOREIGN}")
        rows = [row for (row,) in conn.execute(query, self._arguments())]
        for part in chunks(rows, _PIECE):
            began = time.monotonic()
            numbers = ",".join(map(str, part))
            query = f"DELETE FROM {{table}} AS cell WHERE rowid IN ({numbers})"
            with transaction(conn):
                conn.execute(self._sql(f"{query} AND {_FOREIGN}"), self._arguments())
            # Others that wait for the lock look for it now and then only.
            time.sleep(time.monotonic() - began)
