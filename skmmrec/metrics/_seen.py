"""Rows that no list can hold, because lists leave out what a user has met."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skmmrec.interactions import ITEM, USER, warn_caller

# Up to here, lists still are judged by most rows; repeats are common where people
# listen or buy again.
_TOLERATED = 0.5


def warn_of_seen(recommender: Any, relevant: pd.DataFrame) -> None:
    """Warn where most of what is to be found was met in `fit`, and so is left out.

    Parameters
    ----------
    recommender : object
        With `seen_`, `user_index_` and `item_index_`; others are not looked at.
    relevant : DataFrame
        With the columns user_id and item_id.
    """
    seen = getattr(recommender, "seen_", None)
    if seen is None or len(relevant) == 0:
        return
    users = recommender.user_index_.get_indexer(relevant[USER])
    items = recommender.item_index_.get_indexer(relevant[ITEM])
    known = np.unique(users[users >= 0])
    met = seen.take(known)
    n_items = len(recommender.item_index_)
    pairs = known[met.users] * n_items + met.items
    is_known = (users >= 0) & (items >= 0)
    n_seen = int(np.isin(users[is_known] * n_items + items[is_known], pairs).sum())
    if n_seen > _TOLERATED * len(relevant):
        warn_caller(
            f"{n_seen} of {len(relevant)} relevant rows were seen in fit, and a list "
            "leaves out what its user has seen: they count as missed, however good the "
            "recommender is. Judge it by rows that are held out, by a splitter of "
            "skmmrec.model_selection for example"
        )
