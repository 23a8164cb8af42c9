"""Move a user's vector by one item, without training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from skmmrec.feature_store.backends.base import (
    Batch,
    Id,
    Rows,
)

from ._ids import places_in

# Exponents are round numbers (0.5, 1): four digits drop the rounding of float32.
_DIGITS = 4
# Relative to the largest number in user vectors. The rounding of float32 sums, those of
# `record` too, is far smaller. No measurement chose this number.
_TOLERANCE = 1e-3


def history_exponent(users: Rows, items: Rows) -> float | None:
    """Find e such that each user is the sum of n seen items' vectors over n to the e.

    The last column of `users` is 1 and multiplies the items' bias. Where the model does
    not say the exponent, it is looked for if both are in memory. Returns None where the
    users are not made that way.
    """
    if users.exponent is not None:
        return users.exponent
    if not (isinstance(users, Batch) and isinstance(items, Batch)):
        return None
    histories = _history_matrix(users.seen or [], items.ids)
    if histories is None or not np.all(users.matrix[:, -1] == 1):
        return None
    counts = np.diff(histories.indptr)
    rows = np.flatnonzero(counts)
    sums = (histories @ items.matrix[:, :-1].astype(np.float64))[rows]
    vectors, counts = users.matrix[rows, :-1], counts[rows]
    exponent = _estimate(sums, vectors, counts)
    predicted = sums / counts[:, None] ** exponent
    return exponent if is_sum(vectors, predicted) else None


def is_sum(vectors: np.ndarray, predicted: np.ndarray) -> bool:
    """Tell whether vectors of users are what sums of their items' vectors predict."""
    # The tolerance stays above 0 where all vectors are 0.
    scale = _TOLERANCE * max(float(np.abs(vectors).max(initial=0)), 1e-12)
    return np.allclose(vectors, predicted, 0, scale)


def _history_matrix(seen: list[list[Id]], item_ids: list[Id]) -> csr_array | None:
    """Return who saw what; None when a seen item has no vector."""
    columns, lengths = places_in(seen, item_ids)
    if not len(columns) or columns.min() < 0:
        return None
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    shape = (len(seen), len(item_ids))
    return csr_array((np.ones(len(columns)), columns, offsets), shape=shape)


def _estimate(sums: np.ndarray, vectors: np.ndarray, counts: np.ndarray) -> float:
    """Return the median exponent of users with two items or more (else 1)."""
    lengths = np.linalg.norm(sums, axis=1), np.linalg.norm(vectors, axis=1)
    usable = (counts > 1) & (lengths[0] > 0) & (lengths[1] > 0)
    if not usable.any():
        return 1.0
    ratios = np.log(lengths[0][usable] / lengths[1][usable]) / np.log(counts[usable])
    return round(float(np.median(ratios)), _DIGITS)


class HistorySum(NamedTuple):
    """Users as the sum of n items' vectors over n to the `exponent`.

    With a `half_life`, an item has half the weight after so many later ones, and n is
    the sum of the weights.
    """

    exponent: float
    half_life: float | None = None

    def user(self, vectors: np.ndarray) -> np.ndarray:
        """Make the user of items with these vectors (bias included), oldest first."""
        user = self.left(len(vectors)) @ vectors.astype(np.float64)
        return self._finish(user / self._count(len(vectors)) ** self.exponent)

    def weights(self, n_items: int) -> np.ndarray:
        """Return what each of n items, oldest first, is multiplied by in the sum."""
        return self.left(n_items) * self.scale(n_items)

    def scale(self, n_items: int) -> float:
        """Return what the sum over n items is multiplied by."""
        return float(self._count(max(n_items, 1)) ** -self.exponent)

    def left(self, n_items: int) -> np.ndarray:
        """Return how much of each of n items, oldest first, is left by its age."""
        left: np.ndarray = self._decay ** np.arange(n_items)[::-1]
        return left

    def add(self, user: np.ndarray, n_items: int, item: np.ndarray) -> np.ndarray:
        """Move the vector of a user with `n_items` by one more item."""
        total = item.astype(np.float64)
        if n_items:
            scale = self._decay * self._count(n_items) ** self.exponent
            total = total + scale * user
        return self._finish(total / self._count(n_items + 1) ** self.exponent)

    @property
    def _decay(self) -> float:
        return 1.0 if self.half_life is None else 0.5 ** (1 / self.half_life)

    def _count(self, n_items: int) -> float:
        if self._decay == 1:
            return float(n_items)
        return (1 - self._decay**n_items) / (1 - self._decay)

    @staticmethod
    def _finish(user: np.ndarray) -> np.ndarray:
        user[-1] = 1.0
        return user.astype(np.float32)
