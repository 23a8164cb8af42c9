"""What items say of others, learned from likes in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from skmmrec.interactions import History
from skmmrec.recommender.memory._item_memory import ItemMemory
from skmmrec.recommender.memory._pair_sums import PairSums
from skmmrec.recommender.memory._sparse_linear import Reconstruction, reconstruct

if TYPE_CHECKING:
    import torch

# Neighbours of each item, and penalty. On validation rows of dbbook and MovieLens 20
# are better than 50, and 30 better than 10 and 150 (benchmarks/README.md).
N_NEIGHBORS, L2 = 20, 30.0
# Powers of an item's precision that weights are multiplied by: 0 is EASE, 1 would be
# the inverse matrix itself. On validation rows 0 is best on MovieLens, 0.5 on dbbook
# (benchmarks/README.md).
POWERS = (0.0, 0.5)
# Of what comes next: how many likes before one are looked at, after how many of them
# they count half, the penalty, and how much a pair of one user counts at any distance
# (benchmarks/README.md).
WINDOW, FADES, NEXT_L2, TOGETHER = 20, 10.0, 100.0, 0.5
# What lists are divided by: the length of the history to this power.
EXPONENT = 0.5
# The most users, and scores, from which the spread of scores is estimated: 256 users
# give it to 1 or 2 %, which hardly changes a list; the scores take 80 MB.
SPREAD_USERS, SPREAD_SCORES = 256, 20_000_000
# The latest likes of a user, at most: all pairs of them are counted, so that the cost
# grows with the square of their number.
MAX_LIKES = 1000


@dataclass(frozen=True)
class MemoryOfLikes:
    """What items say of others, before it is known how much that is to count.

    Attributes
    ----------
    found : Reconstruction
        Each item from its neighbours.
    """

    found: Reconstruction

    @classmethod
    def learn(
        cls,
        history: History,
        ordered: bool = False,
        where: torch.device | None = None,
    ) -> Self:
        """Learn from who liked what.

        Each item is reconstructed, by ridge regression, from those that most often met
        the same users for how often they were met. Where histories are `ordered`, each
        like is reconstructed from those shortly before it, and a little from all of the
        same user. `where` is as in `reconstruct`.

        References
        ----------
        H. Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019; X.
        Ning and G. Karypis, "SLIM: sparse linear methods for top-N recommender
        systems", ICDM 2011 (from few neighbours); M. Choi, J. Kim, J. Lee, H. Shim and
        J. Lee, "Session-aware linear item-item models for session-based
        recommendation", WWW 2021 (what follows and what goes together, in one).
        """
        recent = history.where(history.n_later < MAX_LIKES)
        likes = recent.to_csr()
        if not ordered:
            return cls(reconstruct(likes, N_NEIGHBORS, L2, where))
        likes = likes * np.float32(TOGETHER**0.5)
        sums = PairSums.of(recent, WINDOW, FADES)
        return cls(reconstruct(likes, N_NEIGHBORS, NEXT_L2, where, sums))

    def weighed(self, power: float, half_life: float | None = None) -> ItemMemory:
        """Return lists whose weights are those for a power."""
        said = self.found.said(power)
        return ItemMemory.of_matrix(said, N_NEIGHBORS, EXPONENT, half_life)


def spread_users(n_items: int) -> int:
    """Tell how many users `in_units` may be given, of so many items."""
    return max(1, min(SPREAD_USERS, SPREAD_SCORES // max(1, n_items)))


def in_units(
    memory: ItemMemory,
    history: History,
    users: NDArray[np.float32],
    items: NDArray[np.float32],
    biases: NDArray[np.float32],
) -> ItemMemory:
    """Scale a memory so that what it adds has the spread of the scores by vectors.

    Parameters
    ----------
    memory : ItemMemory
        What is added.
    history : History
        Of n users.
    users, items : ndarray of shape (n, dim) and (n_items, dim)
        Vectors.
    biases : ndarray of shape (n_items,)
        Of the items. Those of minus infinity do not count: what new items are credited
        with is no spread of tastes.

    Returns
    -------
    ItemMemory
        Without any weight where there is no spread.
    """
    some = np.isfinite(biases)
    unit = _typical_spread(memory.scores(history).toarray()[:, some])
    spread = _typical_spread(users @ items[some].T + biases[some])
    return memory.times(spread / unit if unit else 0.0)


def _typical_spread(scores: NDArray) -> float:
    """Compute the standard deviation of users' scores over the items, on average."""
    return float(scores.std(axis=1, dtype=np.float64).mean()) if len(scores) else 0.0
