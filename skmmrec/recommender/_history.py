"""Who met what, as compressed rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


@dataclass(frozen=True)
class History:
    """Items of each user, oldest first, in compressed rows.

    Attributes
    ----------
    offsets : ndarray of shape (n_users + 1,), int64
        ``items[offsets[u]:offsets[u + 1]]`` belong to user ``u``.
    items : ndarray of shape (n_pairs,), int64
        Item positions.
    n_items : int
        Size of the catalogue.
    values : ndarray of shape (n_pairs, ...) or None
        What is known about each pair; what it means is up to the user of the class.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int64]
    n_items: int
    values: NDArray[np.float32] | None = None

    @classmethod
    def from_pairs(
        cls,
        users: NDArray,
        items: NDArray,
        n_users: int,
        n_items: int,
        values: NDArray | None = None,
    ) -> History:
        """Group (user, item) pairs by user, keeping their order within a user."""
        order = np.argsort(users, kind="stable")
        counts = np.bincount(users, minlength=n_users)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        values = None if values is None else values[order].astype(np.float32)
        return cls(offsets, items[order].astype(np.int64), n_items, values)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of items of each user."""
        return np.diff(self.offsets)

    @property
    def users(self) -> NDArray[np.int64]:
        """User of each entry of `items`."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def n_later(self) -> NDArray[np.int64]:
        """Number of later items of the same user, for each entry of `items`."""
        return self.offsets[1:][self.users] - 1 - np.arange(len(self.items))

    @property
    def liked(self) -> NDArray[np.bool_]:
        """Whether each entry of `items` is a like: without values, all of them are."""
        if self.values is None:
            return np.ones(len(self.items), bool)
        return self.values > 0

    @property
    def popularity(self) -> NDArray[np.int64]:
        """Number of users of each item."""
        return np.bincount(self.items, minlength=self.n_items)

    def of(self, user: int) -> NDArray[np.int64]:
        """Items of one user."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def take(self, users: NDArray) -> History:
        """History of some users, in the order given; -1 is a user without any."""
        known = users >= 0
        starts = np.where(known, self.offsets[users], 0)
        lengths = np.where(known, self.offsets[users + 1] - starts, 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        entries = np.repeat(starts, lengths) + within
        values = None if self.values is None else self.values[entries]
        return History(offsets, self.items[entries], self.n_items, values)

    def where(self, kept: NDArray[np.bool_]) -> History:
        """Keep the pairs marked in `kept`, of shape (n_pairs,), of every user."""
        before = np.concatenate([[0], np.cumsum(kept)])
        values = None if self.values is None else self.values[kept]
        return History(before[self.offsets], self.items[kept], self.n_items, values)

    def recency(self, half_life: float) -> NDArray[np.float64]:
        """Weights that halve with every `half_life` later items, 1 for the latest."""
        return 0.5 ** (self.n_later / half_life)

    def to_csr(self, dtype: type = np.float32) -> csr_array:
        """Matrix of shape (n_users, n_items) with a 1 for each pair."""
        data: NDArray = np.ones(len(self.items), dtype=dtype)
        return csr_array(
            (data, self.items, self.offsets), shape=(len(self.lengths), self.n_items)
        )
