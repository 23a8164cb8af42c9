"""Rows that no list can have, as lists leave out items that a user has seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import ITEM, USER, History, is_called_by, warn_caller

# Up to here, lists still are judged by most rows; repeats are common where people
# listen or buy again.
_TOLERATED = 0.5


def warn_of_seen(
    recommender: Any, relevant: pd.DataFrame, judged: pd.DataFrame | None = None
) -> None:
    """Warn where most of what is to be found was met in `fit`, and so is left out.

    Recommenders without `seen_`, `user_index_` and `item_index_` are not looked at.
    `relevant` has the columns user_id and item_id, and `judged` has them of all rows,
    relevant or not; None: all are relevant.
    """
    seen = getattr(recommender, "seen_", None)
    if seen is None or len(relevant) == 0:
        return
    asked = _numbers(recommender, relevant)
    n_seen = int(np.isin(asked, _met(recommender, seen, relevant)).sum())
    if n_seen <= _TOLERATED * len(relevant):
        return
    rows = asked if judged is None else _numbers(recommender, judged)
    if _are_training_rows(rows, seen):
        return
    warn_caller(
        f"{n_seen} of {len(relevant)} relevant rows were seen in fit. Lists leave out "
        "items that the user has seen, so these rows count as missed, however good the "
        "recommender is. Evaluate it on held-out rows, as by a splitter of "
        "skmmrec.model_selection"
    )


def _numbers(recommender: Any, rows: pd.DataFrame) -> NDArray[np.int64]:
    """Give a number to each pair of user and item; -1 is unknown."""
    users = recommender.user_index_.get_indexer(rows[USER])
    items = recommender.item_index_.get_indexer(rows[ITEM])
    n_items = len(recommender.item_index_)
    return np.where((users >= 0) & (items >= 0), users * n_items + items, -1)


def _met(recommender: Any, seen: History, rows: pd.DataFrame) -> NDArray[np.int64]:
    """Give the same numbers to all that the users of these rows have met."""
    users = np.unique(recommender.user_index_.get_indexer(rows[USER]))
    users = users[users >= 0]
    met = seen.take(users)
    return users[met.users] * len(recommender.item_index_) + met.items


def _are_training_rows(rows: NDArray[np.int64], seen: History) -> bool:
    """Tell whether a search judges all rows of a fit for `return_train_score`.

    It is 0 by what a list is, and some searches ask for it unbidden, for each fit.
    """
    is_whole = len(np.unique(rows)) == len(seen.items) and bool((rows >= 0).all())
    return is_whole and is_called_by("_fit_and_score", "sklearn")
