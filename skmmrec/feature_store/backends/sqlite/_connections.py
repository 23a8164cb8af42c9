"""Opening the files of an embedded store, and telling what is wrong with them."""

from __future__ import annotations

import errno
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from skmmrec import runtime
from skmmrec.feature_store.backends.base import (
    BusyStoreError,
    DamagedStoreError,
    FullStoreError,
    ReadOnlyStoreError,
    StoreError,
)

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_READ_ONLY = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
# What a full disk says when the log of a database is to be made, or its index.
_NO_SPACE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_WRITE,
)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
# Of the main database, and of a publication.
_RESTORE = (
    "restore it from a copy; or move it away with the files beside it whose names "
    "begin with its own, run `feast apply` and publish again"
)
_REPUBLISH = (
    "publish the model again, serve another publication, or restore the file from a "
    "copy"
)
# Looking at the file takes some microseconds, several times in each request; whoever
# restores a backup waits for a second.
LOOK_SECONDS = 1.0
# 16 MB in place of 2, as pages are read at random.
_CACHE = "PRAGMA cache_size = -16000"


@contextmanager
def telling(path: str | Path, repair: str = _RESTORE) -> Iterator[None]:
    """Raise what sqlite says of a file as a `StoreError` that says what to do.

    `repair` is what to do when the file is damaged.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        # Of a name in the file, or of the message that has it.
        raise DamagedStoreError(f"{path} is damaged ({error}): {repair}") from error
    except sqlite3.Error as error:
        told = _told(error, path, repair)
        if told is None:
            raise
        raise told from error


@contextmanager
def telling_publication(path: Path) -> Iterator[None]:
    """Do the same for the file of a publication, which always has its tables."""
    with telling(path, _REPUBLISH):
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            raise damaged_publication(path, error) from error


def damaged_publication(path: Path | None, why: object) -> DamagedStoreError:
    """Say that a publication is damaged, and what to do."""
    return DamagedStoreError(f"{path} is damaged ({why}): {_REPUBLISH}")


def _told(error: sqlite3.Error, path: str | Path, repair: str) -> StoreError | None:
    # The lowest byte is the error, those above say more of it.
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in _DAMAGED:
        return DamagedStoreError(f"{path} is damaged ({error}): {repair}")
    if code == sqlite3.SQLITE_FULL:
        return FullStoreError(
            f"there is no room left to write {path}: free some and do it again; what "
            "was served before is still served"
        )
    if code == sqlite3.SQLITE_CANTOPEN and _has_no_handles():
        return StoreError(
            f"{path} cannot be opened, as this process has as many files open as it "
            "may: let it have more (`ulimit -n`)"
        )
    if code in _READ_ONLY:
        return ReadOnlyStoreError(
            f"{path} cannot be opened for writing ({error}): is its folder there, and "
            "may this process write to it?"
        )
    if code in _BUSY:
        return BusyStoreError(
            f"others have been writing to {path} for longer than the busy_timeout of "
            f"the online store ({error}): try again"
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(
            f"{path} cannot be read or written ({error}): look at its disk, which may "
            "be full or broken"
        )
    return None


def _has_no_handles() -> bool:
    """Tell whether this process can open no file at all."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    return False


def is_writable(path: str | Path) -> bool:
    """Tell whether a database can be written, and files made beside it."""
    path = Path(path)
    beside = os.access(path.parent, os.W_OK)
    return beside and (not path.exists() or os.access(path, os.W_OK))


