"""Vectors of an engine that cannot search itself, kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from ._encoding import has_numbers, key_ids, unpack_vectors
from ._search import VectorTable

# View or table of Feast's, feature, and what tells one state of the rows from others.
_Source = tuple[object, ...]


class RecentTables:
    """The tables of each feature that were made last, each by one thread.

    Parameters
    ----------
    size : int
        How many of a feature are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._tables: dict[_Source, tuple[object, VectorTable]] = {}

    def get(
        self, source: _Source, stamp: object, make: Callable[[], VectorTable]
    ) -> VectorTable:
        """Return what `make` gave for a source, made anew under another stamp."""
        found = self._tables.get(source)
        if found is None or found[0] != stamp:
            with self._lock:
                found = self._tables.get(source)
                if found is None or found[0] != stamp:
                    found = stamp, make()
                    same = [s for s in self._tables if s[:2] == source[:2]]
                    gone = [s for s in same if s != source][: 1 - self._size]
                    kept = {s: t for s, t in self._tables.items() if s not in gone}
                    self._tables = {**kept, source: found}
        return found[1]


def vector_table(
    join_key: str, rows: Sequence[tuple[bytes, bytes, int]], version: str | None
) -> VectorTable:
    """Build a table from rows of key, vector and event time, sorted by id.

    Entities whose vector is null or empty are left out.
    """
    rows = [row for row in rows if has_numbers(row[1])]
    keys = [row[0] for row in rows]
    matrix = unpack_vectors([row[1] for row in rows])
    times = np.array([row[2] for row in rows], np.int64)
    table = VectorTable(keys, key_ids(join_key, keys), matrix, times, version)
    return table.take(np.argsort(table.ids, kind="stable"))


def without_emptied(
    table: VectorTable, later: Sequence[tuple[bytes, bytes, int]]
) -> VectorTable:
    """Leave out those whose later rows have no vector."""
    gone = {key for key, value, _ in later if not has_numbers(value)}
    if not gone:
        return table
    return table.take(np.flatnonzero([key not in gone for key in table.keys]))
