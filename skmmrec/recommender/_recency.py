"""How fast what a user liked stops telling what the user will like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skmmrec.recommender._history import History
from skmmrec.recommender._validation import HeldOut, judge_held_out

HALF_LIVES = (2.0, 3.0, 5.0, 10.0, 20.0, 50.0, None)
CLEAR = 2.0
SHARE, LENGTH = 0.2, 20
MIN_USERS, MAX_USERS, MAX_SCORES = 20, 1000, 20_000_000


def learn_half_life(
    history: History,
    users_of: Callable[[HeldOut, float | None], NDArray],
    items: NDArray,
    biases: NDArray,
) -> float | None:
    """Choose the half-life that lets earlier likes predict the latest best.

    There has to be a gain of two standard errors: to forget what users liked costs
    much where it is wrong. Of the half-lives that are within one standard error of the
    best, the longest is chosen [1]_.

    Parameters
    ----------
    history : History
        Oldest first; values, if any, are above 0 for likes.
    users_of : callable
        Makes vectors of held-out users from what is known of them and a half-life.
    items, biases : ndarray of shape (n_items, dim) and (n_items,)
        What users are multiplied by, and what is added.

    Returns
    -------
    float or None
        In later items; None: all items count the same, as where nothing is gained or
        fewer than 20 users have five items.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and
       regression trees", 1984 (the rule of one standard error).
    """
    held = hide_latest(history)
    if len(held.users) < MIN_USERS:
        return None
    gains = np.array(
        [
            judge_held_out("ndcg", LENGTH, users_of(held, half), items, biases, held)
            for half in HALF_LIVES
        ]
    )
    behind = gains[gains.mean(axis=1).argmax()] - gains
    errors = behind.std(axis=1) / np.sqrt(len(held.users))
    errors[HALF_LIVES.index(None)] *= CLEAR
    return HALF_LIVES[np.flatnonzero(behind.mean(axis=1) <= errors)[-1]]


def hide_latest(history: History) -> HeldOut:
    """Hide the latest fifth of the histories of some users, but for dislikes."""
    rng = np.random.RandomState(0)
    late = history.n_later < (SHARE * history.lengths).astype(int)[history.users]
    late_likes = late & history.liked
    counts = np.bincount(history.users[late_likes], minlength=len(history.lengths))
    most = min(MAX_USERS, max(MIN_USERS, MAX_SCORES // max(1, history.n_items)))
    users = np.sort(rng.permutation(np.flatnonzero(counts))[:most])
    known, hidden = history.where(~late), history.where(late_likes)
    return HeldOut(users, known.take(users), hidden.take(users))
