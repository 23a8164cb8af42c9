"""Vectors in memory, read again when they change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from feast import FeatureView

from skmmrec.feature_store.backends.base import (
    DamagedStoreError,
    Place,
    RecentTables,
    Snapshot,
    VectorTable,
    chunks,
    give_way,
    sorted_keys,
    vector_table,
    with_later,
)

from ._packed import PACKED, unpack_rows
from ._tables import Tables, lost

# Pieces of some 50 kB in one go, of which Redis serves nobody else: 0.5 ms.
_PIECES = 10
# Publications in memory: the one that is served and the one before it, which readers
# that have begun may still hold.
_PUBLICATIONS = 2


class Vectors:
    """Tables of vectors: a publication's, and those with what was written since."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._published = RecentTables(_PUBLICATIONS)
        self._merged = RecentTables(_PUBLICATIONS)

    def get(
        self, view: FeatureView, feature: str, snapshot: Snapshot | None = None
    ) -> VectorTable:
        """Return the vectors of a publication (None: of the one that is served)."""
        chosen, changes = self._state(view.name, snapshot)
        source = _identity(view, feature, chosen)
        return self._merged.get(
            source, changes, lambda: self._merge(view, feature, chosen)
        )

    def _state(
        self, view: str, snapshot: Snapshot | None
    ) -> tuple[Snapshot | None, bytes | None]:
        """Return what is recorded by now, and the count of changes of a view."""
        names, server = self._tables.names, self._tables.server
        changes = ("HGET", names.changes, view)
        if snapshot is None:
            text, count = server.together([("GET", names.served), changes])
            return self._tables.parsed(text), count
        kept = ("HGET", names.publications, snapshot.number)
        text, count = server.together([kept, changes])
        now = self._tables.check_kept(snapshot, text)
        return replace(now, served_us=snapshot.served_us), count

    def _merge(
        self, view: FeatureView, feature: str, snapshot: Snapshot | None
    ) -> VectorTable:
        later = self._tables.later.cells(view.name, feature, snapshot)
        if snapshot is None:
            return vector_table(Place.of(view, feature), later, None)
        source = _identity(view, feature, snapshot)
        published = self._published.get(
            source, None, lambda: self._load(view, feature, snapshot)
        )
        return with_later(published, Place.of(view, feature), later)

    def _load(self, view: FeatureView, feature: str, snapshot: Snapshot) -> VectorTable:
        """Read a publication whole."""
        if (view.name, feature) != PACKED:
            return self._load_some(view, feature, snapshot)
        server, names = self._tables.server, self._tables.names
        table = self._unpack(view, snapshot)
        text = server("HGET", names.publications, snapshot.number)
        n = self._tables.check_kept(snapshot, text).counts.get(view.name)
        # Else something was deleted of it meanwhile.
        if not len(table.ids) == n == snapshot.counts.get(view.name):
            table = self._scan(view, feature, snapshot)
            text = server("HGET", names.publications, snapshot.number)
            n = self._tables.check_kept(snapshot, text).counts.get(
                view.name, len(table.ids)
            )
        if len(table.ids) < n:
            what = f"{n - len(table.ids)} of {n} vectors of {view.name}"
            raise lost(server, snapshot, what)
        return table

    def _load_some(
        self, view: FeatureView, feature: str, snapshot: Snapshot
    ) -> VectorTable:
        """Read vectors that not every entity needs to have."""
        table, server = self._scan(view, feature, snapshot), self._tables.server
        kept = server("HGET", self._tables.names.publications, snapshot.number)
        self._tables.check_kept(snapshot, kept)
        if not len(table.ids):
            self._tables.check_columns(view.name, [feature], [[]], snapshot)
        return table

    def _unpack(self, view: FeatureView, snapshot: Snapshot) -> VectorTable:
        """Read vectors by many, as long as nothing was deleted of them."""
        keys, blocks = list[bytes](), list[np.ndarray]()
        for found, matrix in packed_vectors(self._tables, snapshot):
            keys += found
            blocks.append(matrix)
            give_way()
        order, ids, keys = sorted_keys(view.join_keys[0], keys)
        joined = np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)
        times = np.full(len(keys), snapshot.served_us, np.int64)
        return VectorTable(keys, ids, joined[order], times, snapshot.version)

    def _scan(self, view: FeatureView, feature: str, snapshot: Snapshot) -> VectorTable:
        """Read vectors one by one."""
        names, found = self._tables.names, {}
        column = names.column(snapshot.number, view.name, feature)
        for page in self._tables.server.scan(column):
            found.update(page)
            give_way()
        rows = [(key, value, snapshot.served_us) for key, value in found.items()]
        return vector_table(Place.of(view, feature), rows, snapshot.version)


def packed_vectors(
    tables: Tables, snapshot: Snapshot
) -> Iterator[tuple[list[bytes], np.ndarray]]:
    """Read keys and vectors of the packed pieces of a publication.

    Raises DamagedStoreError when a piece is not what was packed.
    """
    try:
        yield from unpack_rows(packed_pieces(tables, snapshot))
    except ValueError as error:
        raise DamagedStoreError(
            f"Redis at {tables.server.place}: publication {snapshot.number} (version "
            f"{snapshot.version!r}) has a damaged copy of its item vectors: {error}; "
            "publish again, or serve another publication"
        ) from error


def packed_pieces(tables: Tables, snapshot: Snapshot) -> Iterator[tuple[int, bytes]]:
    """Read the packed vectors of a publication as `unpack_rows` takes them."""
    name = tables.names.packed(snapshot.number)
    firsts = sorted(map(int, tables.server("HKEYS", name)))
    for part in chunks(firsts, _PIECES):
        pieces = tables.server("HMGET", name, *part)
        yield from ((n, p) for n, p in zip(part, pieces, strict=True) if p)


def _identity(
    view: FeatureView, feature: str, snapshot: Snapshot | None
) -> tuple[object, ...]:
    """Tell rows of a publication from those before something was deleted of it."""
    if snapshot is None:
        return view.name, feature
    counted = snapshot.counts.get(view.name), snapshot.checksums.get(view.name)
    served = snapshot.number, snapshot.fingerprint, snapshot.served_us
    return view.name, feature, *served, *counted
