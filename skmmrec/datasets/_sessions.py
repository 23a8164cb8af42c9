"""Sessions: what users watch in a row, in the mood of the hour."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.datasets._taste import Factors, TrueAffinity
from skmmrec.interactions import ITEM, TIME, USER

_START = np.datetime64("2024-03-01", "s")
# From one session of a user to the next: two days on average.
_SECONDS_BETWEEN = 2 * 86_400


class Habits(NamedTuple):
    """How users watch.

    Attributes
    ----------
    n_watched : float
        Mean number of items in a session.
    taste_strength, popularity_strength : float
        How strongly it depends on affinity and on popularity what a user meets.
    mood_strength : float
        Weight of a session's mood beside the lasting taste, which has weight 1.
    """

    n_watched: float
    taste_strength: float
    popularity_strength: float
    mood_strength: float


def sample_sessions(
    affinity: TrueAffinity,
    moods: Factors,
    owner: NDArray[np.intp],
    seconds: NDArray,
    habits: Habits,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw who watched what, when, and how much of it.

    `moods` say by modality how much each attribute value is liked in each session
    alone: shape (n_sessions, n_values). `owner` is the position of each session's user,
    not decreasing, and `seconds` the length of each item. Returns the columns user_id,
    item_id, session_id, watched and timestamp, in order of time; no pair occurs twice.
    """
    liked = _in_sessions(affinity, moods, owner, habits.mood_strength)
    tilt = habits.popularity_strength * rng.standard_normal(len(seconds))
    keys = habits.taste_strength * liked + tilt + rng.gumbel(size=liked.shape)
    count = 1 + rng.poisson(habits.n_watched - 1, len(owner))
    count = np.minimum(count, len(seconds))
    session = np.repeat(np.arange(len(owner)), count)
    item = np.concatenate(
        [
            rng.permutation(np.argsort(-row)[:n])
            for row, n in zip(keys, count, strict=True)
        ]
    )
    watched = _watched(liked[session, item], rng)
    table = pd.DataFrame(
        {
            USER: affinity.leans.index.to_numpy()[owner[session]],
            ITEM: affinity.items.to_numpy()[item],
            "session_id": session + 1,
            "watched": watched,
            TIME: _times(owner, session, 1 + np.rint(watched * seconds[item]), rng),
        }
    )
    table = table.drop_duplicates([USER, ITEM])
    return table.sort_values([TIME, USER], ignore_index=True)


def draw_owners(
    n_users: int, n_sessions: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw how many sessions each user has, at least one; return the user of each."""
    counts = 1 + rng.poisson(n_sessions - 1, n_users)
    return np.repeat(np.arange(n_users), counts)


def _in_sessions(
    affinity: TrueAffinity, moods: Factors, owner: NDArray, strength: float
) -> NDArray:
    """Return what is liked in each session, of the variance of lasting taste."""
    lasting = affinity()[owner]
    passing = TrueAffinity(
        affinity.leans.iloc[owner], affinity.items, moods, affinity.item_factors
    )()
    return (lasting + strength * passing) / np.hypot(1.0, strength)


def _watched(liked: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    """Shares: about half is watched of what one is indifferent to."""
    noisy = 2.0 * liked + rng.normal(0, 0.8, len(liked))
    return np.round(1 / (1 + np.exp(-noisy)), 2)


def _times(
    owner: NDArray, session: NDArray, gaps: NDArray, rng: np.random.Generator
) -> NDArray:
    """Return when each row begins: after those before it, and a pause at each session.

    `gaps` are the seconds that rows take, at least 1.
    """
    pauses = rng.exponential(_SECONDS_BETWEEN, len(owner)).astype(np.int64)
    is_first = np.r_[True, session[1:] != session[:-1]]
    steps = np.r_[0, gaps[:-1].astype(np.int64)] + is_first * pauses[session]
    total = steps.cumsum()
    user = owner[session]
    begins = np.flatnonzero(np.r_[True, user[1:] != user[:-1]])
    of_user = np.repeat(begins, np.diff(np.r_[begins, len(user)]))
    return _START + (total - total[of_user] + steps[of_user]).astype("timedelta64[s]")
