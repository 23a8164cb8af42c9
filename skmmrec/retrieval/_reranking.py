"""Re-rank recommendations for variety, and to spread exposure."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils._param_validation import HasMethods, Interval, validate_params

from skmmrec.interactions import (
    ITEM,
    USER,
    check_count,
    check_ids,
    groups_of,
    id_table,
    plain,
    ranks_in,
    read_scores,
    read_vector_table,
    unit_vectors,
)
from skmmrec.retrieval._exact import chunks


@dataclass(frozen=True)
class _Lists:
    """Candidates of n users as a table of m columns, best first.

    Attributes
    ----------
    rows : ndarray of shape (n, m)
        Rows of the recommendations; -1 where a list is shorter.
    items : ndarray of shape (n, m)
        Codes of the items.
    scores : ndarray of shape (n, m), float64
        Minus infinity where a list is shorter.
    """

    rows: NDArray[np.int64]
    items: NDArray[np.int64]
    scores: NDArray[np.float64]


@validate_params(
    {
        "recommendations": [pd.DataFrame, HasMethods("to_pandas")],
        "item_vectors": "no_validation",
        "k": "no_validation",
        "trade_off": [Interval(Real, 0, 1, closed="both")],
    },
    prefer_skip_nested_validation=True,
)
def rerank_mmr(
    recommendations: pd.DataFrame,
    item_vectors: pd.DataFrame,
    *,
    k: int = 10,
    trade_off: float = 0.7,
) -> pd.DataFrame:
    r"""Choose from each user's list the items that are good and unlike each other.

    The item with the greatest maximal marginal relevance is taken first, then the next:
    :math:`\lambda s_i - (1 - \lambda) \max_{j \in S} \cos(v_i, v_j)`, where s is the
    score, scaled to lie between 0 and 1 within the user's list, and S is what was
    taken before.

    Parameters
    ----------
    recommendations : DataFrame
        As `recommend` gives it, with more items per user than are wanted: user_id,
        item_id, score and, optionally, rank. Without rank, a user's rows are taken best
        first.
    item_vectors : DataFrame of shape (n_items, d)
        Indexed by item id, such as ``recommender.item_vectors_``. What they say is
        alike counts as alike: item vectors, content, or one-hot categories.
    k : int, default=10
        Items per user. Fewer are given where fewer are there.
    trade_off : float, default=0.7
        Weight lambda of the scores: 1 keeps the order, 0 looks at variety only.

    Returns
    -------
    DataFrame
        Columns ``user_id``, ``item_id``, ``rank`` (from 1) and ``score`` (as it was),
        users in the order in which they first occur.

    Raises
    ------
    TypeError
        If `item_vectors` is no DataFrame of pandas.
    ValueError
        If a column or rank is missing, a score or rank is no finite number, a user has
        an item twice, or an item has no vector, two of them, or one that is not finite.

    Notes
    -----
    Time and memory are linear in the number of recommendations, times `k` for time.

    References
    ----------
    J. Carbonell and J. Goldstein, "The use of MMR, diversity-based reranking for
    reordering documents and producing summaries", SIGIR 1998.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.retrieval import rerank_mmr
    >>> recommendations = pd.DataFrame(
    ...     {"user_id": 1, "item_id": ["a", "b", "c"], "score": [3.0, 2.9, 1.0]}
    ... )
    >>> vectors = pd.DataFrame([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], list("abc"))
    >>> rerank_mmr(recommendations, vectors, k=2, trade_off=0.5)
       user_id item_id  rank  score
    0        1       a     1    3.0
    1        1       c     2    1.0
    """
    check_count(k)
    recommendations = id_table(recommendations, "recommendations")
    lists, items = _read_lists(recommendations)
    vectors = _unit_vectors(item_vectors, items)
    k = min(k, lists.rows.shape[1])
    taken = [
        _take_by_mmr(vectors[lists.items[part]], lists.scores[part], k, trade_off)
        for part in chunks(len(lists.rows), lists.rows.shape[1] * vectors.shape[1])
    ]
    rows = np.take_along_axis(lists.rows, np.concatenate(taken), axis=1)
    rows[np.arange(k) >= (lists.rows >= 0).sum(axis=1, keepdims=True)] = -1
    return _as_table(recommendations, rows)


@validate_params(
    {
        "recommendations": [pd.DataFrame, HasMethods("to_pandas")],
        "k": "no_validation",
        "max_share": [Interval(Real, 0, 1, closed="right")],
    },
    prefer_skip_nested_validation=True,
)
def cap_exposure(
    recommendations: pd.DataFrame, *, k: int = 10, max_share: float = 0.1
) -> pd.DataFrame:
    """Fill the users' lists so that no item is in more than a share of them.

    The lists are filled rank by rank: every user whose list is not full asks for the
    candidate of that rank. Where an item has room for fewer lists than ask for it, the
    users get it whose scores are highest; the others ask for their next candidate.

    Parameters
    ----------
    recommendations : DataFrame
        As `recommend` gives it, with more items per user than are wanted: user_id,
        item_id, score and, optionally, rank. Without rank, the rows of a user must be
        sorted, best first.
    k : int, default=10
        Items per user. Users whose candidates run out get fewer, or none and then no
        row: ask `recommend` for more candidates.
    max_share : float, default=0.1
        Largest share of the lists that an item may be in, rounded down to a count. The
        lists are those of all users in `recommendations`.

    Returns
    -------
    DataFrame
        Columns ``user_id``, ``item_id``, ``rank`` (from 1) and ``score`` (as it was),
        users in the order in which they first occur.

    Raises
    ------
    ValueError
        If a column or rank is missing, a score or rank is no finite number, a user has
        an item twice, or `max_share` of the lists is less than one.

    See Also
    --------
    cap_groups : No group of items too often in a list.
    skmmrec.metrics.group_exposure : How much groups of items are shown.

    Notes
    -----
    The cap is for each item alone. A group of items, such as those of one seller, may
    still be in most of the lists; `cap_groups` limits their places in each.

    What items gain in fairness, users pay in relevance, and not all alike: an item that
    is in demand goes to those with the highest scores, who tend to be the users with
    long histories. Where that is not wanted, replace ``score`` by its rank within the
    item, or by random numbers, beforehand. The result depends on who is in the table:
    the cap holds over these lists, not over time.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.retrieval import cap_exposure
    >>> recommendations = pd.DataFrame(
    ...     {"user_id": [1, 1, 2, 2], "item_id": ["a", "b", "a", "c"],
    ...      "score": [0.7, 0.2, 0.9, 0.1]}
    ... )
    >>> cap_exposure(recommendations, k=1, max_share=0.5)
       user_id item_id  rank  score
    0        1       b     1    0.2
    1        2       a     1    0.9
    """
    check_count(k)
    recommendations = id_table(recommendations, "recommendations")
    lists, items = _read_lists(recommendations)
    room = int(max_share * len(lists.rows) + 1e-9)
    if room == 0 and len(recommendations):
        raise ValueError(
            f"max_share={max_share} of {len(lists.rows)} lists is less than one: no "
            "item could be recommended"
        )
    kept = _fill_lists(lists, np.full(len(items), room), k)
    return _as_table(recommendations, _first_kept(lists.rows, kept, k))


@validate_params(
    {
        "recommendations": [pd.DataFrame, HasMethods("to_pandas")],
        "groups": "no_validation",
        "k": "no_validation",
        "max_per_list": "no_validation",
    },
    prefer_skip_nested_validation=True,
)
def cap_groups(
    recommendations: pd.DataFrame,
    groups: pd.Series,
    *,
    k: int = 10,
    max_per_list: int = 2,
) -> pd.DataFrame:
    """Fill each user's list so that no group of items has more than a few places.

    Parameters
    ----------
    recommendations : DataFrame
        As `recommend` gives it, with more items per user than are wanted: user_id,
        item_id, score and, optionally, rank. Without rank, the rows of a user must be
        sorted, best first.
    groups : Series of length n_items
        Group of each item, such as its category, author or the product that it is a
        variant of, by item id. It may have items that are not recommended.
    k : int, default=10
        Items per user. Users whose candidates run out get fewer: ask `recommend` for
        more candidates.
    max_per_list : int, default=2
        Most items of one group in a list.

    Returns
    -------
    DataFrame
        Columns ``user_id``, ``item_id``, ``rank`` (from 1) and ``score`` (as it was),
        users in the order in which they first occur. The best items of each group are
        kept, in their order.

    Raises
    ------
    TypeError
        If `groups` is no Series of pandas.
    ValueError
        If a column or rank is missing, a score or rank is no finite number, a user has
        an item twice, an item has no group or two, or a number is below 1.

    See Also
    --------
    cap_exposure : No item in more than a share of all lists.
    rerank_mmr : Items unlike each other, without groups.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.retrieval import cap_groups
    >>> recommendations = pd.DataFrame(
    ...     {"user_id": 1, "item_id": ["a", "b", "c"], "score": [3.0, 2.0, 1.0]}
    ... )
    >>> topics = pd.Series(["sport", "sport", "arts"], index=list("abc"))
    >>> cap_groups(recommendations, topics, k=2, max_per_list=1)
       user_id item_id  rank  score
    0        1       a     1    3.0
    1        1       c     2    1.0
    """
    check_count(k)
    check_count(max_per_list, "max_per_list")
    recommendations = id_table(recommendations, "recommendations")
    lists, items = _read_lists(recommendations)
    group_of = pd.factorize(groups_of(items, groups))[0]
    there = lists.rows >= 0
    users = np.nonzero(there)[0]
    table = pd.DataFrame({"user": users, "group": group_of[lists.items[there]]})
    kept = np.zeros(there.shape, bool)
    kept[there] = table.groupby(["user", "group"]).cumcount() < max_per_list
    return _as_table(recommendations, _first_kept(lists.rows, kept, k))


def _take_by_mmr(
    vectors: NDArray, scores: NDArray, k: int, trade_off: float
) -> NDArray[np.intp]:
    """Places of the items taken: vectors (n, m, d), scores (n, m) to places (n, k)."""
    relevance = np.where(np.isfinite(scores), trade_off * _scaled(scores), -np.inf)
    likeness = np.full(scores.shape, -np.inf)
    taken = np.empty((len(scores), k), np.intp)
    users = np.arange(len(scores))
    for step in range(k):
        penalty = (1 - trade_off) * likeness if step else 0.0
        taken[:, step] = np.argmax(relevance - penalty, axis=1)
        relevance[users, taken[:, step]] = -np.inf
        chosen = vectors[users, taken[:, step]]
        likeness = np.maximum(likeness, np.einsum("nmd,nd->nm", vectors, chosen))
    return taken


def _scaled(scores: NDArray) -> NDArray[np.float64]:
    """Scale each row to lie between 0 and 1; minus infinity becomes 0."""
    there = np.isfinite(scores)
    least = np.min(scores, axis=1, keepdims=True, where=there, initial=np.inf)
    range_ = scores.max(axis=1, keepdims=True, initial=-np.inf) - least
    return np.where(there, scores - least, 0) / np.where(range_ > 0, range_, 1)


def _fill_lists(lists: _Lists, room: NDArray, k: int) -> NDArray[np.bool_]:
    """Mark who gets what, column by column, as long as there is room."""
    kept: NDArray[np.bool_] = np.zeros(lists.rows.shape, bool)
    for place in range(kept.shape[1]):
        short = kept.sum(axis=1) < k
        asking = np.flatnonzero(short & (lists.rows[:, place] >= 0))
        items = lists.items[asking, place]
        order = np.lexsort((-lists.scores[asking, place], items))
        asking, items = asking[order], items[order]
        before = np.arange(len(items)) - np.searchsorted(items, items)
        served = before < room[items]
        kept[asking[served], place] = True
        room = room - np.bincount(items[served], minlength=len(room))
    return kept


def _first_kept(rows: NDArray, kept: NDArray[np.bool_], k: int) -> NDArray[np.int64]:
    """Move what is kept to the front of each list, and cut it; -1 is no row."""
    order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
    first: NDArray[np.int64] = np.take_along_axis(
        np.where(kept, rows, -1), order, axis=1
    )
    return first


def _read_lists(recommendations: pd.DataFrame) -> tuple[_Lists, pd.Index]:
    """Check the table and arrange its rows by user and rank."""
    for name in (USER, ITEM, "score"):
        if name not in recommendations.columns:
            raise ValueError(
                f"recommendations has no column {name!r}: {list(recommendations)}"
            )
    users = pd.factorize(check_ids(recommendations[USER], USER))[0]
    items, ids = pd.factorize(check_ids(recommendations[ITEM], ITEM), sort=True)
    scores = read_scores(recommendations)
    _refuse_repeated(recommendations)
    ranks = ranks_in(recommendations)
    order = np.lexsort((users,) if ranks is None else (ranks, users))
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    places = np.arange(len(order)) - starts[users[order]]
    rows = np.full((len(counts), counts.max(initial=0)), -1)
    rows[users[order], places] = order
    there = rows >= 0
    padded = _Lists(
        rows,
        np.where(there, np.append(items, 0)[rows], 0),
        np.where(there, np.append(scores, 0.0)[rows], -np.inf),
    )
    return padded, pd.Index(ids)


def _refuse_repeated(recommendations: pd.DataFrame) -> None:
    twice = np.flatnonzero(recommendations.duplicated([USER, ITEM]))
    if len(twice):
        row = recommendations[[USER, ITEM]].iloc[twice[0]]
        user, item = plain(row[USER]), plain(row[ITEM])
        raise ValueError(
            f"user {user!r} has item {item!r} twice (row {twice[0]}): ask `recommend` "
            "for each user once"
        )


def _unit_vectors(vectors: pd.DataFrame, items: pd.Index) -> NDArray[np.float32]:
    known, values = read_vector_table(vectors, "item_vectors")
    places = known.get_indexer(items)
    _refuse_without(items, places < 0, "item_vectors has no row for item")
    chosen = values[places]
    _refuse_without(
        items, np.isnan(chosen).any(axis=1), "item_vectors holds NaN for item"
    )
    return unit_vectors(chosen).astype(np.float32)


def _refuse_without(items: pd.Index, lacking: NDArray[np.bool_], what: str) -> None:
    """Name the first item that has no vector."""
    if lacking.any():
        raise ValueError(
            f"{what} {plain(items[lacking.argmax()])!r} ({lacking.sum()} such items)"
        )


def _as_table(recommendations: pd.DataFrame, rows: NDArray) -> pd.DataFrame:
    """Rows of the recommendations, ranked anew; -1 is left out."""
    kept = rows >= 0
    table = recommendations[[USER, ITEM]].iloc[rows[kept]]
    return table.assign(
        rank=np.nonzero(kept)[1] + 1,
        score=recommendations["score"].to_numpy()[rows[kept]],
    ).reset_index(drop=True)
