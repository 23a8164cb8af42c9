"""What each thread has opened: the main database, and publications beside it."""

from __future__ import annotations

import os
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

    @property
    def _own(self) -> _OfThread:
        if not hasattr(self._local, "own"):
            self._local.own = _OfThread()
        own: _OfThread = self._local.own
        return own

    def main(self, path: str, connect: Callable[[], Database]) -> sqlite3.Connection:
        """Return this thread's connection to the main database, in autocommit mode.

        `connect` opens it where there is none, or that of another file.
        """
        database = self._own.database
        if database is None or database.path != path or database.is_stale():
            database = self._own.database = connect()
        return database.conn

    def is_replaced(self, path: str) -> bool:
        """Tell whether this thread's main database has made way for another file.

        What is open is forgotten then, and not closed: who asked for it before may be
        about to read it.
        """
        database = self._own.database
        if database is None or database.path != path or not database.is_replaced():
            return False
        self._own.forget()
        return True

    def publication(self, path: Path) -> sqlite3.Connection:
        """Return this thread's connection to a publication; the last ones stay open."""
        files = self._own.files
        if path not in files:
            files[path] = open_told(path)
            for other in list(files)[:-_OPEN_FILES]:
                files.pop(other).close()
        return files[path]

    def close(self) -> None:
        """Close this thread's connections."""
        self._own.close()


class _OfThread:
    """What one thread has opened, which is closed when the thread or the store ends.

    A connection of `sqlite3` refers to itself, and would hold its files until the
    garbage collector comes by: among many objects that takes long, and a process may
    have few files open.
    """

    def __init__(self) -> None:
        # Kept, as the modules may be empty when the interpreter ends.
        self._getpid = os.getpid
        self._process = self._getpid()
        self.forget()

    def forget(self) -> None:
        """Let go of all connections, and close none."""
        self.database: Database | None = None
        self.files: dict[Path, sqlite3.Connection] = {}

    def close(self) -> None:
        """Close all connections."""
        if self.database is not None:
            self.database.conn.close()
        for conn in self.files.values():
            conn.close()
        self.forget()

    def __del__(self) -> None:
        if self._process == self._getpid():  # connections must not cross a fork
            self.close()


def open_told(path: Path) -> sqlite3.Connection:
    """Open a publication; see `telling_publication`."""
    with telling_publication(path):
        return open_publication(path)
