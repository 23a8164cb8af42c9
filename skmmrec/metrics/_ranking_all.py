"""Lists to be judged."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pandas as pd


def recommend_exactly(recommender: Any, users: Any, k: int) -> pd.DataFrame:
    """Recommend to users by scoring all items, however many there are.

    An approximate index would add what it misses to what is judged.
    """
    can_be_approximate = "index" in signature(recommender.recommend).parameters
    options = {"index": None} if can_be_approximate else {}
    table: pd.DataFrame = recommender.recommend(users, k=k, **options)
    return table
