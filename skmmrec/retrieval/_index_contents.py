"""What an approximate index holds. It never changes: additions make another one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from skmmrec.retrieval._inverted_lists import Centres, Shard
from skmmrec.retrieval._vector_rows import Rows
from skmmrec.runtime import cached_property

# While the last shard is smaller, it is built anew with what is added, so that many
# small additions make no more shards than a large one. That takes 30 ms at this size.
SMALL_SHARD = 10_000


@dataclass(frozen=True)
class Contents:
    """Items by key, which counts them in the order in which they came.

    Attributes
    ----------
    centres : Centres
    shards : tuple of Shard
        Of the items in the order of their keys.
    rows : Rows of n_keys rows
        Vectors by key.
    hashes : ndarray of shape (n_keys,), uint64
        Of each row.
    places : ndarray of shape (n_keys,), int64, or None
        Position of each key among the items; -1 where it was removed. None: the same.
    """

    centres: Centres
    shards: tuple[Shard, ...]
    rows: Rows
    hashes: NDArray[np.uint64] = field(repr=False)
    places: NDArray[np.int64] | None = field(default=None, repr=False)

    @cached_property
    def keys(self) -> NDArray[np.int64]:
        """Key at each position."""
        if self.places is None:
            return np.arange(len(self.hashes))
        there = np.flatnonzero(self.places >= 0)
        return there[np.argsort(self.places[there])]

    def __len__(self) -> int:
        return len(self.hashes) if self.places is None else len(self.keys)

    def find(
        self, queries: NDArray[np.float32], count: int, n_probes: int, n_threads: int
    ) -> NDArray[np.int64]:
        """Find about the best items in the lists nearest to each query.

        Returns positions, (n, count), ascending; -1, which come first, where there are
        fewer.
        """
        wide, lists = self.centres.lists_of(queries, n_probes, n_threads)
        keys = np.empty((len(queries), 0), np.int64)
        scores, start = np.empty((len(queries), 0), np.float32), 0
        for shard in self.shards:
            own, values = shard.search(wide, min(count, len(shard)), lists, n_threads)
            keys = np.hstack([keys, np.where(own >= 0, own + start, -1)])
            scores = np.hstack([scores, np.where(own >= 0, values, -np.inf)])
            keys, scores = _greatest(keys, scores, count)
            start += len(shard)
        found = np.full((len(queries), count), -1, np.int64)
        found[:, : keys.shape[1]] = self._positions(keys)
        found.sort(axis=1)
        return found

    def _positions(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.places is None:
            return keys
        return np.where(keys >= 0, self.places[keys], -1)

    def vectors_at(self, positions: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        """Vectors of items; those of a slice are not copied where they need not be."""
        if not isinstance(positions, slice):
            keys = positions if self.places is None else self.keys[positions]
            return self.rows.take(keys)
        if self.places is None and len(self.rows.parts) == 1:
            return np.ascontiguousarray(self.rows.parts[0][positions], np.float32)
        return self.rows.take(self.keys[positions])

    def with_more(self, vectors: NDArray[np.float32], hashes: NDArray) -> Self:
        """Add items behind the others."""
        last = self.shards[-1]
        shards, parts, new = self.shards, self.rows.parts, vectors
        if len(shards) > 1 and len(parts) > 1 and len(last) < SMALL_SHARD:
            shards, parts = shards[:-1], parts[:-1]
            new = np.concatenate([self.rows.parts[-1], vectors])
        places = self.places
        if places is not None:
            more = np.arange(len(self), len(self) + len(vectors))
            places = np.concatenate([places, more])
        return replace(
            self,
            shards=(*shards, self.centres.shard(new, 1)),
            rows=Rows((*parts, new)),
            hashes=np.concatenate([self.hashes, hashes]),
            places=places,
        )

    def in_order(self, keys: NDArray[np.int64]) -> Self:
        """Keep the items of these keys, in this order."""
        if len(keys) == len(self.hashes) and (keys == np.arange(len(keys))).all():
            return replace(self, places=None)
        places = np.full(len(self.hashes), -1, np.int64)
        places[keys] = np.arange(len(keys))
        return replace(self, places=places)


def _greatest(
    keys: NDArray[np.int64], scores: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Keep the keys of the greatest scores in each row."""
    if keys.shape[1] <= count:
        return keys, scores
    kept = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return np.take_along_axis(keys, kept, 1), np.take_along_axis(scores, kept, 1)
