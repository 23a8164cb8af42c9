"""Generated shops in which something tells that no first stage sees."""

import numpy as np
import pandas as pd
import pytest

N_USERS, N_ITEMS, N_ROWS = 120, 60, 3600


@pytest.fixture(scope="session")
def shop():
    """Interactions and prices: people buy dear things late, and cheap ones by day.

    Each user also has a taste, which interactions alone tell.
    """
    rng = np.random.default_rng(0)
    price = rng.uniform(1, 10, N_ITEMS)
    taste = rng.normal(size=(N_USERS, 3)) @ rng.normal(size=(3, N_ITEMS))
    users = rng.integers(0, N_USERS, N_ROWS)
    times = pd.Timestamp("2026-01-01") + pd.to_timedelta(
        np.sort(rng.integers(0, 90 * 24 * 60, N_ROWS)), unit="min"
    )
    is_late = times.hour >= 12
    wish = taste[users] + np.where(is_late, 0.7, -0.7)[:, None] * (price - 5.5)
    bought = (wish + rng.gumbel(size=wish.shape)).argmax(axis=1)
    X = pd.DataFrame({"user_id": users, "item_id": bought, "timestamp": times})
    X["is_late"] = is_late.astype(int)
    X = X.drop_duplicates(["user_id", "item_id"], ignore_index=True)
    items = pd.DataFrame({"item_id": np.arange(N_ITEMS), "price": price})
    cut = int(0.8 * len(X))
    return X.iloc[:cut], X.iloc[cut:].reset_index(drop=True), items
