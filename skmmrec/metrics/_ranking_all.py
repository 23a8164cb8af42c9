"""Lists to be judged."""

from __future__ import annotations

from inspect import signature
from typing import Any

import pandas as pd


def recommend_exactly(
    recommender: Any, users: Any, k: int, **options: Any
) -> pd.DataFrame:
    """Recommend to users by scoring all items, however many there are.

    An approximate index would add what it misses to what is judged.
    """
    can_be_approximate = "index" in signature(recommender.recommend).parameters
    if can_be_approximate:
        options["index"] = None
    table: pd.DataFrame = recommender.recommend(users, k=k, **options)
    return table
