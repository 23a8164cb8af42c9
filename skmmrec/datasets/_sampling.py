"""Interactions drawn from taste and popularity."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.datasets._taste import TrueAffinity
from skmmrec.interactions import ITEM, TIME, USER

# Their scores of 10,000 items take 20 MB in float64.
_USERS_AT_ONCE = 256
# Nobody looks through a huge catalogue; this also bounds time and memory per user.
_ITEMS_MET = 4096
_START = np.datetime64("2023-01-01", "s")
# A user comes every second day on average, so that a year holds a long history.
_SECONDS_BETWEEN = 2 * 86_400


def sample_interactions(
    affinity: TrueAffinity,
    items: NDArray,
    n_per_user: float,
    strength: float,
    popularity: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw what each user met, without repetition, and how they rated it.

    Each user draws from the softmax of ``strength * affinity + popularity * tilt``,
    where the tilt of an item is standard normal.

    `items` are those that may be met, `n_per_user` is the mean number of interactions
    of a user, and `strength` and `popularity` are weights. Returns the columns user_id,
    item_id, rating and timestamp, in order of time.
    """
    users = affinity.leans.index.to_numpy()
    tilt = popularity * rng.standard_normal(len(items))
    counts = draw_counts(len(users), len(items), n_per_user, rng)
    frames = []
    for start in range(0, len(users), _USERS_AT_ONCE):
        chunk = slice(start, start + _USERS_AT_ONCE)
        met = np.sort(rng.permutation(len(items))[:_ITEMS_MET])
        liked = affinity(users[chunk], items[met])
        row, column = draw_without_replacement(
            strength * liked + tilt[met], counts[chunk], rng
        )
        frames.append(
            pd.DataFrame(
                {
                    USER: users[chunk][row],
                    ITEM: items[met][column],
                    "rating": _ratings(liked[row, column], rng),
                    TIME: _times(counts[chunk], rng),
                }
            )
        )
    return pd.concat(frames).sort_values([TIME, USER], ignore_index=True)


def draw_counts(
    n_users: int, n_items: int, mean: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw how many items each user meets, from 1 to those that there are."""
    counts = np.rint(draw_activity(n_users, mean, rng))
    return np.clip(counts, 1, min(n_items, _ITEMS_MET)).astype(np.int64)


def draw_activity(
    n_users: int, mean: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw log-normal activity: some users are much busier than others."""
    spread = 0.5
    return rng.lognormal(np.log(mean) - spread**2 / 2, spread, n_users)


def draw_without_replacement(
    logits: NDArray, counts: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Draw ``counts[u]`` columns of row u from its softmax, without replacement.

    Gumbel top-k (Kool, van Hoof and Welling, ICML 2019). The order is shuffled: drawn
    first to last, users would meet what they like most early, and little at the end.

    `logits`, of shape (n_users, n_items), are minus infinity for what is not to be
    drawn, while there is anything else; `counts` are from 1 to n_items. Returns rows,
    which ascend, and columns.
    """
    noisy = logits + rng.gumbel(size=logits.shape)
    most = counts.max()
    top = np.argpartition(-noisy, most - 1, axis=1)[:, :most]
    order = np.argsort(-np.take_along_axis(noisy, top, axis=1), axis=1, kind="stable")
    row, rank = np.nonzero(np.arange(most) < counts[:, None])
    shuffled = np.lexsort((rng.random(len(row)), row))
    return row, top[row, order[row, rank]][shuffled]


def _ratings(liked: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    noisy = 2.6 + 1.2 * liked + rng.normal(0, 0.5, len(liked))
    return np.clip(np.rint(noisy), 1, 5).astype(np.float64)


def _times(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray:
    """Whole seconds, strictly increasing within each user's block."""
    gaps = 1 + rng.exponential(_SECONDS_BETWEEN, counts.sum()).astype(np.int64)
    first = counts.cumsum() - counts
    total = gaps.cumsum()
    elapsed = total - np.repeat(total[first], counts)
    begins = rng.integers(365 * 86_400, size=len(counts))
    return _START + (elapsed + np.repeat(begins, counts)).astype("timedelta64[s]")
