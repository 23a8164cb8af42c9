"""What the items of a user's history say of others, from the lists that are stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from feast import FeatureView

from skmmrec.feature_store.backends.base import (
    MEMORY,
    MEMORY_WEIGHTS,
    NOTHING_ADDED,
    Added,
    Backend,
    Features,
    Id,
    Place,
    Snapshot,
    VectorTable,
    parsed,
    parsed_vectors,
)

from ._ranking import User, positions

# Lists in memory: 60 MB of 50 entries each. Whoever asks for more begins anew, which
# costs a read of the store for each. Not tuned.
KEPT = 100_000


class _Said(NamedTuple):
    """Rows of the items that one speaks for, and how strongly."""

    rows: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class StoredMemory:
    """The memory of items of one publication, read list by list as it is asked for.

    Parameters
    ----------
    backend : Backend
    view : feast.FeatureView
        The items' view.
    table : VectorTable
        All items, with which the lists are kept.
    snapshot : Snapshot
        Of a model that has a memory.
    """

    backend: Backend
    view: FeatureView
    table: VectorTable
    snapshot: Snapshot

    def know(self, users: Iterable[User]) -> None:
        """Read what the histories of some users need, at once."""
        self._know(item for user in users for item in user.liked)

    def of(self, user: User) -> Added:
        """Return what is added to the scores of a user."""
        return self.added(user.liked, user.history_size)

    def added(self, liked: Sequence[Id], n: int) -> Added:
        """Return what is added to the scores of whoever has liked some items.

        Parameters
        ----------
        liked : sequence of int or str
            Oldest first. Items that are not there any more say nothing.
        n : int
            Length of the history.
        """
        said = self._know(liked)
        entries = [list_ for list_ in said if len(list_.rows)]
        if not entries:
            return NOTHING_ADDED
        rows, places = np.unique(
            np.concatenate([list_.rows for list_ in entries]), return_inverse=True
        )
        weights = np.concatenate([list_.weights for list_ in entries])
        return Added(rows, self._scaled(np.bincount(places, weights), n))

    def split(self, liked: Sequence[Id], n: int, row: int) -> np.ndarray:
        """Return what each liked item adds to the score of one, (n_liked,), float64."""
        self._know(liked)
        sums = [self._says(item, row) for item in liked]
        return self._scaled(np.array(sums, np.float64), n)

    def _says(self, item: Id, row: int) -> float:
        """Return the weight of one item for another."""
        return sum(float(s.weights[s.rows == row].sum()) for s in self._know([item]))

    def _scaled(self, sums: np.ndarray, n: int) -> np.ndarray:
        """Divide by the length of the history; rounded as the recommender does."""
        exponent = self.snapshot.memory_exponent
        assert exponent is not None
        scaled = (sums * float(max(n, 1)) ** -exponent).astype(np.float32)
        return scaled.astype(np.float64)

    def _know(self, items: Iterable[Id]) -> list[_Said]:
        """Return the lists of items, read where they are not in memory."""
        rows = positions(self.table.ids, list(items)).tolist()
        kept: dict[int, _Said] = self.table.kept.setdefault(StoredMemory, {})
        found = {row: kept.get(row) for row in rows}
        absent = [row for row, said in found.items() if said is None]
        if absent:
            read = self._read(absent)
            found.update(read)
            if len(kept) + len(read) > KEPT:
                kept.clear()
            kept.update(read)
        return [said for row in rows if (said := found[row]) is not None]

    def _read(self, rows: list[int]) -> dict[int, _Said]:
        """Read lists from the store."""
        keys = [self.table.keys[row] for row in rows]
        names = [MEMORY, MEMORY_WEIGHTS]
        stored = self.backend.read(self.view, keys, names, self.snapshot)
        values = [stored.get(key, {}) for key in keys]
        parts = [self._parsed(*pair) for pair in zip(rows, values, strict=True)]
        return dict(zip(rows, self._placed(parts), strict=True))

    def _parsed(self, row: int, values: Features) -> tuple[list[Id], np.ndarray]:
        """Read ids and weights, of one length."""
        item = self.table.ids[row]
        place = Place.of(self.view, MEMORY)
        ids = parsed(place, item, values.get(MEMORY, b""), list) or []
        given = values.get(MEMORY_WEIGHTS, b"")
        if not ids and not given:
            return [], np.empty(0)
        weights = parsed_vectors(
            [given] if given else [],
            lambda _, why: Place.of(self.view, MEMORY_WEIGHTS).damaged(item, why),
        ).ravel()
        if len(ids) != len(weights):
            why = f"it has {len(ids)} items, and {len(weights)} weights"
            raise place.damaged(item, why)
        return ids, weights.astype(np.float64)

    def _placed(self, parts: list[tuple[list[Id], np.ndarray]]) -> list[_Said]:
        """Find the rows of all ids at once; those that are gone are left out."""
        table_ids = self.table.ids
        wanted = np.array([i for ids, _ in parts for i in ids], dtype=table_ids.dtype)
        rows = np.searchsorted(table_ids, wanted)
        rows[rows == len(table_ids)] = 0
        there = table_ids[rows] == wanted
        placed, start = list[_Said](), 0
        for ids, weights in parts:
            part = slice(start, start + len(ids))
            start, kept = part.stop, there[part]
            placed.append(_Said(rows[part][kept], weights[kept]))
        return placed
