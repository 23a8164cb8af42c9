"""How fast likes are to be forgotten, by likes that a trial holds out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice
from skmmrec.recommender.memory import MemoryOfLikes
from skmmrec.recommender.network import FusionNetwork
from skmmrec.recommender.training._held_likes import MAX_LISTS, MIN_LISTS, each_next
from skmmrec.recommender.training._likes_judge import LENGTH, LikesJudge
from skmmrec.recommender.training._problem import Examples, Problem
from skmmrec.recommender.training._validation import HeldOut
from skmmrec.runtime import progress

# Each about 1.6 to 2 times the one before: finer steps are not told apart by 4,000
# likes. With 0.5 the latest like counts three quarters of all; 0.3 gained nothing more.
HALF_LIVES = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, None)
# Standard errors of gain that it takes to forget. On steady taste, one of them chose to
# forget in 71 of 160 fits, two in 1 (generated data, tests/recommender/cold_start).
CLEAR = 2.0
# Of the memory beside the vectors. A network of two to four epochs alone asks for too
# much forgetting, a memory alone for too little; with 0.2 and 0.4 they choose together
# what is best after the fit (benchmarks/README.md).
MEMORY_WEIGHT = 0.2


def choose_half_life(
    network: FusionNetwork,
    hidden: Examples,
    left: History,
    problem: Problem,
    memory: MemoryOfLikes,
) -> Choice:
    """Choose the half-life with which earlier likes tell best what was liked next.

    Each of the likes that a trial has held out is ranked by those of the same user that
    came before it. They are ranked as by a model: by the vectors of the trial's network
    and a memory of what the trial has seen. Neither knows the likes that are ranked.
    What a network has learned by heart needs less forgetting.

    The network is that of the trial; `hidden` was held out of it, and `left` is what it
    has seen, oldest first.

    Returns
    -------
    Choice
        In later items; None: that forgetting helps is not clear. Its figures are the
        NDCG@20 with what was chosen and without forgetting.
    """
    held = each_next(hidden, left, MAX_LISTS)
    if len(held.users) < MIN_LISTS:
        few = {"likes": len(held.users)}
        return Choice(None, "too few likes are held out of a trial", few)
    gains = _judged(network, problem, held, memory)
    place = int(np.flatnonzero(near_best(gains, held.users))[-1])
    return Choice(
        HALF_LIVES[place],
        f"by NDCG@{LENGTH} of likes held out of a trial, each ranked by those before "
        "it, with it and without",
        {"next": gains[place].mean(), "next without": gains[-1].mean()},
    )


def near_best(
    gains: NDArray[np.float64],
    owners: NDArray[np.int64],
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Tell which half-lives are about as good as the best of those allowed.

    They are behind it by one standard error at most [1]_, or by two where nothing is
    forgotten: forgetting costs much where it is wrong. Errors are those of users, as
    the likes of one go together.

    Parameters
    ----------
    gains : ndarray of shape (n_half_lives, n_lists), float64
        NDCG of each list; the last half-life is None.
    owners : ndarray of shape (n_lists,), int64
        User of each list; those of one user come together.
    allowed : ndarray of shape (n_half_lives,), bool, optional
        Those that are compared; by default all.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and
       regression trees", 1984 (the rule of one standard error).
    """
    if allowed is None:
        allowed = np.ones(len(gains), bool)
    best = np.where(allowed, gains.mean(axis=1), -np.inf).argmax()
    behind = gains[best] - gains
    means = behind.mean(axis=1)
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    of_users = np.add.reduceat(behind - means[:, None], starts, axis=1)
    errors = np.sqrt((of_users**2).sum(axis=1)) / len(owners)
    errors[-1] *= CLEAR
    return allowed & (means <= errors)


def _judged(
    network: FusionNetwork, problem: Problem, held: HeldOut, memory: MemoryOfLikes
) -> NDArray[np.float64]:
    """NDCG of each held-out like by half-life: (n_half_lives, n_likes)."""
    judge = LikesJudge.of(network, problem, held)
    gains = []
    for half_life in progress(HALF_LIVES, "choose half-life", unit="try"):
        judge = judge.forgetting(network, problem, half_life)
        said = judge.said(judge.in_units(memory.weighed(0.0, half_life)))
        gains.append(judge.ndcg(said, MEMORY_WEIGHT))
    return np.stack(gains)
