"""Metrics per group of users or items, and the gap between groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import (
    ITEM,
    USER,
    as_frame,
    check_ids,
    check_series,
    groups_of,
    id_table,
)


class GroupScores(NamedTuple):
    """Metrics per group.

    Attributes
    ----------
    scores : DataFrame of shape (n_groups, 1 + n_metrics)
        Number of users and mean of each metric, indexed by group.
    gaps : Series of length n_metrics
        Largest minus smallest mean of each metric.
    """

    scores: pd.DataFrame
    gaps: pd.Series


def group_scores(rows: Mapping[Any, Mapping[str, float]]) -> GroupScores:
    """Put the groups' metrics into a table, with the gaps between groups.

    `rows` have ``n_users`` and the metrics of each group.
    """
    scores = pd.DataFrame(rows).T.astype({"n_users": int})
    means = scores.drop(columns="n_users")
    return GroupScores(scores, means.max() - means.min())


def kind_of(groups: pd.Series) -> str:
    """Return whether groups are of users or of items, by the name of the index.

    Raises TypeError if they are no Series of pandas, and ValueError if the index has
    another name.
    """
    check_series(groups, "groups")
    name = groups.index.name
    if name not in (USER, ITEM):
        raise ValueError(
            f"the index of groups must be named {USER!r} or {ITEM!r}, got {name!r}: "
            f"give groups.rename_axis({USER!r}) or groups.rename_axis({ITEM!r})"
        )
    return str(name)


def places_by_group(groups: pd.Series) -> Iterator[tuple[Any, NDArray[np.intp]]]:
    """Yield each group and the places of its members, the groups in their order.

    Names of several types have an order, too: numbers come before texts.
    """
    codes, names = pd.factorize(groups, sort=True)
    for code, name in enumerate(names):
        yield name, np.flatnonzero(codes == code)


def score_by(
    metric: Callable[[pd.DataFrame, Any], Any],
    recommendations: pd.DataFrame,
    other: Any,
    by: pd.Series,
) -> GroupScores:
    """Compute a metric of recommendations for each group separately.

    ``metric(recommendations, other)`` returns a number, or a Series with a number per
    user. Recommendations are split by their user_id or item_id, of which `by` says the
    group. If `other` is not a DataFrame, it is the ids of the catalogue, which groups
    of items split as well. A group without recommendations has NaN, or a coverage of 0.
    """
    kind = kind_of(by)
    recommendations = id_table(recommendations, "recommendations")
    for column in (USER, ITEM):
        if column not in recommendations:
            raise ValueError(f"recommendations has no column {column!r}")
    split = kind == ITEM and as_frame(other) is None
    ids = pd.Index(recommendations[kind].unique())
    groups = groups_of(pd.Index(check_ids(other, "items")) if split else ids, by)
    rows = {}
    for name, places in places_by_group(groups):
        members = groups.index[places]
        part = recommendations[recommendations[kind].isin(members)]
        value = _mean(metric, part, members if split else other)
        rows[name] = {"n_users": part[USER].nunique(), metric.__name__: value}
    return group_scores(rows)


def _mean(metric: Callable, part: pd.DataFrame, other: Any) -> float:
    if not len(part):
        return 0.0 if metric.__name__ == "catalog_coverage" else np.nan
    return float(pd.Series(metric(part, other)).mean())
