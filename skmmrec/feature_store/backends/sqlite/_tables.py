"""Feast's sqlite tables: preparing, reading values by key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from skmmrec.feature_store.backends.base import Cells, chunks, to_us

from ._connections import joined

# sqlite binds up to 32,766 values in a query, or 250,000, as it was built; this leaves
# room for the names of features.
KEYS_PER_QUERY = 10_000

CHANGES = "skmmrec_changes"  # how often each table was changed


def quote(identifier: str) -> str:
    """Quote a table name for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def feast_seconds(when: datetime) -> int:
    """Feast's own ``event_ts``: naive UTC read as local time, in whole seconds."""
    naive = when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when
    return int(naive.timestamp())


def columns_of(conn: sqlite3.Connection, name: str) -> set[str]:
    """Return the columns of a table; none where there is no such table."""
    return {row[1] for row in conn.execute(f"PRAGMA table_info({quote(name)})")}


def prepare_table(conn: sqlite3.Connection, name: str) -> None:
    """Add what a table of Feast's lacks: event times in microseconds, a change count.

    Raises LookupError when there is no such table.
    """
    if "event_us" not in _known_columns(conn, name):
        _add_event_us(conn, name)
    triggers = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
    if conn.execute(f"{triggers} AND tbl_name = ?", (name,)).fetchone()[0] < 3:
        with joined(conn):
            count_changes(conn, name)


def _known_columns(conn: sqlite3.Connection, name: str) -> set[str]:
    columns = columns_of(conn, name)
    if not columns:
        raise LookupError(
            f"the online store has no table {name!r}; run `feast apply` first "
            "(views with online=False and on-demand views without "
            "write_to_online_store have none)"
        )
    return columns


def event_us(conn: sqlite3.Connection, name: str) -> str:
    """Return the event time (us) of a table's rows as SQL, in a table of Feast's too.

    So nothing has to be prepared on the way of a read.

    Raises LookupError when there is no such table.
    """
    if "event_us" in _known_columns(conn, name):
        return "event_us"
    conn.create_function("feast_us", 1, _feast_us, deterministic=True)
    return "feast_us(event_ts)"


def count_changes(conn: sqlite3.Connection, name: str) -> None:
    """Have every change of a table counted, and count this as one."""
    conn.execute(
        f"CREATE TABLE IF NOT EXISTS {CHANGES} (name TEXT PRIMARY KEY, n INTEGER)"
    )
    conn.execute(f"INSERT OR IGNORE INTO {CHANGES} VALUES (?, 0)", (name,))
    literal = "'" + name.replace("'", "''") + "'"
    bump = f"UPDATE {CHANGES} SET n = n + 1 WHERE name = {literal}"
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
        with joined(conn):
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
) -> dict[bytes, Cells]:
    """Return serialized values and event times, by key and feature."""
    event = event_us(conn, name)
    where, arguments = _conditions(event, features, oldest_us)
    found: dict[bytes, Cells] = {}
    for chunk in chunks(list(dict.fromkeys(keys)), KEYS_PER_QUERY):
        marks = ",".join("?" * len(chunk))
        rows = conn.execute(
            f"SELECT entity_key, feature_name, value, {event} "
            f"FROM {quote(name)} WHERE entity_key IN ({marks}) {where}",
            (*chunk, *arguments),
        )
        for key, feature, value, micros in rows:
            found.setdefault(key, {})[feature] = (value, micros or 0)
    return found


def select_column(
    conn: sqlite3.Connection,
    name: str,
    keys: Sequence[bytes],
    feature: str,
    oldest_us: int | None,
) -> dict[bytes, bytes]:
    """Return serialized values of one feature, by key."""
    where, arguments = _conditions(event_us(conn, name), [feature], oldest_us)
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
    event: str, features: Sequence[str] | None, oldest_us: int | None
) -> tuple[str, list[Any]]:
    where, arguments = "", list[Any]()
    if features:
        where += f" AND feature_name IN ({','.join('?' * len(features))})"
        arguments += features
    if oldest_us is not None:
        where += f" AND {event} >= ?"
        arguments.append(oldest_us)
    return where, arguments


def all_keys(conn: sqlite3.Connection, name: str) -> list[bytes]:
    """Return the keys of all entities of a table; a LookupError: there is none."""
    _known_columns(conn, name)
    return [
        key for (key,) in conn.execute(f"SELECT DISTINCT entity_key FROM {quote(name)}")
    ]


def latest_times(
    conn: sqlite3.Connection, name: str, keys: Sequence[bytes]
) -> dict[bytes, int]:
    """Return the latest event time of rows that are there, by key."""
    found: dict[bytes, int] = {}
    for part in chunks(keys, KEYS_PER_QUERY):
        marks = ",".join("?" * len(part))
        query = f"SELECT entity_key, max(coalesce(event_us, 0)) FROM {quote(name)} "
        query += f"WHERE entity_key IN ({marks}) GROUP BY entity_key"
        found.update(conn.execute(query, part))
    return found
