"""Properties of recommendations beyond their accuracy."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import (
    ITEM,
    USER,
    check_ids,
    check_same_kind,
    id_table,
    read_vector_table,
    take_over,
    unit_vectors,
)
from skmmrec.metrics._groups import GroupScores, score_by


@overload
def catalog_coverage(
    recommendations: pd.DataFrame, items: ArrayLike, *, by: None = None
) -> float: ...
@overload
def catalog_coverage(
    recommendations: pd.DataFrame, items: ArrayLike, *, by: pd.Series
) -> GroupScores: ...
def catalog_coverage(
    recommendations: pd.DataFrame, items: ArrayLike, *, by: pd.Series | None = None
) -> float | GroupScores:
    """Share of the catalogue that is recommended to anybody.

    Parameters
    ----------
    recommendations : DataFrame
        As returned by `recommend`, with the column item_id.
    items : array-like of shape (n_items,)
        Ids of the whole catalogue.
    by : Series, default=None
        Group of each user or each item; its index is named user_id or item_id.

    Returns
    -------
    float
        From 0 to 1.
        With `by`, the means of the groups and the gap between them.

    Raises
    ------
    ValueError
        If an id is missing, occurs twice in `items`, or is recommended without being
        in the catalogue.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.metrics import catalog_coverage
    >>> recommendations = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7]})
    >>> catalog_coverage(recommendations, [7, 8, 9, 10])
    0.5
    """
    if by is not None:
        return score_by(catalog_coverage, recommendations, items, by)
    return float((count_exposure(recommendations, items) > 0).mean())


@overload
def gini_exposure(
    recommendations: pd.DataFrame, items: ArrayLike, *, by: None = None
) -> float: ...
@overload
def gini_exposure(
    recommendations: pd.DataFrame, items: ArrayLike, *, by: pd.Series
) -> GroupScores: ...
def gini_exposure(
    recommendations: pd.DataFrame, items: ArrayLike, *, by: pd.Series | None = None
) -> float | GroupScores:
    """Gini coefficient of how often the catalogue's items are recommended.

    Parameters
    ----------
    recommendations : DataFrame
        As returned by `recommend`, with the column item_id.
    items : array-like of shape (n_items,)
        Ids of the whole catalogue.
    by : Series, default=None
        Group of each user or each item; its index is named user_id or item_id.

    Returns
    -------
    float
        0 if every item is recommended equally often, up to 1 - 1 / n_items if only one
        item is ever recommended.
        With `by`, the means of the groups and the gap between them.

    Raises
    ------
    ValueError
        If an id is missing, occurs twice in `items`, or is recommended without being
        in the catalogue, or if nothing is recommended.

    Notes
    -----
    A list that is there twice, rank by rank, as of a user who was asked for twice,
    counts once.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.metrics import gini_exposure
    >>> recommendations = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 7]})
    >>> gini_exposure(recommendations, [7, 8, 9, 10])
    0.5833333333333334
    """
    if by is not None:
        return score_by(gini_exposure, recommendations, items, by)
    return gini(np.sort(count_exposure(recommendations, items)))


@overload
def novelty(
    recommendations: pd.DataFrame, interactions: pd.DataFrame, *, by: None = None
) -> pd.Series: ...
@overload
def novelty(
    recommendations: pd.DataFrame, interactions: pd.DataFrame, *, by: pd.Series
) -> GroupScores: ...
def novelty(
    recommendations: pd.DataFrame,
    interactions: pd.DataFrame,
    *,
    by: pd.Series | None = None,
) -> pd.Series | GroupScores:
    """Mean self-information of each user's recommended items.

    Parameters
    ----------
    recommendations : DataFrame
        As returned by `recommend`, with the columns user_id and item_id.
    interactions : DataFrame
        Training interactions: columns user_id and item_id.
    by : Series, default=None
        Group of each user or each item; its index is named user_id or item_id.

    Returns
    -------
    Series of length n_users
        Bits, indexed by user id: the mean of -log2 of the share of users who interacted
        with the item. An item without interactions counts as having one user.
        With `by`, the means of the groups and the gap between them.

    Raises
    ------
    ValueError
        If a column or id is missing, or there are no interactions.

    References
    ----------
    T. Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender
    systems", PNAS 107(10), 2010.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.metrics import novelty
    >>> met = pd.DataFrame({"user_id": [1, 2, 3, 4], "item_id": [7, 7, 8, 8]})
    >>> novelty(pd.DataFrame({"user_id": [1, 1], "item_id": [8, 9]}), met)
    user_id
    1    1.5
    Name: novelty, dtype: float64
    """
    if by is not None:
        return score_by(novelty, recommendations, interactions, by)
    pairs = _distinct_pairs(interactions)
    popularity, n_users = pairs[ITEM].value_counts(), pairs[USER].nunique()
    offered = _ids(recommendations, ITEM)
    check_same_kind(offered, popularity.index, ITEM)
    met_by = popularity.reindex(offered).fillna(1).to_numpy()
    return _mean_by_user(recommendations, -np.log2(met_by / n_users), "novelty")


@overload
def popularity_bias(
    recommendations: pd.DataFrame, interactions: pd.DataFrame, *, by: None = None
) -> pd.Series: ...
@overload
def popularity_bias(
    recommendations: pd.DataFrame, interactions: pd.DataFrame, *, by: pd.Series
) -> GroupScores: ...
def popularity_bias(
    recommendations: pd.DataFrame,
    interactions: pd.DataFrame,
    *,
    by: pd.Series | None = None,
) -> pd.Series | GroupScores:
    """How much more popular users' recommendations are than their own items.

    Parameters
    ----------
    recommendations : DataFrame
        As returned by `recommend`, with the columns user_id and item_id.
    interactions : DataFrame
        Training interactions: columns user_id and item_id.
    by : Series, default=None
        Group of each user or each item; its index is named user_id or item_id.

    Returns
    -------
    Series of length n_users
        Indexed by user id: mean popularity of the recommended items over that of the
        user's own items, each once, minus 1. 0 is unbiased, 1 means twice as popular;
        NaN for a user without interactions.
        With `by`, the means of the groups and the gap between them.

    Raises
    ------
    ValueError
        If a column or id is missing, or there are no interactions.

    References
    ----------
    H. Abdollahpouri, M. Mansoury, R. Burke and B. Mobasher, "The unfairness of
    popularity bias in recommendation", RMSE workshop at RecSys 2019.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.metrics import popularity_bias
    >>> met = pd.DataFrame({"user_id": [1, 2, 3, 4], "item_id": [7, 8, 8, 8]})
    >>> popularity_bias(pd.DataFrame({"user_id": [1], "item_id": [8]}), met)
    user_id
    1    2.0
    Name: popularity_bias, dtype: float64
    """
    if by is not None:
        return score_by(popularity_bias, recommendations, interactions, by)
    pairs = _distinct_pairs(interactions)
    popularity = pairs[ITEM].value_counts()
    items = _ids(recommendations, ITEM)
    check_same_kind(items, popularity.index, ITEM)
    offered = popularity.reindex(items).fillna(0).to_numpy()
    met = popularity[pairs[ITEM]].to_numpy()
    own = _mean_by_user(pairs, met, "popularity_bias")
    shown = _mean_by_user(recommendations, offered, "popularity_bias")
    return shown / own.reindex(shown.index) - 1


@overload
def intra_list_diversity(
    recommendations: pd.DataFrame, vectors: pd.DataFrame, *, by: None = None
) -> pd.Series: ...
@overload
def intra_list_diversity(
    recommendations: pd.DataFrame, vectors: pd.DataFrame, *, by: pd.Series
) -> GroupScores: ...
def intra_list_diversity(
    recommendations: pd.DataFrame, vectors: pd.DataFrame, *, by: pd.Series | None = None
) -> pd.Series | GroupScores:
    """Mean cosine distance between the items of each user's list.

    Parameters
    ----------
    recommendations : DataFrame
        As returned by `recommend`, with the columns user_id and item_id.
    vectors : DataFrame of shape (n_items, dim)
        Vectors indexed by item id, for instance of one modality. Items with NaN, which
        lack the modality, are ignored.
    by : Series, default=None
        Group of each user or each item; its index is named user_id or item_id.

    Returns
    -------
    Series of length n_users
        Indexed by user id, from 0 (all the same direction) to 2; NaN for a list with
        fewer than two vectors. A zero vector has distance 1 from all others.
        With `by`, the means of the groups and the gap between them.

    Raises
    ------
    ValueError
        If a column or id is missing, or `vectors` lacks a recommended item, has one
        twice, or holds infinity or what is no number.
    TypeError
        If `vectors` is no DataFrame of pandas.

    Notes
    -----
    Computed from the sum of the unit vectors of a list, so that time and memory are
    linear in the length of the lists. A list that is there twice, rank by rank, as of a
    user who was asked for twice, counts once.

    References
    ----------
    C.-N. Ziegler, S. M. McNee, J. A. Konstan and G. Lausen, "Improving recommendation
    lists through topic diversification", WWW 2005.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.metrics import intra_list_diversity
    >>> vectors = pd.DataFrame([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]], index=[7, 8, 9])
    >>> recommendations = pd.DataFrame(
    ...     {"user_id": [1, 1, 2, 2], "item_id": [7, 8, 7, 9]}
    ... )
    >>> intra_list_diversity(recommendations, vectors)
    user_id
    1    1.0
    2    0.0
    Name: intra_list_diversity, dtype: float64
    """
    if by is not None:
        return score_by(intra_list_diversity, recommendations, vectors, by)
    recommendations = read_lists(recommendations)
    known_ids, values = read_vector_table(vectors, "vectors")
    rows = _find(_ids(recommendations, ITEM), known_ids, "vectors")
    units, known = _unit_rows(values)
    codes, users = pd.factorize(_ids(recommendations, USER), sort=True)
    codes, rows = codes[known[rows]], rows[known[rows]]
    sums = _sum_rows(units, rows, codes, len(users))
    own = np.bincount(codes, (units**2).sum(axis=1)[rows], minlength=len(users))
    n = np.bincount(codes, minlength=len(users))
    pairs = n * (n - 1)
    similarity = np.divide(
        (sums**2).sum(axis=1) - own, pairs, out=np.full(len(n), np.nan), where=pairs > 0
    )
    return pd.Series(
        np.maximum(1 - similarity, 0.0),
        pd.Index(users, name=USER),
        name="intra_list_diversity",
    )


def _sum_rows(units: NDArray, rows: NDArray, codes: NDArray, n: int) -> NDArray:
    """Sum the rows of `units` for each code, by a sparse matrix of ones."""
    from scipy.sparse import csr_matrix

    ones = csr_matrix((np.ones(len(rows)), (codes, rows)), shape=(n, len(units)))
    return ones @ units


def _unit_rows(vectors: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    """Rows of length 1, however long they were, and which are there at all."""
    known = ~np.isnan(vectors).any(axis=1)
    there = np.where(known[:, None], vectors, 0.0)
    return unit_vectors(there), known


def gini(exposure: NDArray[np.int64]) -> float:
    """Return the Gini coefficient of ascending counts."""
    n, total = len(exposure), exposure.sum()
    if total == 0:
        raise ValueError("recommendations are empty")
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float((weights * exposure).sum() / (n * total))


def count_exposure(
    recommendations: pd.DataFrame, items: ArrayLike
) -> NDArray[np.int64]:
    """Count how often each item of the catalogue is recommended.

    `items` are the ids of the whole catalogue, in whose order the counts are.
    """
    catalog = pd.Index(check_ids(items, "items"))
    if catalog.has_duplicates:
        raise ValueError(
            f"items has {catalog[catalog.duplicated()].tolist()[0]!r} twice"
        )
    rows = _find(_ids(read_lists(recommendations), ITEM), catalog, "items")
    return np.bincount(rows, minlength=len(catalog))


def read_lists(recommendations: pd.DataFrame) -> pd.DataFrame:
    """Read lists; one that is there twice, rank by rank, counts once.

    So it is where a user was asked for twice. Without ranks, all rows are one list.
    """
    table, names = id_table(recommendations, "recommendations"), [USER, "rank", ITEM]
    return table.drop_duplicates(names) if {*names} <= {*table.columns} else table


def _distinct_pairs(interactions: pd.DataFrame) -> pd.DataFrame:
    """Pairs of users and items, each once, however often they met."""
    pairs = pd.DataFrame(
        {name: _ids(interactions, name, "interactions") for name in (USER, ITEM)}
    ).drop_duplicates()
    if not len(pairs):
        raise ValueError("interactions has no rows: popularity is unknown")
    return pairs


def _mean_by_user(table: pd.DataFrame, values: NDArray, name: str) -> pd.Series:
    users = pd.Index(_ids(table, USER), name=USER)
    return pd.Series(values, users, name=name, dtype=float).groupby(level=0).mean()


def _ids(table: pd.DataFrame, column: str, name: str = "recommendations") -> Any:
    table = take_over(table, name)
    if column not in table.columns:
        raise ValueError(
            f"{name} has no column {column!r}; it has {list(table.columns)}: rename "
            f"the one with these ids to {column!r}"
        )
    return check_ids(table[column], f"{name}[{column!r}]")


def _find(ids: NDArray, index: pd.Index, name: str) -> NDArray[np.int64]:
    rows = index.get_indexer(ids)
    if (rows < 0).any():
        raise ValueError(
            f"{name} lacks the recommended item {ids[rows < 0].tolist()[0]!r}"
        )
    return rows
