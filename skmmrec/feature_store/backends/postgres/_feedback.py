"""Recorded events, numbered in the order in which they came."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import Connection

from skmmrec.feature_store.backends.base import Event
from skmmrec.interactions import ITEM, USER

from ._sql import one, statement

_NEXT = """
INSERT INTO skmmrec_event_numbers AS e VALUES (%s, 1)
ON CONFLICT (project) DO UPDATE SET last = e.last + 1 RETURNING last
"""
_INSERT = """
INSERT INTO skmmrec_feedback (project, number, user_key, item_key, y, event_us, pushed)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_READ = """
SELECT number, user_key, item_key, y, event_us FROM skmmrec_feedback
WHERE project = %s AND number > %s ORDER BY number LIMIT %s
"""
_RECORDED = """
SELECT pushed FROM skmmrec_feedback WHERE project = %s AND pushed = ANY(%s)
    AND (%s::bigint IS NULL OR number <= %s)
"""


def append(conn: Connection, project: str, event: Event) -> bool:
    """Add one event under the next number, unless it is a pushed one that was kept.

    The caller holds the lock of recorders, so that numbers are given in the order in
    which they can be read.
    """
    if event.pushed is not None and recorded(conn, project, [event.pushed]):
        return False
    number = one(conn, _NEXT, [project])
    row = (event.user_key, event.item_key, event.y, event.event_us, event.pushed)
    conn.execute(_INSERT, (project, number, *row))
    return True


def read(
    conn: Connection, project: str, after: int, limit: int | None
) -> list[tuple[int, bytes, bytes, float, int]]:
    """Return number, user key, item key, y and time of the events after a number."""
    with conn.cursor(binary=True) as cursor:
        return cursor.execute(_READ, (project, after, limit)).fetchall()


def last(conn: Connection, project: str) -> int:
    """Return the number of the last event, 0 before the first."""
    query = "SELECT last FROM skmmrec_event_numbers WHERE project = %s"
    return one(conn, query, [project]) or 0


def recorded(
    conn: Connection, project: str, pushed: Sequence[bytes], until: int | None = None
) -> set[bytes]:
    """Return which pushed events were kept, up to a number."""
    with conn.cursor(binary=True) as cursor:
        args = (project, list(pushed), until, until)
        return {row[0] for row in cursor.execute(_RECORDED, args)}


def prune(conn: Connection, project: str, until: int) -> int:
    """Delete and count the events up to a number."""
    query = "DELETE FROM skmmrec_feedback WHERE project = %s AND number <= %s"
    return conn.execute(query, (project, until)).rowcount


def delete(
    conn: Connection, project: str, join_key: str, keys: Sequence[bytes]
) -> None:
    """Delete all events of some users or items."""
    column = {USER: "user_key", ITEM: "item_key"}[join_key]
    query = "DELETE FROM skmmrec_feedback WHERE project = %s AND {} = ANY(%s)"
    conn.execute(statement(query, column), (project, list(keys)))
