"""Removing one project from a database that others share."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing

from skmmrec.feature_store.backends.base import DamagedStoreError

from . import _feedback as events, _publications as publications
from ._connections import (
    Database,
    empty_log,
    publications_beside,
    sync,
    telling,
    transaction,
)
from ._tables import CHANGES, columns_of, quote


def removed_beside_others(
    connect: Callable[[], Database], project: str, tables: Iterable[str]
) -> bool:
    """Remove what a project has, if others have something; tell whether that was so.

    `connect` opens the database, of which a damaged one is nobody's; `tables` are the
    names of Feast's tables of the project.
    """
    try:
        database = connect()
    except DamagedStoreError:
        return False
    with closing(database.conn), telling(database.path):
        is_shared = _is_shared(database.conn, project)
        if is_shared:
            _remove(database, project, tables)
    return is_shared


def _is_shared(conn: sqlite3.Connection, project: str) -> bool:
    return bool((publications.projects(conn) | events.projects(conn)) - {project})


def _remove(database: Database, project: str, tables: Iterable[str]) -> None:
    conn, folder = database.conn, publications_beside(database.path)
    with transaction(conn):
        files = publications.remove_project(conn, project)
        events.remove_project(conn, project)
        for name in tables:
            _drop(conn, name)
    sync(f"{database.path}-wal")
    for file in files:
        (folder / file).unlink(missing_ok=True)
    empty_log(conn, database.path)


def _drop(conn: sqlite3.Connection, name: str) -> None:
    conn.execute(f"DROP TABLE IF EXISTS {quote(name)}")
    if columns_of(conn, CHANGES):  # for those who have its vectors in memory
        conn.execute(f"UPDATE {CHANGES} SET n = n + 1 WHERE name = ?", (name,))
