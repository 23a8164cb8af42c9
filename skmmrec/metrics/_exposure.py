"""How the places of lists are shared between groups of items."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import (
    ITEM,
    USER,
    check_by_id,
    check_ids,
    check_ranks,
    check_same_kind,
    groups_of,
    plain,
)
from skmmrec.metrics._beyond import read_lists


def group_exposure(
    recommendations: pd.DataFrame,
    groups: pd.Series,
    *,
    merit: pd.Series | None = None,
) -> pd.DataFrame:
    r"""Compare the exposure of groups of items with what they would have by merit.

    Parameters
    ----------
    recommendations : DataFrame
        As returned by `recommend`: user_id, item_id and, optionally, rank. Without
        rank, the rows of a user must be sorted, best first.
    groups : Series of length n_items
        Group of each item of the catalogue, such as that of its author, by item id.
    merit : Series, default=None
        What each item deserves, by item id: numbers of at least 0, such as likes, of
        the items of `groups`, where an item without one has 0. None: all items
        deserve the same.

    Returns
    -------
    DataFrame of shape (n_groups, 4)
        Indexed by group: ``n_items``, the group's share of all ``exposure`` and of all
        ``merit``, and their ``ratio``, which is 1 for a group that is shown as much as
        it deserves; NaN for one that deserves nothing.

    Raises
    ------
    TypeError
        If `groups` or `merit` is no Series of pandas.
    ValueError
        If a column, an id or a rank is missing, a rank is below 1, nothing is
        recommended, a recommended item or one with merit has no group, or merit is
        negative, not finite or all 0.

    See Also
    --------
    skmmrec.retrieval.cap_exposure : Lists in which no item is shown too often.

    Notes
    -----
    An item at rank r has an exposure of :math:`1 / \log_2(1 + r)`, the discount of the
    NDCG, as fewer users look at each further place [1]_. A list that is there twice,
    rank by rank, as of a user who was asked for twice, counts once. Likes that were
    given under an older recommender tell of its choices too: taken as merit, they hide
    its bias.

    References
    ----------
    .. [1] A. Singh and T. Joachims, "Fairness of exposure in rankings", KDD 2018.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.metrics import group_exposure
    >>> recommendations = pd.DataFrame(
    ...     {"user_id": [1, 1, 2, 2], "item_id": ["a", "b", "a", "c"]}
    ... )
    >>> ids = pd.Index(list("abcd"), name="item_id")
    >>> groups = pd.Series(["old", "new", "new", "new"], index=ids)
    >>> group_exposure(recommendations, groups).round(2)
         n_items  exposure  merit  ratio
    new        3      0.39   0.75   0.52
    old        1      0.61   0.25   2.45
    """
    check_by_id(groups, "groups")
    if groups.index.name == USER:
        raise ValueError(f"groups must be of items, got those of {USER!r}")
    shown = _exposure(read_lists(recommendations))
    catalog = pd.Index(check_ids(groups.index, "the index of groups"))
    check_same_kind(shown.index, catalog, ITEM)
    group = groups_of(catalog.union(shown.index, sort=False), groups)
    deserved = pd.Series(1.0, catalog) if merit is None else _merit(merit, catalog)
    table = pd.DataFrame(
        {
            "n_items": group.groupby(group, observed=True).size(),
            "exposure": _shares(shown, group),
            "merit": _shares(deserved, group),
        }
    ).rename_axis(groups.name)
    return table.assign(ratio=table["exposure"] / table["merit"].replace(0.0, np.nan))


def _exposure(recommendations: pd.DataFrame) -> pd.Series:
    """Sum the exposure of each item."""
    for column in (USER, ITEM):
        if column not in recommendations:
            raise ValueError(f"recommendations has no column {column!r}")
    if not len(recommendations):
        raise ValueError("recommendations are empty")
    discount = 1 / np.log2(1 + _ranks(recommendations))
    items = check_ids(recommendations[ITEM], ITEM)
    return pd.Series(discount, pd.Index(items)).groupby(level=0).sum()


def _ranks(recommendations: pd.DataFrame) -> NDArray[np.float64]:
    """Read ranks; where there are none, count places from 1."""
    if "rank" in recommendations:
        ranks = check_ranks(recommendations["rank"]).astype(np.float64)
        if (ranks < 1).any():
            raise ValueError(f"rank counts from 1, got {ranks[ranks < 1][0]:g}")
        return ranks
    places = recommendations.groupby(USER, sort=False).cumcount()
    return places.to_numpy(dtype=np.float64) + 1


def _merit(merit: pd.Series, catalog: pd.Index) -> pd.Series:
    check_by_id(merit, "merit")
    ids = pd.Index(check_ids(merit.index, "the index of merit"))
    check_same_kind(ids, catalog, ITEM)
    if len(unknown := ids.difference(catalog)):
        raise ValueError(f"merit has item {plain(unknown[0])!r}, which groups lacks")
    if ids.has_duplicates:
        twice = plain(ids[ids.duplicated()][0])
        raise ValueError(f"merit has {twice!r} more than once")
    values = merit.to_numpy(dtype=np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(
            f"merit must be finite and at least 0, got {values[bad][0]} for "
            f"{plain(ids[bad][0])!r}"
        )
    if not values.any():
        raise ValueError("merit is 0 for all items")
    return pd.Series(values, ids)


def _shares(values: pd.Series, group: pd.Series) -> pd.Series:
    """Sum values by group, as shares of all."""
    sums = values.groupby(group.reindex(values.index), observed=True).sum()
    return (sums / sums.sum()).reindex(group.unique(), fill_value=0.0)
