"""A small table of interactions, with content."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Small enough for the 40 checks of scikit-learn, large enough that lists differ.
N_USERS, N_ITEMS, N_EACH = 12, 20, 8
WIDTHS = {"text": 4, "image": 3, "audio": 2}


def make_interactions() -> tuple[pd.DataFrame, pd.Series]:
    """Make shuffled interactions of distinct pairs, and ratings from -2 to 2.

    Returns
    -------
    X : DataFrame
        Columns ``user_id``, ``item_id``, ``timestamp``, then the content of the row's
        item in three modalities; the first item lacks the first of them. Every item
        occurs.
    y : Series
        Ratings; every user likes something.
    """
    rng = np.random.default_rng(0)
    content = pd.DataFrame(
        {
            f"{modality}__{column}": rng.normal(size=N_ITEMS)
            for modality, width in WIDTHS.items()
            for column in range(width)
        }
    )
    content.iloc[0, : WIDTHS["text"]] = np.nan
    drawn = [rng.choice(N_ITEMS, N_EACH, replace=False) for _ in range(N_USERS)]
    users = np.repeat(np.arange(N_USERS), N_EACH)
    pairs = pd.DataFrame({"user": users, "item": np.concatenate(drawn)})
    pairs = pairs.sample(frac=1, random_state=0, ignore_index=True)
    X = pd.DataFrame(
        {
            "user_id": [f"u{user}" for user in pairs["user"]],
            "item_id": [f"i{item:02d}" for item in pairs["item"]],
            "timestamp": np.arange(len(pairs)),
        }
    )
    X = pd.concat([X, content.iloc[pairs["item"]].reset_index(drop=True)], axis=1)
    y = pd.Series((pairs["user"] + 2 * pairs["item"]) % 5 - 2.0, name="rating")
    return X, y
