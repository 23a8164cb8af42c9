"""What users listen to, one after the other, in sessions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.datasets._sampling import draw_counts
from skmmrec.datasets._taste import TrueAffinity
from skmmrec.interactions import ITEM, TIME, USER

_START = np.datetime64("2024-01-01", "s")
# Five clips to a session on average, so that most have a next one.
_P_NEW_SESSION = 0.2
# A clip in full takes three to five minutes; sessions are some two days apart.
_SECONDS_A_TRACK, _SECONDS_BETWEEN = (180, 300), 2 * 86_400


def sample_listens(
    affinity: TrueAffinity,
    follows: NDArray[np.float64],
    n_per_user: float,
    strengths: tuple[float, float, float],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw what each user listens to, in order and without repetition.

    Each user draws the next item from the softmax of ``taste * affinity + popularity *
    tilt``, where the tilt of an item is standard normal, plus, within a session,
    ``session * follows[previous]``.

    `follows`, of shape (n_items, n_items), says how well each item (column) comes after
    each other (row). `strengths` are the weights of taste, of the item before in the
    session, and of popularity. Returns the columns user_id, item_id and timestamp, in
    order of time.
    """
    taste, session, popularity = strengths
    liked = taste * affinity() + popularity * rng.standard_normal(len(follows))
    n_users, n_items = liked.shape
    counts = draw_counts(n_users, n_items, n_per_user, rng)
    begins = rng.random((counts.max(), n_users)) < _P_NEW_SESSION
    begins[0] = True
    heard = np.empty((counts.max(), n_users), dtype=np.int64)
    for step, new in enumerate(begins):
        carried = 0 if step == 0 else session * follows[heard[step - 1]] * ~new[:, None]
        noisy = liked + carried + rng.gumbel(size=liked.shape)
        heard[step] = noisy.argmax(axis=1)
        liked[np.arange(n_users), heard[step]] = -np.inf
    user, steps = np.nonzero(np.arange(counts.max()) < counts[:, None])
    table = {
        USER: affinity.leans.index[user],
        ITEM: affinity.items[heard[steps, user]],
        TIME: _times(begins, rng).T[user, steps],
    }
    return pd.DataFrame(table).sort_values([TIME, USER], ignore_index=True)


def _times(begins: NDArray[np.bool_], rng: np.random.Generator) -> NDArray:
    """Whole seconds of each step of each user, strictly increasing."""
    tracks = rng.integers(*_SECONDS_A_TRACK, size=begins.shape)
    pauses = rng.exponential(_SECONDS_BETWEEN, size=begins.shape).astype(np.int64)
    elapsed = (tracks + np.where(begins, pauses, 0)).cumsum(axis=0)
    return _START + elapsed.astype("timedelta64[s]")
