"""How fast a like stops predicting what the user will like next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice
from skmmrec.recommender.network import Array
from skmmrec.recommender.training import HeldOut, judge_held_out
from skmmrec.runtime import progress

# Each about 1.6 times the one before: finer steps are not told apart by 1,000 users.
HALF_LIVES = (2.0, 3.0, 5.0, 10.0, 20.0, 50.0, None)
# Standard errors of gain that it takes to forget. On steady taste, one of them chose to
# forget in 71 of 160 fits, two in 1 (generated data, tests/recommender/cold_start).
CLEAR = 2.0
# The latest fifth of a history, as the benchmarks split it, ranked in lists of 20.
SHARE, LENGTH = 0.2, 20
# Fewer than 20 users tell nothing; 1,000 users, or 20 million scores, take a second.
MIN_USERS, MAX_USERS, MAX_SCORES = 20, 1000, 20_000_000


def learn_half_life(
    history: History,
    users_of: Callable[[HeldOut, float | None], Array],
    items: Array,
    biases: Array,
) -> Choice:
    """Choose the half-life with which earlier likes predict the latest ones best.

    Forgetting costs much where it is wrong, so a gain of two standard errors is asked
    for. Among the half-lives within one standard error of the best, the longest is
    chosen [1]_.

    Parameters
    ----------
    history : History
        Oldest first; values, if any, are above 0 for likes.
    users_of : callable
        Makes the vectors of held-out users, given a half-life.
    items, biases : array of shape (n_items, dim) and (n_items,)
        Vectors and biases of the items; on an accelerator, where the users must be too,
        they are judged there.

    Returns
    -------
    Choice
        In later items; None: all items count the same, as where nothing is gained or
        fewer than 20 users have five items. Its figures are NDCG@20 by half-life.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and
       regression trees", 1984 (the rule of one standard error).
    """
    held = hide_latest(history)
    if len(held.users) < MIN_USERS:
        few = {"users": len(held.users)}
        return Choice(None, f"fewer than {MIN_USERS} users have five likes", few)
    gains = np.array(
        [
            judge_held_out("ndcg", LENGTH, users_of(held, half), items, biases, held)
            for half in progress(HALF_LIVES, "choose half-life", unit="try")
        ]
    )
    behind = gains[gains.mean(axis=1).argmax()] - gains
    errors = behind.std(axis=1) / np.sqrt(len(held.users))
    errors[HALF_LIVES.index(None)] *= CLEAR
    best = HALF_LIVES[np.flatnonzero(behind.mean(axis=1) <= errors)[-1]]
    names = ["none" if half is None else f"{half:g}" for half in HALF_LIVES]
    return Choice(
        best,
        f"NDCG@{LENGTH} of the latest likes of {len(held.users):,} users, by half-life",
        dict(zip(names, gains.mean(axis=1).tolist(), strict=True)),
    )


def hide_latest(history: History) -> HeldOut:
    """Hide the likes in the latest fifth of the histories of some users."""
    rng = np.random.RandomState(0)
    late = history.n_later < (SHARE * history.lengths).astype(int)[history.users]
    late_likes = late & history.liked
    counts = np.bincount(history.users[late_likes], minlength=len(history.lengths))
    most = min(MAX_USERS, max(MIN_USERS, MAX_SCORES // max(1, history.n_items)))
    users = np.sort(rng.permutation(np.flatnonzero(counts))[:most])
    known, hidden = history.where(~late), history.where(late_likes)
    return HeldOut(users, known.take(users), hidden.take(users))
