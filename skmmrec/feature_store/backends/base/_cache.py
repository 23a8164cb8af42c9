"""Item vectors of an engine that cannot search itself, kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from feast import FeatureView

from ._encoding import has_numbers, key_ids, unpack_vectors
from ._search import VectorTable


class CachedVectors:
    """Item vectors in memory, read again when a stamp says that they have changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[tuple[str, ...], tuple[object, VectorTable]] = {}

    def get(
        self,
        view: FeatureView,
        feature: str,
        version: str,
        stamp: Callable[[], object],
        load: Callable[[FeatureView, str, str], tuple[object, VectorTable]],
    ) -> VectorTable:
        """Return the table of a feature.

        Parameters
        ----------
        view : feast.FeatureView
        feature, version : str
            Names of the vectors and of the model version beside each.
        stamp : callable
            Tells the state of the store: with any other one, the table is read again.
        load : callable
            Reads the table of ``(view, feature, version)``; returns the stamp that it
            was read under, too.
        """
        source, current = (view.name, feature, version), stamp()
        found = self._tables.get(source)
        if found is None or found[0] != current:
            with self._lock:
                found = self._tables.get(source)
                if found is None or found[0] != current:
                    found = self._tables[source] = load(view, feature, version)
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
