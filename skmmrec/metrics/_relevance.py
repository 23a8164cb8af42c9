"""Turn tables of recommendations into ranked lists of relevance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import (
    ITEM,
    USER,
    check_count,
    check_ids,
    check_same_kind,
    ranks_in,
    refuse_merged,
    take_over,
    unmasked,
)
from skmmrec.metrics._hits import as_booleans, find_marked

GAIN = "gain"
# Column of `similar_items`: what was asked for.
QUERY = "query"
# 2 MiB, the size of a large second-level cache, for random look-ups in it. Not tuned.
_TABLE_BYTES = 2**21


@dataclass(frozen=True)
class RankedRelevance:
    """Ranked lists of users who have at least one relevant item.

    Attributes
    ----------
    users : Index of length n_users
        User ids, sorted.
    items : Index of length n_items
        Ids of all items that are recommended or relevant.
    relevance : ndarray of shape (n_users, n_ranked)
        Whether the item at each rank is relevant, bool; False past the end of a list.
    n_relevant : ndarray of shape (n_users,)
        How many relevant items each user has, ranked or not.
    n_ranked : ndarray of shape (n_users,)
        Length of each list.
    recommended : ndarray of shape (n_users, n_ranked)
        Position in `items` of the item at each rank; -1 past the end of a list.
    relevant : ndarray of shape (2, n_pairs)
        Positions in `users` and `items` of the distinct relevant pairs, sorted.
    gains : ndarray of shape (n_pairs,)
        Gain of each of these pairs, above 0.
    n_skipped : int
        Users with recommendations but without relevant items, who are left out.
    """

    users: pd.Index
    items: pd.Index
    relevance: NDArray[np.bool_]
    n_relevant: NDArray[np.int64]
    n_ranked: NDArray[np.int64]
    recommended: NDArray[np.int32]
    relevant: NDArray[np.int64]
    gains: NDArray[np.float64]
    n_skipped: int

    def of_items(self, chosen: NDArray[np.bool_]) -> RankedRelevance:
        """Keep only some items as relevant, and only users with a relevant item.

        Parameters
        ----------
        chosen : ndarray of shape (n_items,)
            Which of `items` stay relevant; the others keep their ranks.

        Returns
        -------
        RankedRelevance
        """
        if chosen.all():
            relevance, relevant, gains = self.relevance, self.relevant, self.gains
        else:
            still = chosen[self.relevant[1]]
            relevance = self.relevance & chosen[self.recommended]
            relevant, gains = self.relevant[:, still], self.gains[still]
        n_relevant = np.bincount(relevant[0], minlength=len(self.users))
        kept = n_relevant > 0
        new_row = np.cumsum(kept) - 1
        return RankedRelevance(
            users=self.users[kept],
            items=self.items,
            relevance=relevance[kept],
            n_relevant=n_relevant[kept],
            n_ranked=self.n_ranked[kept],
            recommended=self.recommended[kept],
            relevant=np.stack([new_row[relevant[0]], relevant[1]]),
            gains=gains,
            n_skipped=self.n_skipped + int((~kept).sum()),
        )


def ranked_relevance(
    recommendations: pd.DataFrame, relevant: pd.DataFrame
) -> RankedRelevance:
    """Mark which recommended items are relevant.

    Parameters
    ----------
    recommendations : DataFrame
        As returned by `recommend`: user_id, item_id and, optionally, rank. Without
        rank, the rows of a user must be sorted, best first. Or as returned by
        `similar_items`: query, item_id and rank.
    relevant : DataFrame
        The relevant items: one row with user_id, or query, and item_id per pair and,
        optionally, gain, above 0. Repeated pairs count once, with the largest gain.

    Returns
    -------
    RankedRelevance
        With every user who has a relevant item; users without recommendations have
        empty lists. A relevant item that is recommended twice counts at its first rank
        only. A list that is there twice, rank by rank, counts once.

    Raises
    ------
    ValueError
        If a column is missing, an id is NaN or None, the two tables have ids of
        different types, a gain is not above 0, or nothing is relevant.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.metrics import ranked_relevance
    >>> recommendations = pd.DataFrame(
    ...     {"user_id": ["ann", "ann", "bob"], "item_id": [3, 1, 2]}
    ... )
    >>> relevant = pd.DataFrame({"user_id": ["ann", "cem"], "item_id": [1, 2]})
    >>> lists = ranked_relevance(recommendations, relevant)
    >>> lists.users.tolist(), lists.relevance.tolist(), lists.n_skipped
    (['ann', 'cem'], [[False, True], [False, False]], 1)
    """
    recommendations = take_over(recommendations, "recommendations")
    relevant = take_over(relevant, "relevant")
    if not len(relevant):
        raise ValueError("relevant has no rows: there is nothing to rank for")
    tables = {"recommendations": recommendations, "relevant": relevant}
    asking = _who_asks(tables)
    users, (who, truth_who) = _shared_codes(asking, tables)
    users = users.rename(asking)
    items, (what, truth_what) = _shared_codes(ITEM, tables)
    truth_who, truth_what, gains = _distinct_pairs(
        truth_who, truth_what, (len(users), len(items)), _gains(relevant)
    )
    n_relevant = np.bincount(truth_who, minlength=len(users))
    recommended, n_ranked = _lists(recommendations, who, what, len(users))
    relevance = _is_relevant(recommended, truth_who, truth_what, len(items))
    _drop_repeated(relevance, recommended, len(items))
    found = RankedRelevance(
        users,
        items,
        relevance,
        n_relevant,
        n_ranked,
        recommended,
        np.stack([truth_who, truth_what]),
        gains,
        0,
    )
    return found if n_relevant.all() else found.of_items(np.ones(len(items), bool))


def _who_asks(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the column of those who ask: users, or queries of `similar_items`."""
    are_queries = all(QUERY in t and USER not in t for t in tables.values())
    return QUERY if are_queries else USER


