"""Feedback events in the main database, with sequence numbers."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from skmmrec.feature_store.backends.base import Event, chunks
from skmmrec.interactions import ITEM, USER

from ._tables import KEYS_PER_QUERY, columns_of

_TABLE = "skmmrec_events"
# Numbers of one project are not without gaps where projects share a database. Those of
# events that were removed are never used again.
_CREATE = f"""
CREATE TABLE IF NOT EXISTS {_TABLE} (
    number INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT, user_key BLOB,
    item_key BLOB, y REAL, event_us INTEGER, pushed BLOB, UNIQUE (project, pushed)
)
"""
_VALUES = "project, user_key, item_key, y, event_us"


def append_feedback(conn: sqlite3.Connection, project: str, event: Event) -> bool:
    """Add one event, in the caller's transaction; False if it was added before."""
    conn.execute(_CREATE)
    added = conn.execute(
        f"INSERT INTO {_TABLE} ({_VALUES}, pushed) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (project, pushed) DO NOTHING",
        (project, *event),
    )
    return added.rowcount == 1


def read_feedback(
    conn: sqlite3.Connection, project: str, after: int, limit: int | None
) -> list[tuple[int, bytes, bytes, float, int]]:
    """Return number, user key, item key, y and time of events, in their order."""
    if not columns_of(conn, _TABLE):
        return []
    return conn.execute(
        f"SELECT number, user_key, item_key, y, event_us FROM {_TABLE} "
        "WHERE project = ? AND number > ? ORDER BY number LIMIT ?",
        (project, after, -1 if limit is None else limit),  # below 0: all of them
    ).fetchall()


def last_event(conn: sqlite3.Connection) -> int:
    """Return the highest number of an event so far, of any project."""
    if not columns_of(conn, _TABLE):
        return 0
    query = f"SELECT max(seq) FROM sqlite_sequence WHERE name = '{_TABLE}'"
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


def prune_feedback(conn: sqlite3.Connection, project: str, until: int) -> int:
    """Remove and count events up to a number, in the caller's transaction."""
    conn.execute(_CREATE)
    query = f"DELETE FROM {_TABLE} WHERE project = ? AND number <= ?"
    return conn.execute(query, (project, until)).rowcount


def delete_feedback(
    conn: sqlite3.Connection, project: str, join_key: str, keys: Sequence[bytes]
) -> None:
    """Remove all events of some users or items, in the caller's transaction."""
    conn.execute(_CREATE)
    column = {USER: "user_key", ITEM: "item_key"}[join_key]
    for part in chunks(keys, KEYS_PER_QUERY):
        marks = ",".join("?" * len(part))
        conn.execute(
            f"DELETE FROM {_TABLE} WHERE project = ? AND {column} IN ({marks})",
            (project, *part),
        )


def projects(conn: sqlite3.Connection) -> set[str]:
    """Return the projects that have events."""
    if not columns_of(conn, _TABLE):
        return set()
    query = f"SELECT DISTINCT project FROM {_TABLE}"
    return {project for (project,) in conn.execute(query)}


def remove_project(conn: sqlite3.Connection, project: str) -> None:
    """Remove all events of a project, in the caller's transaction."""
    if columns_of(conn, _TABLE):
        conn.execute(f"DELETE FROM {_TABLE} WHERE project = ?", (project,))
