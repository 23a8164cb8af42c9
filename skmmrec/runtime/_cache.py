"""EmbeddingCache: vectors on disk, found by the content they were made from."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from skmmrec.interactions import warn_caller
from skmmrec.runtime._locks import ForkSafeLock

# Version of the tables. Raise it when the schema changes.
_FORMAT = 1
_SCHEMA = f"""
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS vectors (
    key BLOB PRIMARY KEY, vector BLOB NOT NULL, checksum INTEGER NOT NULL,
    used REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used);
CREATE TABLE IF NOT EXISTS size (n_vectors INTEGER NOT NULL, n_bytes INTEGER NOT NULL);
INSERT INTO size SELECT 0, 0 WHERE NOT EXISTS (SELECT * FROM size);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON vectors BEGIN
    UPDATE size SET n_vectors = n_vectors + 1,
        n_bytes = n_bytes + length(new.key) + length(new.vector);
END;
CREATE TRIGGER IF NOT EXISTS dropped AFTER DELETE ON vectors BEGIN
    UPDATE size SET n_vectors = n_vectors - 1,
        n_bytes = n_bytes - length(old.key) - length(old.vector);
END;
PRAGMA user_version = {_FORMAT};
COMMIT;
"""
# How long to wait for another writer's lock, which is held for milliseconds. Not tuned.
_BUSY_SECONDS = 60
# Older builds of SQLite allow 999 variables in a statement; one is the time of use.
_KEYS_PER_QUERY = 500
# Seconds by which a recorded time of use may lag: reads rarely write so. Not tuned.
_USE_RESOLUTION = 3600.0


class CacheInfo(NamedTuple):
    """What a cache holds, and what this process did with it.

    Returned by `EmbeddingCache.info`.

    Attributes
    ----------
    path : str
        The file.
    n_vectors, n_bytes : int
        What it holds.
    max_bytes : int or None
        What it may hold at most; None: there is no limit.
    hits, misses : int
        How often this process found a vector, and did not.
    damaged : int
        Entries that were not what had been stored, and were encoded again.
    """

    path: str
    n_vectors: int
    n_bytes: int
    max_bytes: int | None
    hits: int
    misses: int
    damaged: int


class EmbeddingCache:
    """Keep vectors on disk, so that no content is encoded twice.

    The key of an entry is a hash of the content's bytes, the model, its weights, its
    preprocessing and its precision. So a renamed file is found and a changed one is
    not. Several processes and threads may share one file. If a process is killed, what
    it has stored stays, and the rest is encoded again.

    Parameters
    ----------
    path : str or path
        A folder on a local disk, created on first use. The entries are in its file
        ``embeddings.sqlite``.
    max_bytes : int or None, default=None
        Size above which the least recently used vectors are dropped.
    max_age : float or None, default=None
        Seconds without use after which an entry is dropped.

    Notes
    -----
    The store is SQLite in write-ahead mode, through Python's own `sqlite3`. Its
    transactions make it safe when processes are killed or write in parallel. The better
    known ``diskcache`` has had no release since 2023 and unpickles what it reads. Each
    entry has a checksum; a damaged entry counts as absent.

    A file or folder that may not be written is read as it is. Encoders and language
    models that cannot store a result give it all the same, and warn.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skmmrec.encoders import EmbeddingCache
    >>> cache = EmbeddingCache(tempfile.mkdtemp())
    >>> cache.put({b"key": np.ones(3, dtype=np.float32)})
    >>> cache.get([b"key", b"other"])
    {b'key': array([1., 1., 1.], dtype=float32)}
    >>> cache.info().n_vectors
    1
    """

    _counts: tuple[int, int, int]

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        max_bytes: int | None = None,
        max_age: float | None = None,
    ) -> None:
        for name, value in (("max_bytes", max_bytes), ("max_age", max_age)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive or None, got {value!r}.")
        self.path = path
        self.max_bytes = max_bytes
        self.max_age = max_age
        self._reset()

    def get(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """Return the vectors of those keys that are stored and undamaged.

        Parameters
        ----------
        keys : iterable of bytes
            Hashes of contents.

        Returns
        -------
        vectors : dict of bytes to ndarray of shape (dim,), float32
            A key that is not stored is left out.
        """
        found = self.get_bytes(keys)
        return {
            key: np.frombuffer(data, "<f4").astype(np.float32)
            for key, data in found.items()
        }

    def get_bytes(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the undamaged entries of those keys, whatever their type.

        Parameters
        ----------
        keys : iterable of bytes
            Hashes of contents.

        Returns
        -------
        entries : dict of bytes to bytes
            A key that is not stored is left out.
        """
        wanted = list(keys)
        found: dict[bytes, bytes] = {}
        damaged: list[tuple] = []
        for key, data, checksum in self._select(wanted):
            if crc32(data, crc32(key)) == checksum:
                found[key] = data
            else:
                damaged.append((key,))
        if not self._is_read_only:
            self._write_each("DELETE FROM vectors WHERE key = ?", damaged)
        self._count(len(found), len(wanted) - len(found), len(damaged))
        return found

    def put(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Store vectors, all or none, then drop entries that exceed the limits.

        Parameters
        ----------
        vectors : mapping of bytes to ndarray of shape (dim,)
            Stored as float32.
        """
        self.put_bytes(
            {
                key: np.ascontiguousarray(vector, dtype="<f4").tobytes()
                for key, vector in vectors.items()
            }
        )

    def put_bytes(self, entries: Mapping[bytes, bytes]) -> None:
        """Store entries of any kind, all or none, then drop those over the limits.

        Parameters
        ----------
        entries : mapping of bytes to bytes
            Keyed by a hash of the content and of how the entry was made from it.
        """
        now = time.time()
        rows = [(k, data, crc32(data, crc32(k)), now) for k, data in entries.items()]
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)", rows
            )
            self._evict(connection, now)

    def info(self) -> CacheInfo:
        """Return the number of entries, the size, and this process's hits."""
        with self._reading() as connection:
            n_vectors, n_bytes = connection.execute("SELECT * FROM size").fetchone()
        path = str(self.path)
        return CacheInfo(path, n_vectors, n_bytes, self.max_bytes, *self._counts)

    def clear(self) -> None:
        """Drop every entry."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM vectors")

    @property
    def _file(self) -> Path:
        return Path(self.path).expanduser() / "embeddings.sqlite"

    def _select(self, keys: list[bytes]) -> list[tuple[bytes, bytes, int]]:
        """Return the entries of these keys that are not too old."""
        now = time.time()
        oldest = now - (self.max_age or np.inf)
        rows = []
        with self._reading() as connection:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                part = keys[start : start + _KEYS_PER_QUERY]
                marks = ",".join("?" * len(part))
                query = f"SELECT * FROM vectors WHERE used >= ? AND key IN ({marks})"
                rows += connection.execute(query, (oldest, *part)).fetchall()
        stale = [(now, row[0]) for row in rows if row[3] < now - self._resolution]
        if not self._is_read_only:
            self._write_each("UPDATE vectors SET used = ? WHERE key = ?", stale)
        return [row[:3] for row in rows]

    def _write_each(self, statement: str, rows: list[tuple]) -> None:
        if rows:
            with self._transaction() as connection:
                connection.executemany(statement, rows)

    @property
    def _resolution(self) -> float:
        return min(_USE_RESOLUTION, (self.max_age or np.inf) / 10)

    def _evict(self, connection: sqlite3.Connection, now: float) -> None:
        if self.max_age is not None:
            oldest = now - self.max_age
            connection.execute("DELETE FROM vectors WHERE used < ?", (oldest,))
        if self.max_bytes is None:
            return
        (n_bytes,) = connection.execute("SELECT n_bytes FROM size").fetchone()
        by_use = connection.execute(
            "SELECT key, length(key) + length(vector) FROM vectors ORDER BY used"
        )
        unused = []
        while n_bytes > self.max_bytes:
            key, length = by_use.fetchone()
            unused.append((key,))
            n_bytes -= length
        connection.executemany("DELETE FROM vectors WHERE key = ?", unused)

    def _count(self, hits: int, misses: int, damaged: int) -> None:
        with self._lock:
            old_hits, old_misses, old_damaged = self._counts
            self._counts = (
                old_hits + hits,
                old_misses + misses,
                old_damaged + damaged,
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that holds the write lock and commits all or nothing."""
        with self._connection() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @property
    def _is_read_only(self) -> bool:
        """Whether there is a file, and it or its folder may not be written."""
        file = self._file
        places = (file, file.parent)
        return file.exists() and not all(os.access(path, os.W_OK) for path in places)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for this call only: threads and forks cannot share one."""
        with self._named_errors():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=_BUSY_SECONDS)) as opened:
                opened.isolation_level = None
                opened.execute("PRAGMA synchronous = NORMAL")
                _make_tables(opened, self._file)
                yield opened

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to read by, also from where nothing may be written."""
        if not self._is_read_only:
            with self._connection() as opened:
                yield opened
            return
        # A writer's log tells that the file may change. Without one, SQLite must be
        # told that it does not, as it would make a log.
        is_written = Path(f"{self._file}-wal").exists()
        options = "mode=ro" if is_written else "mode=ro&immutable=1"
        address = f"{self._file.absolute().as_uri()}?{options}"
        connect = partial(sqlite3.connect, uri=True, timeout=_BUSY_SECONDS)
        with self._named_errors(), closing(connect(address)) as opened:
            _require_format(_format_of(opened), self._file)
            yield opened

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Name the file in what SQLite raises."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(f"EmbeddingCache at {self._file}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise OSError(
                f"EmbeddingCache at {self._file} is damaged as a whole "
                f"({error}). Delete the file; its vectors will be encoded again."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock, and the counts, which belong to one process."""
        return {name: vars(self)[name] for name in ("path", "max_bytes", "max_age")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def _reset(self) -> None:
        self._lock = ForkSafeLock()
        self._counts = (0, 0, 0)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.__getstate__().items())
        return f"EmbeddingCache({arguments})"


def _make_tables(connection: sqlite3.Connection, file: Path) -> None:
    """Create the tables if there are none; retry while another process does so.

    SQLite waits for locks by itself, except while a file is switched to WAL.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            if found := _format_of(connection):  # that of a new file is 0
                _require_format(found, file)
                return
            connection.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            time.sleep(0.05)


def _format_of(connection: sqlite3.Connection) -> int:
    [found] = connection.execute("PRAGMA user_version").fetchone()
    return found


def _require_format(found: int, file: Path) -> None:
    if found != _FORMAT:
        raise OSError(
            f"EmbeddingCache at {file} is of format {found}, and this version "
            f"of skmmrec reads format {_FORMAT}: give another path, or delete "
            "the file"
        )


def warn_not_kept(error: OSError) -> None:
    """Warn that what was computed could not be stored, which loses no result."""
    warn_caller(f"{error}. What was computed is not kept for the next time.")


def as_cache(cache: EmbeddingCache | str | os.PathLike | None) -> EmbeddingCache | None:
    """Return a cache argument as a cache; a path becomes a cache without limits."""
    if cache is None or isinstance(cache, EmbeddingCache):
        return cache
    return EmbeddingCache(cache)
