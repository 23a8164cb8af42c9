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

from ._fold_in import HistorySum
from ._ranking import User, rows_of_ids

# Lists in memory: 56 MB of 20 entries each, 79 MB of 50. Whoever asks for more begins
# anew, which costs a read of the store for each. Not tuned.
KEPT = 100_000


class _Said(NamedTuple):
    """Rows of the items that one speaks for, and how strongly."""

    rows: np.ndarray
    weights: np.ndarray


_NO_ROWS = np.empty(0, np.int32)
_NOTHING = _Said(_NO_ROWS, np.empty(0, np.float32))


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

        They are given oldest first; items that are not there any more say nothing. `n`
        is the length of the history.
        """
        said = self._know(liked)
        rows = np.concatenate([_NO_ROWS, *(each.rows for each in said)])
        if not len(rows):
            return NOTHING_ADDED
        left = self._sum.left(len(liked)).tolist()
        weights = [w * each.weights for w, each in zip(left, said, strict=True)]
        rows, places = np.unique(rows, return_inverse=True)
        sums = np.bincount(places, np.concatenate(weights))
        return Added(rows, self._scaled(sums, n))

    def split(self, liked: Sequence[Id], n: int, row: int) -> np.ndarray:
        """Return what each liked item adds to the score of one, (n_liked,), float64."""
        said = self._know(liked)
        sums = [float(each.weights[each.rows == row].sum()) for each in said]
        return self._scaled(self._sum.left(len(liked)) * np.array(sums), n)

    @property
    def _sum(self) -> HistorySum:
        exponent = self.snapshot.memory_exponent
        assert exponent is not None
        return HistorySum(exponent, self.snapshot.half_life)

    def _scaled(self, sums: np.ndarray, n: int) -> np.ndarray:
        """Divide by the length of the history; rounded as the recommender does."""
        scaled = (sums * self._sum.scale(n)).astype(np.float32)
        return scaled.astype(np.float64)

    def _know(self, items: Iterable[Id]) -> list[_Said]:
        """Return the lists of items, read where they are not in memory.

        Those of items that are not there are empty.
        """
        rows: list[int] = rows_of_ids(self.table.ids, list(items)).tolist()
        kept: dict[int, _Said] = self.table.kept.setdefault(StoredMemory, {})
        found = {row: kept.get(row) for row in rows}
        absent = [row for row, said in found.items() if said is None and row >= 0]
        if absent:
            read = self._read(absent)
            found.update(read)
            if len(kept) + len(read) > KEPT:
                kept.clear()
            kept.update(read)
        return [found[row] or _NOTHING for row in rows]

    def _read(self, rows: list[int]) -> dict[int, _Said]:
        """Read lists from the store."""
        keys = [self.table.keys[row] for row in rows]
        names = [MEMORY, MEMORY_WEIGHTS]
        stored = self.backend.read(self.view, keys, names, self.snapshot)
        values = [stored.get(key, {}) for key in keys]
        places = Place.of(self.view, MEMORY), Place.of(self.view, MEMORY_WEIGHTS)
        pairs = zip(rows, values, strict=True)
        parts = [self._parsed(*pair, places) for pair in pairs]
        return dict(zip(rows, self._placed(parts), strict=True))

    def _parsed(
        self, row: int, values: Features, places: tuple[Place, Place]
    ) -> tuple[list[Id], np.ndarray]:
        """Read ids and weights, of one length."""
        lists, numbers = places
        item, given = self.table.ids[row], values.get(MEMORY_WEIGHTS, b"")
        ids = parsed(lists, item, values.get(MEMORY, b""), list) or []
        weights = parsed_vectors(
            [given] if given else [], lambda _, why: numbers.damaged(item, why)
        ).ravel()
        if len(ids) != len(weights):
            why = f"it has {len(ids)} items, and {len(weights)} weights"
            raise lists.damaged(item, why)
        return ids, weights

    def _placed(self, parts: list[tuple[list[Id], np.ndarray]]) -> list[_Said]:
        """Find the rows of all ids at once; those that are gone are left out."""
        wanted = [item for ids, _ in parts for item in ids]
        rows = rows_of_ids(self.table.ids, wanted).astype(np.int32)
        there = rows >= 0
        placed, start = list[_Said](), 0
        for ids, weights in parts:
            part = slice(start, start + len(ids))
            start, kept = part.stop, there[part]
            placed.append(_Said(rows[part][kept], weights[kept]))
        return placed
