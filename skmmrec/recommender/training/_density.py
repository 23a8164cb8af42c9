"""What follows from how many interactions items and users have: batches, negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice

# Interactions per item or user from which on batches are smaller and negatives spared.
# TikTok (9 per item) loses by both, MovieLens (31) gains (validation rows).
DENSE_PER_ITEM, DENSE_PER_USER = 12, 20
# Fewer than 30 steps an epoch train too little; more than 500 gain nothing.
MIN_BATCHES, MAX_BATCHES = 30, 500


class Density(NamedTuple):
    """How many interactions items and users have, on average over those with any."""

    per_item: float
    per_user: float

    @classmethod
    def of(cls, history: History) -> Density:
        """Count the interactions of a history."""
        n_pairs = len(history.items)
        return cls(
            n_pairs / max(1, int(np.count_nonzero(history.popularity))),
            n_pairs / max(1, int(np.count_nonzero(history.lengths))),
        )

    @property
    def is_dense(self) -> bool:
        """Whether items or users have many interactions."""
        return self.per_item >= DENSE_PER_ITEM or self.per_user >= DENSE_PER_USER

    @property
    def figures(self) -> Mapping[str, float]:
        """Return the numbers by their names."""
        return {"per item": self.per_item, "per user": self.per_user}


def choose_batch_size(density: Density, n_pairs: int) -> Choice:
    """Batch size for ``batch_size="auto"``.

    Dense data gets small batches, and so many steps. Small data gets at least
    `MIN_BATCHES` batches an epoch, and very large data at most `MAX_BATCHES`.
    """
    size = np.clip(n_pairs // MIN_BATCHES, 32, 512 if density.is_dense else 2048)
    return Choice(
        int(max(size, n_pairs // MAX_BATCHES)),
        "by how many interactions items and users have, and how many there are",
        {**density.figures, "in all": n_pairs},
    )


def choose_own_negatives(density: Density) -> Choice:
    """Whether drawn items may be others that the user likes, for "auto"."""
    return Choice(
        not density.is_dense,
        "by how many interactions items and users have",
        density.figures,
    )
