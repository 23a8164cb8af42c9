"""Whole vector columns of Feast's sqlite tables, kept in memory."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from skmmrec.feature_store.backends.base import (
    VectorTable,
    has_numbers,
    key_ids,
    unpack,
    unpack_vectors,
)

from ._tables import prepare_table, quote, transaction

# Blobs held beside the matrix that they become: 5 MB for vectors of 128 numbers.
_ROWS_PER_FETCH = 10_000


def load_vectors(
    conn: sqlite3.Connection, name: str, join_key: str, feature: str, version: str
) -> VectorTable:
    """Read all vectors of a feature, sorted by id; not those that are null or empty.

    With `version`, the name of a feature, only those of its most frequent value.
    """
    common = _common_version(conn, name, version) if version else None
    return _read_table(conn, name, join_key, feature, version, common)


def _common_version(conn: sqlite3.Connection, name: str, version: str) -> bytes | None:
    row = conn.execute(
        f"SELECT value FROM {quote(name)} WHERE feature_name = ? "
        "GROUP BY value ORDER BY count(*) DESC, max(event_us) DESC LIMIT 1",
        (version,),
    ).fetchone()
    return None if row is None else bytes(row[0])


def _read_table(
    conn: sqlite3.Connection,
    name: str,
    join_key: str,
    feature: str,
    version: str,
    common: bytes | None,
) -> VectorTable:
    keys: list[bytes] = []
    times: list[int] = []
    blocks: list[np.ndarray] = []
    query = f"SELECT entity_key, value, event_us FROM {quote(name)} AS row"
    query += " WHERE feature_name = ?"
    arguments: list[Any] = [feature]
    if common is not None:
        query += (
            f" AND EXISTS (SELECT 1 FROM {quote(name)} AS tag WHERE tag.entity_key = "
            "row.entity_key AND tag.feature_name = ? AND tag.value = ?)"
        )
        arguments += [version, common]
    cursor = conn.execute(query, arguments)
    while fetched := cursor.fetchmany(_ROWS_PER_FETCH):
        rows = [row for row in fetched if has_numbers(row[1])]
        keys += [row[0] for row in rows]
        times += [row[2] or 0 for row in rows]
        if rows:
            blocks.append(unpack_vectors([row[1] for row in rows]))
    tag = None if common is None else unpack(common)
    ids, matrix = key_ids(join_key, keys), _stack(blocks, name)
    return _by_id(VectorTable(keys, ids, matrix, np.array(times, np.int64), tag))


def _by_id(table: VectorTable) -> VectorTable:
    """Sort by id; published rows are sorted already and are not copied."""
    if len(table.ids) < 2 or np.all(table.ids[:-1] < table.ids[1:]):
        return table
    return table.take(np.argsort(table.ids, kind="stable"))


def _stack(blocks: list[np.ndarray], name: str) -> np.ndarray:
    widths = sorted({block.shape[1] for block in blocks})
    if len(widths) > 1:
        raise ValueError(f"table {name!r} holds vectors of different lengths: {widths}")
    return np.concatenate(blocks) if blocks else np.empty((0, 0), dtype=np.float32)


class VectorCache:
    """Vector tables in memory, as fresh as the database.

    A connection of its own, which never writes, asks `PRAGMA data_version` whether
    anything was committed by any other, and only then for the table's change count.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._conn: sqlite3.Connection | None = None
        self._data_version = -1
        self._tables: dict[tuple[str, ...], tuple[int, VectorTable]] = {}
        self._checked: set[tuple[str, ...]] = set()

    def get(
        self, connect: Callable[[], sqlite3.Connection], *source: str
    ) -> VectorTable:
        """Return the table of ``(name, join_key, feature, version)``."""
        with self._lock:
            if self._conn is None:
                self._conn = connect()
            conn = self._conn
            data_version = conn.execute("PRAGMA data_version").fetchone()[0]
            if data_version != self._data_version:
                self._checked.clear()
                self._data_version = data_version
            if source not in self._checked:
                self._refresh(conn, source)
            return self._tables[source][1]

    def disconnect(self) -> None:
        """Close the connection and forget the tables."""
        with self._lock:
            if self._conn is not None:
                self._conn.close()
            self._conn = None
            self._tables.clear()
            self._checked.clear()

    def _refresh(self, conn: sqlite3.Connection, source: tuple[str, ...]) -> None:
        name = source[0]
        prepare_table(conn, name)
        with transaction(conn, "BEGIN"):
            changes = conn.execute(
                "SELECT n FROM skmmrec_changes WHERE name = ?", (name,)
            ).fetchone()[0]
            if self._tables.get(source, (None,))[0] != changes:
                self._tables[source] = changes, load_vectors(conn, *source)
        self._checked.add(source)
