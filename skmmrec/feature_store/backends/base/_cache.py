"""Vectors of an engine that cannot search itself, kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

import numpy as np

from skmmrec.runtime import ForkSafeLock

from ._damage import Place, parsed_vectors
from ._encoding import has_numbers
from ._keys import sorted_keys
from ._pace import give_way
from ._search import VectorTable

# View or table of Feast's, feature, and what tells one state of the rows from others.
_Source = tuple[object, ...]


class RecentTables:
    """The tables of each feature that were made last, each by one thread.

    Whoever asks for a table that is there waits for nobody who makes another one.

    Parameters
    ----------
    size : int
        How many of a feature are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._making = MakingLocks()
        self._lock = ForkSafeLock()
        self._tables: dict[_Source, tuple[object, VectorTable]] = {}

    def get(
        self, source: _Source, stamp: object, make: Callable[[], VectorTable]
    ) -> VectorTable:
        """Return what `make` gave for a source, made anew under another stamp."""
        found = self._tables.get(source)
        if found is None or found[0] != stamp:
            # By a name, as only who waits or makes keeps the lock from being forgotten.
            lock = self._making.of(source)
            with lock:
                found = self._tables.get(source)
                if found is None or found[0] != stamp:
                    found = stamp, make()
                    self._keep(source, found)
        return found[1]

    def _keep(self, source: _Source, found: tuple[object, VectorTable]) -> None:
        with self._lock:
            same = [s for s in self._tables if s[:2] == source[:2]]
            gone = [s for s in same if s != source][: 1 - self._size]
            kept = {s: t for s, t in self._tables.items() if s not in gone}
            self._tables = {**kept, source: found}


class MakingLocks:
    """A lock for each thing that is made; those that nobody holds are forgotten."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._locks: WeakValueDictionary[object, ForkSafeLock] = WeakValueDictionary()

    def of(self, source: object) -> ForkSafeLock:
        """Return the lock of one of them; hold on to it while it is needed."""
        with self._lock:
            lock = self._locks.get(source)
            if lock is None:
                lock = self._locks[source] = ForkSafeLock()
            return lock


def vector_table(
    place: Place, rows: Sequence[tuple[bytes, bytes, int]], version: str | None
) -> VectorTable:
    """Build a table from rows of key, vector and event time, sorted by id.

    Entities whose vector is null or empty are left out.

    Raises
    ------
    DamagedStoreError
        When a vector cannot be read.
    ValueError
        When the vectors differ in length.
    """
    return joined_table(place, [rows], version)


def joined_table(
    place: Place,
    parts: Iterable[Sequence[tuple[bytes, bytes, int]]],
    version: str | None,
) -> VectorTable:
    """Build a table as `vector_table` does, each part made numbers as it comes.

    Raises
    ------
    DamagedStoreError
        When a vector cannot be read, or differs in length from those of another part.
    ValueError
        When the vectors of a part differ in length.
    """
    keys, times, blocks = list[bytes](), list[int](), list[np.ndarray]()
    for part in parts:
        if rows := [row for row in part if has_numbers(row[1])]:
            keys += [key for key, _, _ in rows]
            times += [time for _, _, time in rows]
            length = blocks[0].shape[1] if blocks else None
            blocks.append(_parsed(place, rows, length))
        give_way()
    order, ids, keys = sorted_keys(place.join_key, keys)
    matrix = np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)
    blocks.clear()
    event_us = np.array(times, np.int64)[order]
    return VectorTable(keys, ids, matrix[order], event_us, version)


def _parsed(
    place: Place, rows: Sequence[tuple[bytes, bytes, int]], length: int | None
) -> np.ndarray:
    return parsed_vectors(
        [value for _, value, _ in rows],
        lambda row, why: place.damaged_of_key(rows[row][0], why),
        length,
    )


def with_later(
    table: VectorTable, place: Place, later: Sequence[tuple[bytes, bytes, int]]
) -> VectorTable:
    """Put rows that were written later over those of a table, or among them.

    Those whose later vector is null or empty are left out. The table is another one in
    any case, so that what is kept with it is read again when anything of its rows
    changes.

    Raises
    ------
    DamagedStoreError
        When a vector cannot be read.
    ValueError
        When the vectors that are left differ in length.
    """
    table = _without_emptied(table, later)
    rows = vector_table(place, later, table.version)
    if not len(table.ids) or not len(rows.ids):
        return rows if len(rows.ids) else replace(table)
    places = np.searchsorted(table.ids, rows.ids)
    known = table.ids[np.minimum(places, len(table.ids) - 1)] == rows.ids
    if table.matrix.shape[1] != rows.matrix.shape[1]:
        if np.count_nonzero(known) == len(table.ids):
            return rows
        raise ValueError(
            f"vectors of {rows.matrix.shape[1]} numbers were written beside published "
            f"ones of {table.matrix.shape[1]}: delete them, or publish again"
        )
    matrix, event_us = table.matrix.copy(), table.event_us.copy()
    matrix[places[known]] = rows.matrix[known]
    event_us[places[known]] = rows.event_us[known]
    new = np.flatnonzero(~known)
    if not len(new):
        return VectorTable(table.keys, table.ids, matrix, event_us, table.version)
    keys = np.empty(len(table.keys), dtype=object)
    keys[:] = table.keys
    added = np.empty(len(new), dtype=object)
    added[:] = [rows.keys[row] for row in new]
    at = places[new]
    return VectorTable(
        np.insert(keys, at, added).tolist(),
        np.insert(table.ids, at, rows.ids[new]),
        np.insert(matrix, at, rows.matrix[new], axis=0),
        np.insert(event_us, at, rows.event_us[new]),
        table.version,
    )


def _without_emptied(
    table: VectorTable, later: Sequence[tuple[bytes, bytes, int]]
) -> VectorTable:
    """Leave out those whose later rows have no vector."""
    gone = {key for key, value, _ in later if not has_numbers(value)}
    if not gone:
        return table
    return table.take(np.flatnonzero([key not in gone for key in table.keys]))
