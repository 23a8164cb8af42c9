"""Find the relevant items in ranked lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import check_count, unmasked
from skmmrec.runtime import cached_property


@dataclass(frozen=True)
class Hits:
    """Relevant items among the first k of each user's list.

    Attributes
    ----------
    user : ndarray of shape (n_hits,)
        Row of the user, ascending.
    rank : ndarray of shape (n_hits,)
        Rank from 0, ascending within a user.
    n_relevant : ndarray of shape (n_users,)
        How many relevant items each user has.
    n_ranked : ndarray of shape (n_users,)
        How many items each list has, at most k.
    k : int
        Number of ranks that are judged.
    gain : ndarray of shape (n_hits,) or None
        Gain of each hit; None: all are 1.
    ideal : ndarray of shape (n_users,) or None
        Largest discounted gain that each user's first k items can have.
    """

    user: NDArray[np.int64]
    rank: NDArray[np.int64]
    n_relevant: NDArray[np.int64]
    n_ranked: NDArray[np.int64]
    k: int
    gain: NDArray[np.float64] | None = None
    ideal: NDArray[np.float64] | None = None

    def per_user(self, weights: NDArray | None = None) -> NDArray[np.float64]:
        """Sum weights over the hits of each user, or count the hits."""
        sums = np.bincount(self.user, weights, minlength=len(self.n_relevant))
        return sums.astype(np.float64)

    @cached_property
    def count(self) -> NDArray[np.float64]:
        """Number of hits of each user."""
        return self.per_user()

    @cached_property
    def ordinal(self) -> NDArray[np.int64]:
        """Number of hits of the same user before each hit."""
        first = np.cumsum(self.count).astype(np.int64) - self.count.astype(np.int64)
        return np.arange(len(self.user)) - first[self.user]

    def per_relevant(self, values: NDArray) -> NDArray[np.float64]:
        """Divide by the number of relevant items."""
        return values / np.maximum(self.n_relevant, 1)


def find_hits(
    relevance: ArrayLike,
    n_relevant: ArrayLike,
    k: int,
    n_ranked: ArrayLike | None = None,
) -> Hits:
    """Check ranked lists and find their hits.

    Parameters
    ----------
    relevance : array-like of shape (n_users, n_ranked)
        1 where the item at that rank (best first) is relevant, else 0.
    n_relevant : array-like of shape (n_users,)
        How many relevant items each user has, ranked or not.
    k : int
        Length of the list that is judged.
    n_ranked : array-like of shape (n_users,), default=None
        Length of each list, if shorter than the row of `relevance`.

    Returns
    -------
    Hits

    Raises
    ------
    ValueError
        If shapes disagree, `k` is below 1, an entry is neither 0 nor 1, or a list has
        more hits than there are relevant items.
    """
    check_count(k)
    table, totals = map(np.asarray, map(unmasked, (relevance, n_relevant)))
    if table.ndim != 2:
        raise ValueError(f"relevance must have 2 dimensions, got {table.ndim}")
    if totals.shape != table.shape[:1]:
        raise ValueError(
            f"n_relevant must have one entry per row of relevance ({len(table)}), "
            f"got shape {totals.shape}"
        )
    user, rank = find_marked(as_booleans(table[:, :k], "relevance"))
    length = np.full(len(table), table.shape[1])
    if n_ranked is not None:
        length = _as_counts(np.asarray(unmasked(n_ranked)), "n_ranked")
        if length.shape != table.shape[:1]:
            raise ValueError(
                f"n_ranked must have one entry per row of relevance ({len(table)}), "
                f"got shape {length.shape}"
            )
    counts = _as_counts(totals, "n_relevant")
    shown = np.minimum(length, min(k, np.iinfo(np.int64).max))
    hits = Hits(user, rank, counts, shown, int(k))
    impossible = np.flatnonzero(hits.count > hits.n_relevant)
    if len(impossible):
        row = impossible[0]
        raise ValueError(
            f"row {row} of relevance has {hits.count[row]:.0f} hits, but n_relevant is "
            f"{hits.n_relevant[row]}"
        )
    return hits


def find_marked(
    table: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of True entries, as ``np.nonzero`` does."""
    return np.divmod(np.flatnonzero(table), max(1, table.shape[1]))


def discounts(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the discount of each rank, which counts from 0: 1 / log2(rank + 2)."""
    return 1.0 / np.log2(ranks + 2)


def ideal_gains(
    user: NDArray[np.int64], gain: NDArray[np.float64], n_users: int, k: int
) -> NDArray[np.float64]:
    """Return the discounted gain of each user's k most relevant items.

    `user` is the row of the user of each relevant item, ascending, and `gain` what the
    item is worth. Returns a number for each user.
    """
    gain = gain[np.lexsort((-gain, user))]
    counts = np.bincount(user, minlength=n_users)
    rank = np.arange(len(user)) - (np.cumsum(counts) - counts)[user]
    top = rank < k
    weights = gain[top] * discounts(rank[top])
    return np.bincount(user[top], weights, minlength=n_users).astype(np.float64)


def as_booleans(table: NDArray, name: str) -> NDArray[np.bool_]:
    """Return a table of 0 and 1 as bool; anything else is an error that says `name`."""
    if table.dtype == bool:
        return table
    odd = np.argwhere((table != 0) & (table != 1))
    if len(odd):
        place = tuple(odd[0])
        raise ValueError(
            f"{name} must be 0 or 1, got {table[place]!r} in row {place[0]}"
        )
    return table.astype(bool)


def _as_counts(totals: NDArray, name: str) -> NDArray[np.int64]:
    if totals.dtype == object:  # None is NaN
        totals = totals.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of NaN, which is refused by name
        counts = totals.astype(np.int64)
    odd = np.flatnonzero((counts != totals) | (counts < 0))
    if len(odd):
        raise ValueError(
            f"{name} must be counts, got {totals[odd[0]]!r} in row {odd[0]}"
        )
    return counts
