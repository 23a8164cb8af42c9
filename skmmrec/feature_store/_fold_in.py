"""Move a user's vector by one item, without training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skmmrec.recommender import StoredVectors

from ._memory_columns import checked_number
from ._types import Vectors

# Relative to the largest number in user vectors. The rounding of float32 sums, those of
# `record` too, is far smaller. No measurement chose this number.
_TOLERANCE = 1e-3


class Told(NamedTuple):
    """How users are sums of their histories, see `HistorySum`; None: it is not said."""

    exponent: float | None
    half_life: float | None


def told_of_histories(vectors: Vectors | StoredVectors) -> Told:
    """Return what vectors say of histories.

    A ValueError says what of it is no number, or no half-life.
    """
    exponent = getattr(vectors, "history_exponent", None)
    half_life = getattr(vectors, "history_half_life", None)
    if exponent is not None:
        exponent = checked_number(exponent, "history_exponent")
    if half_life is not None:
        half_life = checked_number(half_life, "history_half_life")
        if half_life <= 0:
            raise ValueError(f"history_half_life must be above 0, got {half_life}")
    return Told(exponent, half_life)


def is_sum(vectors: np.ndarray, predicted: np.ndarray) -> bool:
    """Tell whether vectors of users are what sums of their items' vectors predict."""
    # The tolerance stays above 0 where all vectors are 0.
    scale = _TOLERANCE * max(float(np.abs(vectors).max(initial=0)), 1e-12)
    return np.allclose(vectors, predicted, 0, scale)


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
