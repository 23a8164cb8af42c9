"""Likes that a trial has held out, as what is to be ranked."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skmmrec.interactions import History
from skmmrec.recommender.training._problem import Examples
from skmmrec.recommender.training._validation import HeldOut

# The most users that are judged, and the most scores: 1,000 users, or 200 where there
# are a million items.
MAX_USERS, MAX_SCORES = 1000, 200_000_000
# Fewer users tell nothing.
MIN_USERS = 20
# The same where rows are in an order, and what comes next is asked like by like: for a
# half-life (by 2,000 lists one of four fits to the latest films had 2, not 5), and for
# the memory, whose lists tell more.
MIN_LISTS, MAX_LISTS, MAX_NEXT_SCORES, MAX_NEXT = 20, 4000, 80_000_000, 2000


def held_likes(hidden: Examples, left: History, max_users: int = MAX_USERS) -> HeldOut:
    """Likes of some users that the trial has not seen, drawn the same each time."""
    likes = hidden.take(hidden.counted[:, 0])
    gone = History.from_pairs(likes.users, likes.items, len(left.lengths), left.n_items)
    users = np.flatnonzero((gone.lengths > 0) & (left.lengths > 0))
    most = min(max_users, max(MIN_USERS, MAX_SCORES // max(1, left.n_items)))
    users = np.sort(np.random.RandomState(0).permutation(users)[:most])
    return HeldOut(users, left.take(users), gone.take(users))


def each_next(hidden: Examples, left: History, most: int = MAX_NEXT) -> HeldOut:
    """Ask for some hidden likes in turn, each after what came before it.

    A user comes once for each like, for a twentieth of all at most, so that none
    decides alone. Likes before which nothing is left are left out.
    """
    likes = hidden.take(hidden.counted[:, 0] & (hidden.before > 0))
    most = min(most, most_lists(left.n_items))
    order = np.random.RandomState(0).permutation(len(likes))
    n_asked = pd.Series(order).groupby(likes.users[order]).cumcount().to_numpy()
    chosen = order[n_asked < max(1, most // MIN_LISTS)][:most]
    likes = likes.take(np.sort(chosen))
    copies = left.take(likes.users)
    places = np.arange(len(copies.items)) - copies.offsets[copies.users]
    known = copies.where(places < likes.before[copies.users])
    one_each = np.arange(len(likes) + 1)
    return HeldOut(likes.users, known, History(one_each, likes.items, left.n_items))


def most_lists(n_items: int) -> int:
    """Tell how many lists are judged at most."""
    return min(MAX_LISTS, max(MIN_LISTS, MAX_NEXT_SCORES // max(1, n_items)))
