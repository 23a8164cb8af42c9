"""Feedback events in the main database, with sequence numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from skmmrec.feature_store.backends.base import Event, chunks
from skmmrec.interactions import ITEM, USER

from ._tables import KEYS_PER_QUERY, columns_of

_TABLE, _OLD = "skmmrec_events", "skmmrec_feedback"
# Numbers of one project are not without gaps where projects share a database. Those of
# events that were removed are never used again.
_CREATE = f"""
CREATE TABLE IF NOT EXISTS {_TABLE} (
    number INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT, user_key BLOB,
    item_key BLOB, y REAL, event_us INTEGER, pushed BLOB, UNIQUE (project, pushed)
)
"""
_VALUES = "project, user_key, item_key, y, event_us"


def prepare_feedback(conn: sqlite3.Connection) -> None:
    """Make the table, from that of an earlier release; in the caller's transaction."""
    conn.execute(_CREATE)
    if columns_of(conn, _OLD):
        conn.execute(
            f"INSERT INTO {_TABLE} ({_VALUES}) SELECT {_VALUES} FROM {_OLD} "
            "ORDER BY rowid"
        )
        conn.execute(f"DROP TABLE {_OLD}")


def append_feedback(conn: sqlite3.Connection, project: str, event: Event) -> bool:
    """Add one event, in the caller's transaction; False if it was added before."""
    prepare_feedback(conn)
    added = conn.execute(
        f"INSERT INTO {_TABLE} ({_VALUES}, pushed) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (project, pushed) DO NOTHING",
        (project, *event),
    )
    return added.rowcount == 1


def read_feedback(
    conn: sqlite3.Connection, project: str, after: int
) -> list[tuple[int, bytes, bytes, float, int]]:
    """Return number, user key, item key, y and time of events, in their order."""
    table = _readable(conn)
    if table is None:
        return []
    return conn.execute(
        f"SELECT number, user_key, item_key, y, event_us FROM {table} "
        "WHERE project = ? AND number > ? ORDER BY number",
        (project, after),
    ).fetchall()


def _readable(conn: sqlite3.Connection) -> str | None:
    """Return the table of events, as `prepare_feedback` will make it."""
    if columns_of(conn, _TABLE):
        return _TABLE
    if columns_of(conn, _OLD):
        return f"(SELECT *, row_number() OVER (ORDER BY rowid) AS number FROM {_OLD})"
    return None


def last_event(conn: sqlite3.Connection) -> int:
    """Return the highest number of an event so far, of any project."""
    if columns_of(conn, _TABLE):
        query = f"SELECT max(seq) FROM sqlite_sequence WHERE name = '{_TABLE}'"
    elif columns_of(conn, _OLD):
        query = f"SELECT count(*) FROM {_OLD}"
    else:
        return 0
    return int(conn.execute(query).fetchone()[0] or 0)


def recorded(
    conn: sqlite3.Connection,
    project: str,
    pushed: Sequence[bytes],
    until: int | None,
) -> set[bytes]:
    """Return which pushed events have been added, up to a number."""
    if not columns_of(conn, _TABLE):
        return set()
    where = "" if until is None else f" AND number <= {int(until)}"
    found: set[bytes] = set()
    for part in chunks(pushed, KEYS_PER_QUERY):
        marks = ",".join("?" * len(part))
        query = f"SELECT pushed FROM {_TABLE} WHERE project = ? AND pushed IN ({marks})"
        rows = conn.execute(query + where, (project, *part))
        found.update(key for (key,) in rows)
    return found


def prune_feedback(conn: sqlite3.Connection, project: str, until: int) -> None:
    """Remove events up to a number, in the caller's transaction."""
    prepare_feedback(conn)
    query = f"DELETE FROM {_TABLE} WHERE project = ? AND number <= ?"
    conn.execute(query, (project, until))


def delete_feedback(
    conn: sqlite3.Connection, project: str, join_key: str, keys: Sequence[bytes]
) -> None:
    """Remove all events of some users or items, in the caller's transaction."""
    prepare_feedback(conn)
    column = {USER: "user_key", ITEM: "item_key"}[join_key]
    for part in chunks(keys, KEYS_PER_QUERY):
        marks = ",".join("?" * len(part))
        conn.execute(
            f"DELETE FROM {_TABLE} WHERE project = ? AND {column} IN ({marks})",
            (project, *part),
        )
