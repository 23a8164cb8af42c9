"""What a fitted recommender hands to a store that serves it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from skmmrec.recommender._forgotten import Forgotten


@dataclass(frozen=True)
class ServingVectors:
    """User and item vectors whose inner product ranks as the recommender does.

    Attributes
    ----------
    users : DataFrame of shape (n_users, dim)
        float32, indexed by user id.
    items : DataFrame of shape (n_items, dim)
        float32, indexed by item id. ``users.loc[u] @ items.loc[i]`` is the score that
        `predict` gives for the pair, but for the objectives "bce" and "mse": there it
        grows with the probability or the rating.
    seen : Series of length n_users
        User id to the list of item ids met in training, oldest first.
    version : str
        Hash of the fitted model: the same fit gives the same version.
    history_exponent : float or None
        Users are the sum of n item vectors over n to this power; None: not known.
        With a half-life, the sum is weighted and n is the sum of the weights.
    history_sizes : Series of length n_users or None
        User id to the number of items in the sum; None: as many as were met.
    history_half_life : float or None
        After how many later items one has half the weight; None: all have 1.
    forgotten : Forgotten or None
        Users whom the model was told to forget, and the store is to forget too.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    seen: pd.Series
    version: str
    history_exponent: float | None = None
    history_sizes: pd.Series | None = None
    history_half_life: float | None = None
    forgotten: Forgotten | None = None
