"""What each thread has opened: the main database, and publications beside it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from ._connections import Database, open_publication, telling_publication

# Of each thread: the publication that is served, and the one before, which is still
# read for a moment.
_OPEN_FILES = 2


class Opened:
    """Connections, each of one thread."""

    def __init__(self) -> None:
        self._local = threading.local()

    def main(self, path: str, connect: Callable[[], Database]) -> sqlite3.Connection:
        """Return this thread's connection to the main database, in autocommit mode.

        `connect` opens it where there is none, or that of another file.
        """
        database: Database | None = getattr(self._local, "database", None)
        if database is None or database.path != path or database.is_stale():
            database = self._local.database = connect()
        return database.conn

    def is_replaced(self, path: str) -> bool:
        """Tell whether this thread's main database has made way for another file.

        What is open is forgotten then, and not closed: who asked for it before may be
        about to read it.
        """
        database: Database | None = getattr(self._local, "database", None)
        if database is None or database.path != path or not database.is_replaced():
            return False
        vars(self._local).clear()
        return True

    def publication(self, path: Path) -> sqlite3.Connection:
        """Return this thread's connection to a publication; the last ones stay open."""
        files = vars(self._local).setdefault("files", {})
        if path not in files:
            files[path] = open_told(path)
            for other in list(files)[:-_OPEN_FILES]:
                files.pop(other).close()
        conn: sqlite3.Connection = files[path]
        return conn

    def close(self) -> None:
        """Close this thread's connections."""
        if hasattr(self._local, "database"):
            self._local.database.conn.close()
            del self._local.database
        for conn in vars(self._local).pop("files", {}).values():
            conn.close()


def open_told(path: Path) -> sqlite3.Connection:
    """Open a publication; see `telling_publication`."""
    with telling_publication(path):
        return open_publication(path)
