"""Feedback events in the online database."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from skmmrec.feature_store.backends.base import chunks
from skmmrec.interactions import ITEM, USER

from ._tables import KEYS_PER_QUERY

_CREATE = """
CREATE TABLE IF NOT EXISTS skmmrec_feedback (
    project TEXT, user_key BLOB, item_key BLOB, y REAL, event_us INTEGER
)
"""


def append_feedback(
    conn: sqlite3.Connection,
    project: str,
    user_key: bytes,
    item_key: bytes,
    y: float,
    event_us: int,
) -> None:
    """Add one event; the caller holds the transaction."""
    conn.execute(_CREATE)
    row = (project, user_key, item_key, y, event_us)
    conn.execute("INSERT INTO skmmrec_feedback VALUES (?, ?, ?, ?, ?)", row)


def read_feedback(
    conn: sqlite3.Connection, project: str, since: int
) -> list[tuple[bytes, bytes, float, int]]:
    """Return user key, item key, y and time of events, in the order they came."""
    conn.execute(_CREATE)
    return conn.execute(
        "SELECT user_key, item_key, y, event_us FROM skmmrec_feedback "
        "WHERE project = ? AND event_us >= ? ORDER BY rowid",
        (project, since),
    ).fetchall()


def delete_feedback(
    conn: sqlite3.Connection, project: str, join_key: str, keys: Sequence[bytes]
) -> None:
    """Remove all events of some users or items."""
    conn.execute(_CREATE)
    column = {USER: "user_key", ITEM: "item_key"}[join_key]
    for part in chunks(keys, KEYS_PER_QUERY):
        conn.execute(
            "DELETE FROM skmmrec_feedback WHERE project = ? "
            f"AND {column} IN ({','.join('?' * len(part))})",
            (project, *part),
        )
