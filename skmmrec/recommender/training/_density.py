"""What follows from how many interactions items and users have: batches, negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice

# Interactions per item, and per user, up to which data counts as sparse, and from which
# on as dense; in between, what follows changes gradually, by their logarithm. TikTok
# (9.53 an item) loses 4 % half way and 9 % as dense data, dbbook (12.5) loses 3 % with
# batches of 1,024 and 9 % as sparse data (NDCG@20, validation rows). With 9.5 for 9.6,
# TikTok spared 1.3 % of the likes, which tells nothing and took 4 % of its fit.
SPARSE, DENSE = (9.6, 15.0), (12.5, 20.0)
# Interactions a step: of sparse data, and of dense data, which gets more steps.
LARGE, SMALL = 2048, 512
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
    def level(self) -> float:
        """From 0, items and users have few interactions, to 1, either has many."""
        sparse, dense = np.log(SPARSE), np.log(DENSE)
        numbers = np.log(np.maximum(self, 1e-9))
        return float(np.clip((numbers - sparse) / (dense - sparse), 0, 1).max())

    @property
    def figures(self) -> Mapping[str, float]:
        """Return the numbers by their names."""
        return {"per item": self.per_item, "per user": self.per_user}


def choose_batch_size(density: Density, n_pairs: int) -> Choice:
    """Batch size for ``batch_size="auto"``.

    Dense data gets small batches, and so many steps. Small data gets at least
    `MIN_BATCHES` batches an epoch, and very large data at most `MAX_BATCHES`.
    """
    size = round(LARGE * (SMALL / LARGE) ** density.level)
    size = np.clip(n_pairs // MIN_BATCHES, 32, size)
    return Choice(
        int(max(size, n_pairs // MAX_BATCHES)),
        "by how many interactions items and users have on average, and in all",
        {**density.figures, "in all": n_pairs},
    )


def choose_own_negatives(density: Density) -> Choice:
    """Share of what a user likes that is left among the negatives, for "auto"."""
    return Choice(
        1 - density.level,
        "by how many interactions items and users have on average",
        density.figures,
    )
