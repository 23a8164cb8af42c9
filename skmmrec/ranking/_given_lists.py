"""Candidates that the caller gives: lists of another recommender, or single rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import ITEM, USER, id_table, plain, ranks_in, read_scores
from skmmrec.metrics import recommend_exactly
from skmmrec.ranking._candidates import ROWS_AT_ONCE, in_order, join_requests


class Lists(NamedTuple):
    """Rows of lists, as `join_requests` takes them: one list after the other.

    Attributes
    ----------
    of_request : ndarray of shape (n,)
        Position of each row's user among those of all lists.
    items : ndarray of shape (n,)
        Ids.
    scores, ranks : ndarray of shape (n,)
        What the first stage said of them.
    """

    of_request: NDArray[np.int64]
    items: NDArray
    scores: NDArray
    ranks: NDArray


def of_lists(lists: Any) -> tuple[pd.Index, Lists]:
    """Read lists as `recommend` gives them.

    Columns are ``user_id``, ``item_id``, ``score`` and perhaps ``rank``; without it a
    user's rows are best first. Returns users in order of first appearance, and
    candidates, list by list. A TypeError is for what is no table, a ValueError for a
    missing column, a score or rank that is no number, or a pair that comes twice.
    """
    table = id_table(lists, "candidates").reset_index(drop=True)
    missing = [name for name in (USER, ITEM, "score") if name not in table]
    if missing:
        raise ValueError(
            f"candidates has no column {missing[0]!r}: {list(table)}; give what "
            "recommend gives"
        )
    scores = read_scores(table)
    _refuse_repeated(table)
    codes, users = pd.factorize(table[USER])
    places = ranks_in(table, "candidates")
    if places is None:
        places = np.arange(len(table))
    order, ranks = in_order(codes, np.zeros(len(table)), places)
    ids = table[ITEM].to_numpy()[order]
    return pd.Index(users), Lists(codes[order], ids, scores[order], ranks + 1)


def _refuse_repeated(table: pd.DataFrame) -> None:
    twice = np.flatnonzero(table.duplicated([USER, ITEM]))
    if len(twice):
        row = table.iloc[twice[0]]
        raise ValueError(
            f"candidates has item {plain(row[ITEM])!r} twice for user "
            f"{plain(row[USER])!r} (row {twice[0]})"
        )


def of_rows(first: Any, requests: pd.DataFrame, items: NDArray) -> pd.DataFrame:
    """Make a candidate of each row, with the score and rank that it would have.

    An item that the first stage does not know has the user's lowest score and the rank
    after all others. Returns what `candidates_of` gives; the rank is that among what
    the user has not seen.
    """
    users = pd.unique(requests[USER])
    n_items = len(first.item_index_)
    size = max(1, ROWS_AT_ONCE // n_items)
    found = pd.concat(
        [
            _whole_lists(first, users[start : start + size], n_items)
            for start in range(0, len(users), size)
        ]
    )
    asked = pd.DataFrame({USER: requests[USER].to_numpy(), ITEM: items})
    told = asked.merge(found, on=[USER, ITEM], how="left")
    worst = asked[USER].map(found.groupby(USER)["score"].min())
    scores, ranks = told["score"].fillna(worst), told["rank"].fillna(n_items + 1)
    return join_requests(requests, np.arange(len(requests)), items, scores, ranks)


def _whole_lists(first: Any, users: Any, n_items: int) -> pd.DataFrame:
    """All items of users by score; ranks count what they have not seen."""
    whole = recommend_exactly(first, users, n_items, exclude_seen=False)
    owners = first.user_index_.get_indexer(whole[USER])
    known = np.unique(owners)
    met = first.seen_.take(known)
    seen = known[met.users] * n_items + met.items
    asked = owners * n_items + first.item_index_.get_indexer(whole[ITEM])
    is_new = pd.Series(~np.isin(asked, seen)).astype(int)
    better = is_new.groupby(whole[USER].to_numpy(), sort=False).cumsum() - is_new
    return whole.assign(rank=(better + 1).to_numpy())
