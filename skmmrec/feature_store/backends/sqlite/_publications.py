"""What the main database says of publications: which there are, which is served."""

from __future__ import annotations

import re
import secrets
import sqlite3
from functools import lru_cache
from typing import NamedTuple

from skmmrec.feature_store.backends.base import Snapshot

_CREATE = (
    "CREATE TABLE IF NOT EXISTS skmmrec_publications (project TEXT, number INTEGER, "
    "state TEXT, file TEXT, content TEXT, PRIMARY KEY (project, number))",
    "CREATE TABLE IF NOT EXISTS skmmrec_served "
    "(project TEXT PRIMARY KEY, number INTEGER)",
)
STAGED, COMPLETE = "staged", "complete"


class Record(NamedTuple):
    """A publication, and the name of its file in the folder of publications."""

    snapshot: Snapshot
    file: str


def create_tables(conn: sqlite3.Connection) -> None:
    """Make the tables; the caller may hold a transaction."""
    for statement in _CREATE:
        conn.execute(statement)


def new_file(project: str, number: int) -> str:
    """Name a file, for people to read; no two have the same name."""
    name = re.sub(r"\W", "_", project, flags=re.ASCII)[:50]
    return f"{name}-{number}-{secrets.token_hex(8)}.db"


def another_file(file: str) -> str:
    """Name another file of the same publication."""
    return f"{file.rpartition('-')[0]}-{secrets.token_hex(8)}.db"


def add(conn: sqlite3.Connection, project: str, snapshot: Snapshot, file: str) -> None:
    """Add a publication that is staged."""
    conn.execute(
        "INSERT INTO skmmrec_publications VALUES (?, ?, ?, ?, ?)",
        (project, snapshot.number, STAGED, file, snapshot.to_json()),
    )


def update(
    conn: sqlite3.Connection, project: str, record: Record, state: str = COMPLETE
) -> None:
    """Write a publication again; a LookupError says that there is none."""
    found = conn.execute(
        "UPDATE skmmrec_publications SET state = ?, file = ?, content = ? "
        "WHERE project = ? AND number = ?",
        (
            state,
            record.file,
            record.snapshot.to_json(),
            project,
            record.snapshot.number,
        ),
    )
    if not found.rowcount:
        raise no_publication(record.snapshot.number)


def point(conn: sqlite3.Connection, project: str, number: int) -> None:
    """Serve a publication."""
    conn.execute(
        "INSERT OR REPLACE INTO skmmrec_served VALUES (?, ?)", (project, number)
    )


def remove(conn: sqlite3.Connection, project: str, number: int) -> None:
    """Forget a publication."""
    conn.execute(
        "DELETE FROM skmmrec_publications WHERE project = ? AND number = ?",
        (project, number),
    )


def served(conn: sqlite3.Connection, project: str) -> Record | None:
    """Return the publication that is served."""
    if not _exist(conn):
        return None
    row = conn.execute(
        "SELECT content, file FROM skmmrec_publications "
        "JOIN skmmrec_served USING (project, number) WHERE project = ?",
        (project,),
    ).fetchone()
    return row and Record(_snapshot(row[0]), row[1])


def records(conn: sqlite3.Connection, project: str, state: str) -> list[Record]:
    """Return the publications in a state, the earliest number first."""
    if not _exist(conn):
        return []
    rows = conn.execute(
        "SELECT content, file FROM skmmrec_publications "
        "WHERE project = ? AND state = ? ORDER BY number",
        (project, state),
    )
    return [Record(_snapshot(content), file) for content, file in rows]


def find(conn: sqlite3.Connection, project: str, snapshot: Snapshot) -> Record:
    """Return the record of a complete publication; a LookupError: there is none.

    Numbers of publications that were dropped may come again, event times do not.
    """
    row = (
        _exist(conn)
        and conn.execute(
            "SELECT content, file FROM skmmrec_publications "
            "WHERE project = ? AND number = ? AND state = ?",
            (project, snapshot.number, COMPLETE),
        ).fetchone()
    )
    if not row or _snapshot(row[0]).event_us != snapshot.event_us:
        raise no_publication(snapshot.number)
    return Record(_snapshot(row[0]), row[1])


def files(conn: sqlite3.Connection) -> set[str]:
    """Return the files of all projects."""
    if not _exist(conn):
        return set()
    return {file for (file,) in conn.execute("SELECT file FROM skmmrec_publications")}


def projects(conn: sqlite3.Connection) -> set[str]:
    """Return the projects that have publications."""
    if not _exist(conn):
        return set()
    query = "SELECT DISTINCT project FROM skmmrec_publications"
    return {project for (project,) in conn.execute(query)}


def remove_project(conn: sqlite3.Connection, project: str) -> list[str]:
    """Forget all publications of a project; return their files."""
    if not _exist(conn):
        return []
    query = "SELECT file FROM skmmrec_publications WHERE project = ?"
    found = [file for (file,) in conn.execute(query, (project,))]
    for table in ("skmmrec_publications", "skmmrec_served"):
        conn.execute(f"DELETE FROM {table} WHERE project = ?", (project,))
    return found


def no_publication(number: int) -> LookupError:
    """Say that a publication is not there any more."""
    return LookupError(
        f"there is no publication {number}, or it has been dropped; ask again for what "
        "is served"
    )


def _exist(conn: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE name = 'skmmrec_served'"
    return conn.execute(query).fetchone() is not None


@lru_cache(maxsize=8)  # those in use at once; more only cost time
def _snapshot(content: str) -> Snapshot:
    return Snapshot.from_json(content)
