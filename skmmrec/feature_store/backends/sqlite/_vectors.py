"""Whole vector columns, kept in memory."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from skmmrec.feature_store.backends.base import (
    MakingLocks,
    Place,
    Snapshot,
    VectorTable,
    sorted_joined,
    vector_table,
    with_later,
)

from ._blocks import read_blocks
from ._connections import (
    Database,
    damaged_publication,
    open_publication,
    telling_publication,
    transaction,
)
from ._overlay import Overlay
from ._tables import CHANGES, columns_of, event_us, quote

# Of each feature, that which is served, and the one before while it is still read.
_KEPT = 2


_CACHES: WeakValueDictionary[str, VectorCache] = WeakValueDictionary()
_CACHES_LOCK = threading.Lock()


class Source(NamedTuple):
    """Where the vectors of a feature are; others are of another publication.

    Attributes
    ----------
    table : str
        Feast's table of the view.
    place : Place
        View and feature.
    overlay : Overlay or None
        What was written since the publication, where there is one.
    path : Path or None
        The file of that publication.
    """

    table: str
    place: Place
    overlay: Overlay | None = None
    path: Path | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from others."""
        served = self.overlay and self.overlay.snapshot.served_us
        return self.table, self.place.feature, self.path, served


@dataclass
class _Entry:
    """A table in memory: as it was published, and as it is now."""

    published: VectorTable | None
    changes: object
    table: VectorTable


def load_published(source: Source, snapshot: Snapshot) -> VectorTable:
    """Read the vectors of a publication, sorted by id."""
    assert source.path is not None
    path = source.path
    with telling_publication(path), closing(open_publication(path)) as conn:
        try:
            joined, blocks = read_blocks(conn, source.place.view, source.place.feature)
            order, ids, keys = sorted_joined(source.place.join_key, *joined)
            matrix = _in_order(blocks, order)
        except ValueError as error:
            raise damaged_publication(path, error) from error
    times = np.full(len(keys), snapshot.served_us, np.int64)
    return VectorTable(keys, ids, matrix, times, snapshot.version)


def _in_order(blocks: Iterable[np.ndarray], order: np.ndarray) -> np.ndarray:
    """Put rows where they belong, without a second copy of them all."""
    matrix, places, done = np.empty((0, 0), np.float32), np.empty_like(order), 0
    places[order] = np.arange(len(order))
    for block in blocks:
        if not done:
            matrix = np.empty((len(order), block.shape[1]), np.float32)
        matrix[places[done : done + len(block)]] = block
        done += len(block)
    return matrix


def load_table(conn: sqlite3.Connection, source: Source) -> VectorTable:
    """Read all vectors from Feast's table, sorted by id."""
    event = event_us(conn, source.table)
    rows = conn.execute(
        f"SELECT entity_key, value, {event} FROM {quote(source.table)} "
        "WHERE feature_name = ?",
        (source.place.feature,),
    )
    cells = [(key, value, micros or 0) for key, value, micros in rows]
    return vector_table(source.place, cells, None)


def shared_cache(path: str) -> VectorCache:
    """Return the cache of a database, for all stores of this process that use it."""
    with _CACHES_LOCK:
        cache = _CACHES.get(path)
        if cache is None:
            cache = _CACHES[path] = VectorCache()
        return cache


def forget_cache(path: str) -> None:
    """Have other stores begin anew: the database is another one from now on."""
    with _CACHES_LOCK:
        _CACHES.pop(path, None)


def renew_caches() -> None:
    """Begin without caches, whose locks may be held by threads that are not here."""
    global _CACHES_LOCK
    _CACHES_LOCK = threading.Lock()
    _CACHES.clear()


class VectorCache:
    """Vector tables in memory, as fresh as the database.

    Whoever asks compares the table's change count by a connection of their own: a lock
    around it would be held by each thread while it waits for Python's.
    """

    def __init__(self) -> None:
        self._loading = MakingLocks()
        self._keeping = threading.Lock()
        self._tables: dict[tuple[str, str], OrderedDict[object, _Entry]] = {}

    def get(
        self,
        conn: sqlite3.Connection,
        connect: Callable[[], Database],
        source: Source,
    ) -> VectorTable:
        """Return the table of a source.

        What the caller's connection has not committed is not in the table. `connect`
        opens the main database once more.
        """
        entry = self._entry(source)
        if entry is not None and entry.changes == _changes(conn, source.table):
            return entry.table
        loading = self._loading.of((source.place.feature, source.key))
        with loading, closing(connect().conn) as own:
            return self._load(own, source)

    def _entry(self, source: Source) -> _Entry | None:
        entries = self._tables.get((source.table, source.place.feature), OrderedDict())
        return entries.get(source.key)

    def _load(self, conn: sqlite3.Connection, source: Source) -> VectorTable:
        """Read what has changed, unless another thread has done so by now."""
        with transaction(conn, "BEGIN"):
            changes, entry = _changes(conn, source.table), self._entry(source)
            if entry is None or entry.changes != changes:
                entry = _read(conn, source, entry, changes)
        self._keep(source, entry)
        return entry.table

    def _keep(self, source: Source, entry: _Entry) -> None:
        name = source.table, source.place.feature
        with self._keeping:
            entries = self._tables.setdefault(name, OrderedDict())
            entries[source.key] = entry
            entries.move_to_end(source.key)
            while len(entries) > _KEPT:
                entries.popitem(last=False)


def _changes(conn: sqlite3.Connection, table: str) -> object:
    """Return what differs once a table was changed."""
    if columns_of(conn, CHANGES):
        query = f"SELECT n FROM {CHANGES} WHERE name = ?"
        if row := conn.execute(query, (table,)).fetchone():
            return row[0]
    # Nobody counts them as yet: any change of the files may be one.
    path = conn.execute("PRAGMA database_list").fetchone()[2]
    stats = [os.stat(p) for p in (path, f"{path}-wal") if os.path.exists(p)]
    return [(stat.st_mtime_ns, stat.st_size) for stat in stats]


def _read(
    conn: sqlite3.Connection, source: Source, entry: _Entry | None, changes: object
) -> _Entry:
    overlay = source.overlay
    if overlay is None:
        return _Entry(None, changes, load_table(conn, source))
    published = None if entry is None else entry.published
    if published is None:
        published = load_published(source, overlay.snapshot)
    later = overlay.column(conn, source.place.feature)
    return _Entry(published, changes, with_later(published, source.place, later))