def rank_lists(
    a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str]
) -> tuple[pd.Index, pd.Index, list[NDArray[np.int32]]]:
    """Align the lists of two recommenders to common users and items.

    Both are as `recommend` gives them; errors call them by `names`. Returns the users
    and items in either table, sorted, and two arrays of shape (n_users, longest list):
    positions of items, best first, and -1 past the end of a list.
    """
    tables = {
        name: take_over(table, name) for name, table in zip(names, (a, b), strict=True)
    }
    users, who = _shared_codes(USER, tables)
    items, what = _shared_codes(ITEM, tables)
    return (
        users,
        items,
        [
            _lists(table, who[n], what[n], len(users))[0]
            for n, table in enumerate(tables.values())
        ],
    )


def _distinct_pairs(
    who: NDArray[np.int64],
    what: NDArray[np.int64],
    shape: tuple[int, int],
    gains: NDArray[np.float64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Sort pairs and drop repetitions; the largest gain of a pair counts."""
    if gains is None:
        from scipy.sparse import csr_array

        ones = np.ones(len(who), dtype=bool)
        table = csr_array((ones, (who, what)), shape=shape)
        table.sum_duplicates()
        who = np.repeat(np.arange(shape[0]), np.diff(table.indptr))
        return who, table.indices.astype(np.int64), np.ones(len(who))
    order = np.lexsort((-gains, what, who))
    who, what, gains = who[order], what[order], gains[order]
    first = (np.diff(who, prepend=-1) > 0) | (np.diff(what, prepend=-1) != 0)
    return who[first], what[first], gains[first]


def _gains(relevant: pd.DataFrame) -> NDArray[np.float64] | None:
    """Return the gains of the pairs, if there are any."""
    if GAIN not in relevant:
        return None
    gains = relevant[GAIN].to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~((gains > 0) & np.isfinite(gains)))
    if len(bad):
        raise ValueError(
            f"relevant[{GAIN!r}] must be finite and above 0, got {gains[bad[0]]} in "
            f"row {bad[0]}"
        )
    return gains


def _shared_codes(
    name: str, tables: Mapping[str, pd.DataFrame]
) -> tuple[pd.Index, list[NDArray[np.int64]]]:
    """Enumerate the ids of a column over two tables, in sorted order."""
    columns = []
    for argument, table in tables.items():
        if name not in table.columns:
            columns_held = list(table.columns)
            key = name.replace("_id", "_key")
            or_name = f", or give evaluate_ranking its name as {key}="
            raise ValueError(
                f"{argument} has no column {name!r}; it has {columns_held}: rename "
                f"the one with these ids to {name!r}"
                + (or_name if argument == "relevant" and key != name else "")
            )
        columns.append(check_ids(table[name], f"{argument}[{name!r}]"))
    are_texts = [column.dtype == object for column in columns]
    if len(columns[0]) and are_texts[0] != are_texts[1]:
        first, second = tables
        raise ValueError(
            f"{name} is {columns[0].dtype} in {first} but {columns[1].dtype} in "
            f"{second}; give both one type"
        )
    check_same_kind(columns[0], pd.Index(columns[1]), name)
    if columns[0].dtype == object:
        refuse_merged(np.concatenate(columns), f"{name} of {' and '.join(tables)}")
    return _number(columns)


def _number(columns: list[NDArray]) -> tuple[pd.Index, list[NDArray[np.int64]]]:
    """Enumerate ids: small non-negative integers by a table, others by hashing."""
    parts = [column for column in columns if len(column)]
    largest = max(column.max() for column in parts) if _are_counts(parts) else np.inf
    if largest < sum(map(len, parts)):
        present = np.zeros(int(largest) + 1, dtype=bool)
        for column in parts:
            present[column] = True
        if present.all():
            return pd.RangeIndex(len(present)), columns
        codes = np.cumsum(present) - 1
        return pd.Index(np.flatnonzero(present)), [codes[c] for c in columns]
    bounds = np.cumsum([len(column) for column in columns])[:-1]
    numbers, ids = pd.factorize(np.concatenate(parts), sort=True)
    return pd.Index(ids), np.split(numbers, bounds)


def _are_counts(columns: list[NDArray]) -> bool:
    return all(column.dtype.kind == "i" and column.min() >= 0 for column in columns)


def _lists(
    table: pd.DataFrame, who: NDArray[np.int64], what: NDArray[np.int64], n_users: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Put each user's items in a row, best first."""
    ranks = ranks_in(table)
    keys = (who,) if ranks is None else (ranks, who)
    if not _is_sorted(*keys):
        order = np.lexsort(keys)
        who, what = who[order], what[order]
        if ranks is not None:
            who, what = _each_once(who, what, ranks[order])
    n_ranked = np.bincount(who, minlength=n_users)
    longest = n_ranked.max(initial=1)
    if (n_ranked == longest).all():
        return what.reshape(n_users, longest).astype(np.int32), n_ranked
    lists = np.full((n_users, longest), -1, dtype=np.int32)
    lists[np.arange(longest) < n_ranked[:, None]] = what
    return lists, n_ranked


def _each_once(
    who: NDArray[np.int64], what: NDArray[np.int64], ranks: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Leave out sorted rows that repeat one, as of users who were asked for twice."""
    if not ((who[1:] == who[:-1]) & (ranks[1:] == ranks[:-1])).any():
        return who, what
    rows = pd.DataFrame({"who": who, "rank": ranks, "what": what})
    first = ~rows.duplicated().to_numpy()
    return who[first], what[first]


def _is_sorted(*keys: NDArray) -> bool:
    """Tell whether rows are sorted by the last key, then strictly by the one before."""
    before, after = keys[-1][:-1], keys[-1][1:]
    if len(keys) == 1:
        return bool((after >= before).all())
    in_order = keys[0][1:] > keys[0][:-1]
    return bool(((after > before) | ((after == before) & in_order)).all())


def _is_relevant(
    recommended: NDArray[np.int32],
    truth_who: NDArray[np.int64],
    truth_what: NDArray[np.int64],
    n_items: int,
) -> NDArray[np.bool_]:
    """Look up recommendations in a table of all items for some users at a time."""
    relevance = np.zeros(recommended.shape, dtype=bool)
    width = n_items + 1
    at_once = max(1, _TABLE_BYTES // width)
    # The last column stays False. -1, which ends short lists, is looked up there: in
    # the previous row or, from the first row, in the last one.
    table = np.zeros(at_once * width, dtype=bool)
    starts = width * np.arange(at_once)[:, None]
    bounds = np.searchsorted(
        truth_who, np.arange(0, len(recommended) + at_once, at_once)
    )
    cells = truth_who % at_once * width + truth_what
    for n, start in enumerate(range(0, len(recommended), at_once)):
        chunk = recommended[start : start + at_once]
        marked = cells[bounds[n] : bounds[n + 1]]
        table[marked] = True
        relevance[start : start + at_once] = table[chunk + starts[: len(chunk)]]
        table[marked] = False
    return relevance


def _drop_repeated(
    relevance: NDArray[np.bool_], recommended: NDArray[np.int32], n_items: int
) -> None:
    """Clear all but the first hit of an item that a list contains repeatedly."""
    user, rank = find_marked(relevance)
    pairs = user * n_items + recommended[user, rank]
    repeated = pd.Series(pairs).duplicated().to_numpy()
    relevance[user[repeated], rank[repeated]] = False


def relevance_from_scores(
    scores: ArrayLike,
    relevant: ArrayLike,
    k: int = 10,
    *,
    seen: ArrayLike | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Rank all items of each user by score and mark the relevant ones of the first k.

    Parameters
    ----------
    scores : array-like of shape (n_users, n_items)
        Higher is better. Equal scores rank in the order of the items.
    relevant : array-like of shape (n_users, n_items)
        Which items are relevant, bool.
    k : int, default=10
        How many ranks to return.
    seen : array-like of shape (n_users, n_items), default=None
        Items to leave out of the lists, bool; they do not count as relevant.

    Returns
    -------
    relevance : ndarray of shape (n_users, min(k, n_items))
        Whether the item at each rank is relevant.
    n_relevant : ndarray of shape (n_users,)
        How many relevant items each user has.

    Raises
    ------
    ValueError
        If shapes differ, a score is NaN, `relevant` or `seen` hold anything but 0 and
        1, or `k` is below 1.

    Examples
    --------
    >>> from skmmrec.metrics import ndcg_at_k, relevance_from_scores
    >>> scores, relevant = [[0.1, 0.9, 0.5]], [[True, False, True]]
    >>> ndcg_at_k(*relevance_from_scores(scores, relevant), k=2).round(4)
    array([0.3869])
    """
    check_count(k)
    table = np.asarray(unmasked(scores), dtype=float)
    if table.ndim != 2:
        raise ValueError(f"scores must have 2 dimensions, got {table.ndim}")
    wanted = as_booleans(np.asarray(unmasked(relevant)), "relevant")
    hidden = np.zeros(table.shape, bool)
    if seen is not None:
        hidden = as_booleans(np.asarray(unmasked(seen)), "seen")
    for name, other in (("relevant", wanted), ("seen", hidden)):
        if other.shape != table.shape:
            raise ValueError(
                f"{name} has shape {other.shape}, scores have shape {table.shape}"
            )
    missing = np.argwhere(np.isnan(table))
    if len(missing):
        raise ValueError(f"scores contain NaN in row {missing[0][0]}")
    wanted = wanted & ~hidden
    order = np.argsort(np.where(hidden, np.inf, -table), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(wanted, order, axis=1), wanted.sum(axis=1)
