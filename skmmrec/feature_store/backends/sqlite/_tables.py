"""Feast's sqlite tables: opening, preparing, reading values by key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skmmrec.feature_store.backends.base import chunks, to_us

# sqlite binds up to 32,766 values in a query, or 250,000, as it was built; this leaves
# room for the names of features.
KEYS_PER_QUERY = 10_000

_CHANGES = (
    "CREATE TABLE IF NOT EXISTS skmmrec_changes (name TEXT PRIMARY KEY, n INTEGER)"
)


def quote(identifier: str) -> str:
    """Quote a table name for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


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
    # 16 MB in place of 2: look-ups by key are random.
    conn.execute("PRAGMA cache_size = -16000")
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
            f"the online store has no table {name!r}; run `feast apply` first "
            "(views with online=False and on-demand views without "
            "write_to_online_store have none)"
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
    for chunk in chunks(list(dict.fromkeys(keys)), KEYS_PER_QUERY):
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
    for chunk in chunks(keys, KEYS_PER_QUERY):
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
