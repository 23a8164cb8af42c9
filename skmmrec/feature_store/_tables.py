"""Reading Feast's sqlite tables: values by key, and whole vector columns."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ._encoding import key_ids, unpack, unpack_vectors
from ._search import VectorTable

_KEYS_PER_QUERY = 10_000
_ROWS_PER_FETCH = 10_000

_CHANGES = (
    "CREATE TABLE IF NOT EXISTS skmmrec_changes (name TEXT PRIMARY KEY, n INTEGER)"
)

T = TypeVar("T")


def quote(identifier: str) -> str:
    """Quote a table name for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into slices of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def to_us(when: datetime) -> int:
    """Microseconds since the epoch; a time without zone is UTC."""
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(event_us: int) -> datetime:
    """Undo `to_us`: a time in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event_us)


def feast_seconds(when: datetime) -> int:
    """Feast's own ``event_ts``: naive UTC read as local time, in whole seconds."""
    naive = when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when
    return int(naive.timestamp())


def open_database(path: str, timeout: float) -> sqlite3.Connection:
    """Open (or create) the database in write-ahead and autocommit mode."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    conn = sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = NORMAL")
    conn.execute("PRAGMA cache_size = -16000")  # 16 MB: look-ups by key are random
    return conn


@contextmanager
def transaction(
    conn: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE"
) -> Iterator[None]:
    """Read one state of the database, and write all or nothing."""
    conn.execute(begin)
    try:
        yield
        conn.execute("COMMIT")
    except BaseException:
        conn.rollback()
        raise


def prepare_table(conn: sqlite3.Connection, name: str) -> None:
    """Add what a table of Feast's lacks: event times in microseconds, a change count.

    Raises
    ------
    LookupError
        When there is no such table.
    """
    columns = {row[1] for row in conn.execute(f"PRAGMA table_info({quote(name)})")}
    if not columns:
        raise LookupError(
            f"the online store has no table {name!r}; run `feast apply` first"
        )
    if "event_us" not in columns:
        _add_event_us(conn, name)
    triggers = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
    if conn.execute(f"{triggers} AND tbl_name = ?", (name,)).fetchone()[0] < 3:
        with transaction(conn):
            count_changes(conn, name)


def count_changes(conn: sqlite3.Connection, name: str) -> None:
    """Have every change of a table counted, and count this as one."""
    conn.execute(_CHANGES)
    conn.execute("INSERT OR IGNORE INTO skmmrec_changes VALUES (?, 0)", (name,))
    literal = "'" + name.replace("'", "''") + "'"
    bump = f"UPDATE skmmrec_changes SET n = n + 1 WHERE name = {literal}"
    conn.execute(bump)
    for event in ("INSERT", "UPDATE", "DELETE"):
        conn.execute(
            f"CREATE TRIGGER IF NOT EXISTS {quote(f'{name}_{event.lower()}')} "
            f"AFTER {event} ON {quote(name)} BEGIN {bump}; END"
        )


def _add_event_us(conn: sqlite3.Connection, name: str) -> None:
    conn.create_function("feast_us", 1, _feast_us, deterministic=True)
    table = quote(name)
    try:
        with transaction(conn):
            conn.execute(f"ALTER TABLE {table} ADD COLUMN event_us INTEGER")
            conn.execute(f"UPDATE {table} SET event_us = feast_us(event_ts)")
    except sqlite3.OperationalError as error:
        if "duplicate column" not in str(error):
            raise


def _feast_us(event_ts: int | None) -> int | None:
    """Undo Feast's way of storing times: naive UTC read as local time."""
    return None if event_ts is None else to_us(datetime.fromtimestamp(event_ts))


def select_values(
    conn: sqlite3.Connection,
    name: str,
    keys: Sequence[bytes],
    features: Sequence[str] | None,
    oldest_us: int | None,
) -> dict[bytes, dict[str, tuple[bytes, int]]]:
    """Return serialized values and event times, by key and feature."""
    where, arguments = _conditions(features, oldest_us)
    found: dict[bytes, dict[str, tuple[bytes, int]]] = {}
    for chunk in chunks(list(dict.fromkeys(keys)), _KEYS_PER_QUERY):
        marks = ",".join("?" * len(chunk))
        rows = conn.execute(
            "SELECT entity_key, feature_name, value, event_us "
            f"FROM {quote(name)} WHERE entity_key IN ({marks}) {where}",
            (*chunk, *arguments),
        )
        for key, feature, value, event_us in rows:
            found.setdefault(key, {})[feature] = (value, event_us or 0)
    return found


def select_column(
    conn: sqlite3.Connection,
    name: str,
    keys: Sequence[bytes],
    feature: str,
    oldest_us: int | None,
) -> dict[bytes, bytes]:
    """Return serialized values of one feature, by key."""
    where, arguments = _conditions([feature], oldest_us)
    found: dict[bytes, bytes] = {}
    for chunk in chunks(keys, _KEYS_PER_QUERY):
        marks = ",".join("?" * len(chunk))
        found.update(
            conn.execute(
                f"SELECT entity_key, value FROM {quote(name)} "
                f"WHERE entity_key IN ({marks}) {where}",
                (*chunk, *arguments),
            )
        )
    return found


def _conditions(
    features: Sequence[str] | None, oldest_us: int | None
) -> tuple[str, list[Any]]:
    where, arguments = "", list[Any]()
    if features:
        where += f" AND feature_name IN ({','.join('?' * len(features))})"
        arguments += features
    if oldest_us is not None:
        where += " AND event_us >= ?"
        arguments.append(oldest_us)
    return where, arguments


def load_vectors(
    conn: sqlite3.Connection, name: str, join_key: str, feature: str, version: str
) -> VectorTable:
    """Read all vectors of a feature, sorted by id.

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
    return row and row[0]


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
    while rows := cursor.fetchmany(_ROWS_PER_FETCH):
        keys += [row[0] for row in rows]
        times += [row[2] or 0 for row in rows]
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
