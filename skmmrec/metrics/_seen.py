"""Rows that no list can hold, because lists leave out what a user has met."""

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

    Parameters
    ----------
    recommender : object
        With `seen_`, `user_index_` and `item_index_`; others are not looked at.
    relevant : DataFrame
        With the columns user_id and item_id.
    judged : DataFrame or None
        The same of all rows, relevant or not; None: all are relevant.
    """
    seen = getattr(recommender, "seen_", None)
    if seen is None or len(relevant) == 0:
        return
    pairs, asked = _positions(recommender, seen, relevant)
    rows = asked if judged is None else _positions(recommender, seen, judged)[1]
    n_seen = int(np.isin(asked, pairs).sum())
    if n_seen <= _TOLERATED * len(relevant) or _are_training_rows(rows, seen):
        return
    warn_caller(
        f"{n_seen} of {len(relevant)} relevant rows were seen in fit, and a list "
        "leaves out what its user has seen: they count as missed, however good the "
        "recommender is. Judge it by rows that are held out, by a splitter of "
        "skmmrec.model_selection for example"
    )


def _positions(
    recommender: Any, seen: History, relevant: pd.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give a number to pairs seen and to pairs to be found; -1 is unknown."""
    users = recommender.user_index_.get_indexer(relevant[USER])
    items = recommender.item_index_.get_indexer(relevant[ITEM])
    known = np.unique(users[users >= 0])
    met, n_items = seen.take(known), len(recommender.item_index_)
    asked = np.where((users >= 0) & (items >= 0), users * n_items + items, -1)
    return known[met.users] * n_items + met.items, asked


def _are_training_rows(rows: NDArray[np.int64], seen: History) -> bool:
    """Tell whether a search judges all rows of a fit for `return_train_score`.

    It is 0 by what a list is, and some searches ask for it unbidden, for each fit.
    """
    is_whole = len(np.unique(rows)) == len(seen.items) and bool((rows >= 0).all())
    return is_whole and is_called_by("_fit_and_score", "sklearn")
