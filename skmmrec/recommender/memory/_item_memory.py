"""What items of a history say of others, kept as a short list for each item."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skmmrec.interactions import History, check_count
from skmmrec.retrieval import best_first, cut_rows, entries_at, entry_rows
from skmmrec.runtime import cached_property

# Entries of a product in memory at a time, at most: 0.5 GB while they are summed, and
# 12 bytes each afterwards.
ENTRIES_AT_ONCE = 2**24


@dataclass(frozen=True)
class ItemMemory:
    """Lists of the items whose scores an item of a history raises, or lowers.

    To the score of an item is added the sum of its weights in the lists of the n items
    of the user's history, over n to the power of `exponent`. With a half-life, the sum
    is weighted by `History.recency`, and n is the sum of the weights, or 1 where that
    is less: as users are sums of vectors.

    Attributes
    ----------
    neighbors : ndarray of shape (n_items, k), int32
        Positions of the items in the list of each item; -1 where it has fewer, after
        all others.
    weights : ndarray of shape (n_items, k), float32
        How strongly, in units of the score; 0 where there is no item.
    exponent : float
        Of the length of the history.
    half_life : float or None
        After how many later items one of a history counts half; None: all are alike.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.interactions import History
    >>> from skmmrec.recommender.memory import ItemMemory
    >>> lists = np.array([[1, 2], [0, -1], [-1, -1]], np.int32)
    >>> memory = ItemMemory(lists, np.array([[2, 1], [3, 0], [0, 0]], np.float32), 0.5)
    >>> history = History(np.array([0, 1]), np.array([0]), 3)
    >>> memory.scores(history).toarray()
    array([[0., 2., 1.]], dtype=float32)
    """

    neighbors: NDArray[np.int32]
    weights: NDArray[np.float32]
    exponent: float = 0.5
    half_life: float | None = None

    @classmethod
    def of_matrix(
        cls,
        matrix: csr_array,
        k: int,
        exponent: float = 0.5,
        half_life: float | None = None,
    ) -> ItemMemory:
        """Keep the `k` strongest entries of each row of (n_items, n_items) weights."""
        check_count(k)
        n_items, matrix = matrix.shape[0], matrix.sorted_indices()
        rows, order = entry_rows(matrix), best_first(abs(matrix))
        places = np.arange(len(order)) - matrix.indptr[rows]
        kept = (places < k) & (matrix.data[order] != 0)
        order, places, rows = order[kept], places[kept], rows[kept]
        width = int(places.max(initial=-1)) + 1
        neighbors = np.full((n_items, width), -1, np.int32)
        weights = np.zeros((n_items, width), np.float32)
        neighbors[rows, places] = matrix.indices[order]
        weights[rows, places] = matrix.data[order]
        return cls(neighbors, weights, exponent, half_life)

    def __len__(self) -> int:
        return len(self.neighbors)

    @cached_property
    def matrix(self) -> csr_array:
        """Weights of shape (n_items, n_items), float64, as sums are made of them."""
        there = self.neighbors >= 0
        offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        entries = self.weights[there].astype(np.float64), self.neighbors[there]
        matrix = csr_array((*entries, offsets), shape=(len(self), len(self)))
        matrix.sort_indices()
        return matrix

    def scores(
        self, history: History, among: NDArray[np.bool_] | None = None
    ) -> csr_array:
        """Compute what is added to the scores of users with these histories.

        Parameters
        ----------
        history : History
            Of n users.
        among : ndarray of shape (n_items,), bool, or None
            Items that are asked for, numbered anew; None: all.

        Returns
        -------
        csr_array of shape (n, n_items), float32
            Only the items of which anything is said; columns ascending.
        """
        scores = self.unsorted_scores(history, among)
        scores.sort_indices()
        return scores

    def unsorted_scores(
        self, history: History, among: NDArray[np.bool_] | None = None
    ) -> csr_array:
        """As `scores`, with columns in any order, which takes a third of the time."""
        said, speakers = self.matrix, history.items
        if among is not None:
            # A few histories need a few lists; to cut all would take longer than to
            # sum.
            some, speakers = np.unique(speakers, return_inverse=True)
            said = csr_array(said[some][:, np.flatnonzero(among)])
        # Sums run in the order of the history, so that they do not depend on the batch.
        shape = len(history.lengths), said.shape[0]
        counted = csr_array((self._counts(history), speakers, history.offsets), shape)
        sums = csr_array(counted @ said)
        values = sums.data * self._scale(history)[entry_rows(sums)]
        places = sums.indices, sums.indptr
        return csr_array((values.astype(np.float32), *places), shape=sums.shape)

    def pairs(self, history: History, users: NDArray, items: NDArray) -> NDArray:
        """Compute what is added to the scores of pairs.

        Parameters
        ----------
        history : History
            Of the users.
        users, items : ndarray of shape (n,)
            Positions in the history, and of items; -1 is not known.

        Returns
        -------
        ndarray of shape (n,), float32
            As in `scores`.
        """
        values = np.zeros(len(users), np.float32)
        known = np.flatnonzero((users >= 0) & (items >= 0))
        order = known[np.argsort(users[known], kind="stable")]
        some, rows = np.unique(users[order], return_inverse=True)
        for part in self.blocks(history.lengths[some]):
            scores = self.scores(history.take(some[part]))
            asked = slice(*np.searchsorted(rows, [part.start, part.stop]))
            places = rows[asked] - part.start, items[order[asked]]
            values[order[asked]] = entries_at(scores, *places)
        return values

    def parts(self, history: History, items: NDArray) -> NDArray[np.float64]:
        """Tell what each entry of some histories adds to a score.

        Parameters
        ----------
        history : History
            Of n users.
        items : ndarray of shape (n,)
            Position of the item that is scored for each of them.

        Returns
        -------
        ndarray of shape (n_pairs,), float64
            In the order of the history's entries.
        """
        users = history.users
        weights = entries_at(self.matrix, history.items, items[users])
        return weights * self._counts(history) * self._scale(history)[users]

    def _counts(self, history: History) -> NDArray[np.float64]:
        """Tell how much each entry of a history counts."""
        if self.half_life is None:
            return np.ones(len(history.items))
        return history.recency(self.half_life)

    def _scale(self, history: History) -> NDArray[np.float64]:
        n_users = len(history.lengths)
        sizes = np.bincount(history.users, self._counts(history), n_users)
        scale: NDArray = np.maximum(sizes, 1.0) ** -float(self.exponent)
        return scale

    def blocks(self, lengths: NDArray) -> list[slice]:
        """Cut users with histories of these lengths so that products stay small."""
        return cut_rows(lengths * max(1, self.neighbors.shape[1]), ENTRIES_AT_ONCE)

    def times(self, factor: float) -> ItemMemory:
        """Return lists whose weights are so many times as large."""
        return replace(self, weights=self.weights * np.float32(factor))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is only kept to be quick."""
        now = dict(vars(self))  # another thread may add it meanwhile
        return {name: v for name, v in now.items() if name != "matrix"}

    def append(self, n_items: int) -> ItemMemory:
        """Append items that say nothing, and of which nothing is said."""
        shape = (n_items, self.neighbors.shape[1])
        neighbors = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        return replace(
            self,
            neighbors=np.concatenate([self.neighbors, neighbors[0]]),
            weights=np.concatenate([self.weights, neighbors[1]]),
        )

    def keep(self, kept: NDArray[np.bool_]) -> ItemMemory:
        """Keep the items marked in `kept`, of shape (n_items,), numbered anew.

        Those who go leave the lists of the others, too.
        """
        neighbors, weights = self.neighbors[kept], self.weights[kept]
        there = (neighbors >= 0) & kept[neighbors]
        width = int(there.sum(axis=1).max(initial=0))
        order = np.argsort(~there, axis=1, kind="stable")[:, :width]
        places = (np.cumsum(kept) - 1).astype(np.int32)
        neighbors = np.where(there, places[neighbors], np.int32(-1))
        weights = np.where(there, weights, np.float32(0))
        return replace(
            self,
            neighbors=np.take_along_axis(neighbors, order, axis=1),
            weights=np.take_along_axis(weights, order, axis=1),
        )
