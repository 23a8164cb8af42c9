"""How fast a like stops predicting what the user will like next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice
from skmmrec.recommender.network import Array
from skmmrec.recommender.training import (
    HALF_LIVES,
    HeldOut,
    judge_held_out,
    most_lists,
    near_best,
)
from skmmrec.runtime import progress

# The latest fifth of a history, as the benchmarks split it, ranked in lists of 20.
SHARE, LENGTH = 0.2, 20
# Fewer users tell nothing.
MIN_USERS = 20


def learn_half_life(
    history: History,
    users_of: Callable[[HeldOut, float | None], Array],
    items: Array,
    biases: Array,
) -> Choice:
    """Choose the half-life with which earlier likes predict later ones best.

    Asked are two things: which likes are in the latest fifth of a history, and, of each
    like in there, whether it comes next, after all before it. The first decides, as far
    as it can tell half-lives apart; among those that it cannot, the second does.
    Sessions show in the second alone.

    The network has learned these likes by heart, which asks for less forgetting than
    what a trial holds out does: where there is a trial, it is asked first. Of the
    half-lives that are about as good as the best, the longest is chosen.

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
        fewer than 20 users have five items. Its figures are NDCG@20 of both questions
        with what was chosen and without forgetting.
    """
    held = hide_latest(history)
    if len(held.users) < MIN_USERS:
        few = {"users": len(held.users)}
        return Choice(None, f"fewer than {MIN_USERS} users have five likes", few)
    asked = {"latest": held, "next": hide_next(history, held.users)}
    allowed, gains = np.ones(len(HALF_LIVES), bool), {}
    for name, part in asked.items():
        gains[name] = _judge(part, users_of, items, biases, allowed)
        allowed &= near_best(gains[name], np.arange(gains[name].shape[1]), allowed)
    place = int(np.flatnonzero(allowed)[-1])
    return Choice(
        HALF_LIVES[place],
        f"by NDCG@{LENGTH} of the latest fifth of histories at once, and of each next "
        "like in it, with this half-life and without",
        _figures(gains, place),
    )


def _judge(
    held: HeldOut,
    users_of: Callable[[HeldOut, float | None], Array],
    items: Array,
    biases: Array,
    allowed: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """NDCG of each user by half-life: (n_half_lives, n_users).

    Those that are not allowed are NaN, but for None, which others are compared with.
    """
    _, owners = np.unique(held.users, return_inverse=True)
    counts = np.bincount(owners)
    gains = np.full((len(HALF_LIVES), len(counts)), np.nan)
    tried = [n for n, half in enumerate(HALF_LIVES) if allowed[n] or half is None]
    for place in progress(tried, "choose half-life", unit="try"):
        vectors = users_of(held, HALF_LIVES[place])
        each = judge_held_out("ndcg", LENGTH, vectors, items, biases, held)
        gains[place] = np.bincount(owners, each) / counts
    return gains


def _figures(gains: dict[str, NDArray[np.float64]], place: int) -> dict[str, float]:
    figures = {}
    for name, part in gains.items():
        figures[name] = float(part[place].mean())
        figures[f"{name} without"] = float(part[HALF_LIVES.index(None)].mean())
    return figures


def hide_latest(history: History) -> HeldOut:
    """Hide the likes in the latest fifth of the histories of some users."""
    rng = np.random.RandomState(0)
    late = history.n_later < _n_late(history)[history.users]
    late_likes = late & history.liked
    counts = np.bincount(history.users[late_likes], minlength=len(history.lengths))
    users = rng.permutation(np.flatnonzero(counts))[: most_lists(history.n_items)]
    users = np.sort(users)
    known, hidden = history.where(~late), history.where(late_likes)
    return HeldOut(users, known.take(users), hidden.take(users))


def hide_next(history: History, users: NDArray[np.int64]) -> HeldOut:
    """Hide each of the latest likes of users in turn, and all that comes after it.

    These are the likes in the latest fifth of a history, as many of each user as 4,000
    lists in all allow. A user comes once for each of them.
    """
    late = history.n_later < _n_late(history)[history.users]
    places = np.flatnonzero(late & history.liked & np.isin(history.users, users))
    owners = history.users[places]
    n_later = np.searchsorted(owners, owners, side="right") - np.arange(len(owners)) - 1
    places = places[n_later < max(1, most_lists(history.n_items) // len(users))]
    owners = history.users[places]
    copies, one_each = history.take(owners), np.arange(len(places) + 1)
    is_before = copies.n_later > history.n_later[places][copies.users]
    hidden = History(one_each, history.items[places], history.n_items)
    return HeldOut(owners, copies.where(is_before), hidden)


def _n_late(history: History) -> NDArray[np.int64]:
    """Count what is in the latest fifth of each history."""
    return (SHARE * history.lengths).astype(np.int64)