class Database:
    """A connection to the main database, in autocommit mode.

    It is read-only where the file or its folder cannot be written.

    Parameters
    ----------
    path : str
    timeout : float
        Seconds to wait for another writer.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self._seen: object = None
        self._until = math.inf
        with telling(path):
            self.conn = self._open(timeout)
        self._file, self._looked = _identity(path), time.monotonic()

    def _open(self, timeout: float) -> sqlite3.Connection:
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        _refuse_lost(Path(self.path))
        if not is_writable(self.path):
            return self._open_read_only(timeout)
        try:
            return self._open_to_write(timeout)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in _NO_SPACE or not Path(self.path).exists():
                raise
        # Not even the index of its log can be made. What is served is read all the
        # same, and whether there is space again is looked at now and then.
        conn = self._open_read_only(timeout)
        self._until = time.monotonic() + LOOK_SECONDS
        return conn

    def _open_to_write(self, timeout: float) -> sqlite3.Connection:
        conn = _connect(self.path, timeout)
        try:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = NORMAL")
            # What was deleted is overwritten; sqlite is built with or without that.
            conn.execute("PRAGMA secure_delete = ON")
        except sqlite3.Error:
            conn.close()
            raise
        return conn

    def _open_read_only(self, timeout: float) -> sqlite3.Connection:
        """Open without any change to the folder.

        sqlite reads a database in write-ahead mode from a read-only place only if its
        log and the index of it are there, or it is told that nobody writes. It is told
        so while there is no log; see `is_stale`.
        """
        if not Path(self.path).exists():
            raise ReadOnlyStoreError(
                f"there is no {self.path}, and it cannot be made: its folder is "
                "read-only"
            )
        log = Path(self.path + "-wal")
        if log.exists() and log.stat().st_size:
            return _connect(_uri(self.path, "mode=ro"), timeout)
        self._seen = self._look()
        return _connect(_uri(self.path, "mode=ro&immutable=1"), timeout)

    def is_stale(self) -> bool:
        """Tell whether the file was changed though nobody was to write, or may be."""
        if self.conn.in_transaction:
            return False
        if time.monotonic() > self._until:
            return True
        return self._seen is not None and self._seen != self._look()

    def is_replaced(self) -> bool:
        """Tell whether another file has taken the place of this one, as of a backup.

        What is written here then reaches nobody. It is looked at now and then, and not
        while something is written.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS or self.conn.in_transaction:
            return False
        self._looked = now
        return _identity(self.path) != self._file

    def _look(self) -> object:
        log, stat = Path(self.path + "-wal"), os.stat(self.path)
        return stat.st_ino, stat.st_mtime_ns, stat.st_size, log.exists()


def _identity(path: str) -> tuple[int, int] | None:
    """Tell a file from another one of its name; None where there is none."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def publications_beside(path: str | Path) -> Path:
    """Return the folder of the publications of a database."""
    return Path(f"{path}.publications")


def _refuse_lost(path: Path) -> None:
    """Refuse to begin anew where a database is gone, or empty, that had publications.

    They would be removed then, as files that no database knows.
    """
    is_there = path.exists() and path.stat().st_size > 0
    if not is_there and any(publications_beside(path).glob("*.db")):
        raise DamagedStoreError(
            f"{path} is damaged (it is gone or empty, and its publications are not): "
            f"{_RESTORE}"
        )


def open_publication(path: Path) -> sqlite3.Connection:
    """Open the file of a publication, which never changes, for reading.

    Raises FileNotFoundError when there is no such file.
    """
    try:
        return _connect(_uri(path, "mode=ro&immutable=1"), 0.0)
    except sqlite3.OperationalError as error:
        if not path.exists():
            raise FileNotFoundError(path) from error
        raise


def _connect(path: str, timeout: float) -> sqlite3.Connection:
    conn = sqlite3.connect(
        path,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        uri=path.startswith("file:"),
    )
    conn.execute(_CACHE)
    return conn


def _uri(path: str | Path, options: str) -> str:
    return f"{Path(path).absolute().as_uri()}?{options}"


@contextmanager
def transaction(
    conn: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE"
) -> Iterator[None]:
    """Read one state of the database, and write all or nothing.

    Ctrl-C while others are waited for arrives when that is over, with the lock.
    """
    try:
        conn.execute(begin)
        yield
        conn.execute("COMMIT")
    except BaseException:
        conn.rollback()
        raise


def joined(conn: sqlite3.Connection) -> AbstractContextManager[None]:
    """Write all or nothing, with whatever is being written already."""
    return nullcontext() if conn.in_transaction else transaction(conn)


def empty_log(conn: sqlite3.Connection, path: str | Path) -> None:
    """Take the log of a database into it, and leave no byte of what was deleted there.

    Raises BusyStoreError where somebody reads an earlier state for too long.
    """
    is_busy = conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if is_busy:
        raise BusyStoreError(
            f"rows were deleted from {path}, but their bytes are still in its log, as "
            "somebody has been reading it for longer than the busy_timeout of the "
            "online store, such as a backup: do the same again when that has ended"
        )


def sync(path: str | Path) -> None:
    """Have the disk keep what was written to a file, or to the names in a folder."""
    # A log may be gone that was taken into its database, which sqlite has synced.
    with suppress(FileNotFoundError):
        runtime.sync(path)
