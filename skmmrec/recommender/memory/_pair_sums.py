"""Sums over pairs of items that users met shortly one after the other."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, triu

from skmmrec.interactions import History
from skmmrec.retrieval import cut_rows

# Likes whose windows are in memory at a time: 65 MB with windows of 20.
LIKES_AT_ONCE = 2**18


class PairSums(NamedTuple):
    """What the likes before each like have in common with it, and with one another.

    With a row for each like, `earlier` for the weights of those before it and `liked`
    for the like itself, these are parts of two products.

    Attributes
    ----------
    before : csr_array of shape (n_items, n_items), float64
        `earlier.T @ liked`: how much each item comes before each.
    beside : csr_array of shape (n_items, n_items), float64
        `earlier.T @ earlier`, of which the lower triangle is left out.
    likes : ndarray of shape (n_items,), float64
        Likes of each item.
    """

    before: csr_array
    beside: csr_array
    likes: NDArray[np.float64]

    @classmethod
    def of(cls, history: History, window: int, fades: float) -> Self:
        """Sum over the `window` likes before each like.

        After `fades` of them, they count half.
        """
        n_items = history.n_items
        before = beside = csr_array((n_items, n_items), dtype=np.float64)
        for part in cut_rows(history.lengths, LIKES_AT_ONCE):
            users = np.arange(part.start, part.stop)
            earlier, liked = _windows(history.take(users), window, fades)
            before = before + earlier.T @ liked
            beside = beside + triu(earlier.T @ earlier, format="csr")
        before.sort_indices()
        beside.sort_indices()
        likes = np.bincount(history.items, minlength=n_items).astype(np.float64)
        return cls(csr_array(before), csr_array(beside), likes)


def _windows(
    history: History, window: int, fades: float
) -> tuple[csr_array, csr_array]:
    """Weights of the likes before each like, and the like: (n_likes, n_items)."""
    n_likes, items = len(history.items), history.items
    place = np.arange(n_likes) - history.offsets[history.users]
    lags = np.arange(1, window + 1)
    rows, steps = np.nonzero(place[:, None] >= lags)
    weights = 0.5 ** ((lags - 1) / fades)
    shape = n_likes, history.n_items
    at = rows, items[rows - lags[steps]]
    earlier = csr_array((weights[steps], at), shape=shape)
    liked = csr_array((np.ones(n_likes), (np.arange(n_likes), items)), shape=shape)
    return earlier, liked
