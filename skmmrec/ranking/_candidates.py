"""Candidates of requests, from a first stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import ITEM, TIME, USER, Ids, plain
from skmmrec.ranking._columns import FIRST
from skmmrec.ranking._feature_tables import FeatureTable

# Where a candidate's request is, and what the first stage said of it.
REQUEST = "__request"
SCORE, RANK = FIRST
# Rows of candidates that are ranked at once. Not tuned: 256 MB at 64 features.
ROWS_AT_ONCE = 1_000_000


def candidates_of(
    first: Any,
    requests: pd.DataFrame,
    n_candidates: int,
    *,
    items: Ids | None = None,
    exclude_seen: bool = True,
) -> pd.DataFrame:
    """Ask a first stage for candidates.

    Parameters
    ----------
    first : recommender
        Fitted; each user is asked for once, however many requests there are.
    requests : DataFrame of n rows
        ``user_id``, and what else there is to know of a request.
    n_candidates : int
        Items for each.
    items : array-like or None
        Ids of the items to choose from.
    exclude_seen : bool
        Whether to leave out what the first stage has seen of a user.

    Returns
    -------
    DataFrame
        The columns of `requests`, ``item_id``, ``first_score`` and ``first_rank``, and
        the position of the request; requests in their order, best candidates first.
    """
    codes, users = pd.factorize(requests[USER])
    lists = first.recommend(
        users, k=n_candidates, items=items, exclude_seen=exclude_seen
    )
    counts = np.bincount(pd.Index(users).get_indexer(lists[USER]), minlength=len(users))
    starts = counts.cumsum() - counts
    repeated, rows = repeat_ranges(starts[codes], counts[codes])
    return join_requests(
        requests,
        repeated,
        lists[ITEM].to_numpy()[rows],
        lists["score"].to_numpy()[rows],
        lists["rank"].to_numpy()[rows],
    )


def repeat_ranges(
    starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each i, i and starts[i], starts[i] + 1, ... as often as counts[i] says."""
    owners = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(owners)) - np.repeat(counts.cumsum() - counts, counts)
    return owners, starts[owners] + within


def join_requests(
    requests: pd.DataFrame,
    of_request: NDArray[np.int64],
    items: NDArray,
    scores: NDArray,
    ranks: NDArray,
) -> pd.DataFrame:
    """Put requests and their candidates side by side."""
    table = requests.take(of_request).reset_index(drop=True)
    ids = table.pop(USER)
    table.insert(0, USER, ids)
    table.insert(1, ITEM, items)
    table[SCORE] = np.asarray(scores, dtype=np.float32)
    table[RANK] = np.asarray(ranks, dtype=np.float32)
    table[REQUEST] = of_request
    return table


def with_features(
    candidates: pd.DataFrame, tables: list[FeatureTable], *, latest: bool = False
) -> pd.DataFrame:
    """Return what a transformer reads: ids, time, context, features of both sides.

    `candidates` are as `candidates_of` gives them, `tables` those of users and of
    items. If `latest`, the latest rows of tables with times count, whatever the time
    is. A ValueError gives a name that two of these have.
    """
    parts = [candidates.drop(columns=[SCORE, RANK, REQUEST])]
    times = None
    if TIME in candidates and not latest:
        times = candidates[TIME].to_numpy()
    for table in tables:
        found = table.look_up(candidates[table.key].to_numpy(), times)
        _refuse_common(parts, found, table.key)
        parts.append(found)
    return pd.concat(parts, axis=1)


def _refuse_common(parts: list[pd.DataFrame], found: pd.DataFrame, key: str) -> None:
    taken = {str(name) for part in parts for name in part}
    common = [name for name in found if str(name) in taken]
    if common:
        raise ValueError(
            f"the column {common[0]!r} of the features by {key} is also one of the "
            "ids, of the context or of the other table: rename it"
        )


def in_parts(requests: pd.DataFrame, n_candidates: int) -> Iterator[pd.DataFrame]:
    """Cut requests so that candidates and features of a part fit memory."""
    size = max(1, ROWS_AT_ONCE // n_candidates)
    for start in range(0, len(requests), size):
        yield requests.iloc[start : start + size].reset_index(drop=True)


def best_first(
    candidates: pd.DataFrame, scores: NDArray[np.floating], k: int | None
) -> pd.DataFrame:
    """Make lists by score, ties as the first stage has them.

    Columns are ``user_id``, ``item_id``, ``rank``, ``score`` as float32, and the
    position of the request.
    """
    with np.errstate(over="ignore"):  # refused here
        single = scores.astype(np.float32)
    _refuse_infinite(candidates, single)
    of_request = candidates[REQUEST].to_numpy()
    order, places = in_order(of_request, scores, candidates[RANK].to_numpy())
    ranks = places + 1
    table = pd.DataFrame(
        {
            USER: candidates[USER].to_numpy()[order],
            ITEM: candidates[ITEM].to_numpy()[order],
            "rank": ranks,
            "score": single[order],
            REQUEST: of_request[order],
        }
    )
    return table if k is None else table[ranks <= k].reset_index(drop=True)


def in_order(
    lists: NDArray[np.int64], scores: NDArray, ranks: NDArray
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Sort rows list by list, best first, ties as the first stage has them.

    Returns the positions of the rows, and the place of each of them in its list, from
    0.
    """
    order = np.lexsort((ranks, -scores, lists))
    owners = lists[order]
    return order, np.arange(len(owners)) - np.searchsorted(owners, owners)


def _refuse_infinite(candidates: pd.DataFrame, scores: NDArray) -> None:
    odd = np.flatnonzero(~np.isfinite(scores))
    if len(odd):
        row = candidates.iloc[odd[0]]
        raise ValueError(
            f"the ranker gave {scores[odd[0]]} to item {plain(row[ITEM])!r} for user "
            f"{plain(row[USER])!r}: it must give finite numbers"
        )
