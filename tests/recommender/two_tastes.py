"""Users of two kinds, and recommenders that should tell them apart."""

import numpy as np
import pandas as pd

from skmmrec import ItemCatalog, MultimodalFusionRecommender

IDS = ["user_id", "item_id"]


def make_tastes():
    """Two kinds of users; each likes the items of a half, told by both modalities."""
    rng = np.random.default_rng(0)
    n_users, n_items = 60, 40
    side = np.arange(n_items) % 2
    looks = np.stack([side, 1 - side], 1) + rng.normal(scale=0.3, size=(n_items, 2))
    words = np.stack([side, rng.random(n_items)], 1) * 2 - 1
    words += rng.normal(scale=0.1, size=words.shape)
    items = pd.DataFrame(np.hstack([looks, words]))
    items.columns = ["image__0", "image__1", "text__0", "text__1"]
    items.insert(0, "item_id", np.arange(n_items))
    rows = [
        (user, item)
        for user in range(n_users)
        for item in rng.choice(np.flatnonzero(side == user % 2), 8, replace=False)
    ]
    return items, pd.DataFrame(rows, columns=IDS)


def fit(items, X, **params):
    """A small recommender of these items, with parameters by name."""
    settings = {"n_factors": 8, "random_state": 0, **params}
    rec = MultimodalFusionRecommender(ItemCatalog(items)).set_params(**settings)
    return rec.fit(X)


def share_of_own_side(table):
    """Of all recommended items, those of the half that the user likes."""
    return (table.user_id % 2 == table.item_id % 2).mean()
