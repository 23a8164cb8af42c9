"""Judge vectors on held-out likes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skmmrec._sklearn import clone
from skmmrec.catalog import Blocks, catalog_of
from skmmrec.interactions import (
    ITEM,
    TIME,
    USER,
    Keys,
    check_same_kind,
    plain,
    positions,
    read_interactions,
    read_strengths,
    warn_caller,
)
from skmmrec.metrics import (
    RankingEvaluation,
    parse_metric,
    ranked_relevance,
    recommend_exactly,
)
from skmmrec.model_selection._random import RandomHoldoutPerUser, UserKFold

# Below about as many users intervals are too narrow: of a metric that is
# 0 for most users, those of level 0.95 hold the mean in 92 of 100 cases with 30 users,
# and in 88 with 10.
_FEW_USERS = 30
# Folds of new items: as many as there are fifths, which is what each holds out. Of a
# single fifth, another draw may prefer another encoder: of two with as much noise, the
# interval of level 0.95 held the difference over all of 150 items in 55 to 85 of 100
# draws of 30, and in all where each item was held out once.
_FIFTHS = 5


@dataclass(frozen=True)
class Fold:
    """Likes to learn from, likes to find, and among which items.

    Attributes
    ----------
    train, test : DataFrame
        Columns user_id and item_id, both positions, and timestamp where it is known.
    among : ndarray or None
        Positions of the items that are ranked; None: all.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    among: NDArray | None


def read_likes(
    interactions: Any,
    y: Any,
    relevant_above: float,
    keys: Keys,
    ids: pd.Index,
) -> tuple[pd.DataFrame, pd.Index]:
    """Read who liked what, as positions of users and items; each pair counts once.

    Returns the columns user_id, item_id and, where it is known, timestamp; and the ids
    of the users. A ValueError names an item that is not in `ids`, or says that nothing
    is liked.
    """
    rows = read_interactions(interactions, keys)[0]
    strengths = read_strengths(y, rows)
    check_same_kind(rows.items, ids, keys.item[0])
    items = positions(ids, rows.items)
    _refuse_unknown(rows.items, items)
    codes, users = pd.factorize(pd.Index(rows.users), sort=True)
    likes = pd.DataFrame({USER: codes, ITEM: items})
    if rows.times is not None:
        likes[TIME] = rows.times
    if strengths is not None:
        likes = likes[strengths > relevant_above].copy()
    if not len(likes):
        raise ValueError(f"interactions hold no like: no y is above {relevant_above}")
    if TIME in likes:  # of a pair the first time counts, however the rows are sorted
        likes = likes.assign(
            **{TIME: likes.groupby([USER, ITEM])[TIME].transform("min")}
        )
    return likes.drop_duplicates([USER, ITEM], ignore_index=True), users


def _refuse_unknown(ids: NDArray, items: NDArray) -> None:
    unknown = np.flatnonzero(items < 0)
    if len(unknown):
        raise ValueError(
            f"interactions hold the item {plain(ids[unknown[0]])!r} in row "
            f"{unknown[0]}, which items lacks ({len(unknown)} such rows): leave these "
            "rows out"
        )


def shuffled(n_items: int, random_state: Any) -> NDArray[np.int64]:
    """Numbers of items in no order, so that ties favour none: ids often follow time."""
    return check_random_state(random_state).permutation(n_items)


def make_folds(
    likes: pd.DataFrame, warm: Any, cold: Any, random_state: Any
) -> dict[str, list[Fold]]:
    """Split the likes once for all candidates.

    Raises ValueError if there is no way to judge, or too few likes for one, and says
    which.
    """
    # At random also where times are known: on MovieLens the difference of two encoders
    # is known to 11 % of the metric, and to 55 % by each user's last like.
    usual = {
        "warm": RandomHoldoutPerUser(random_state=random_state),
        # Items take the place of users: all rows of each are in one fold.
        "cold": UserKFold(
            _FIFTHS, shuffle=True, user_key=ITEM, random_state=random_state
        ),
    }
    given: Mapping[str, Any] = {"warm": warm, "cold": cold}
    chosen = {
        protocol: usual[protocol] if _is_auto(splitter) else splitter
        for protocol, splitter in given.items()
        if splitter is not None
    }
    if not chosen:
        raise ValueError("warm and cold are both None: there is no way to judge")
    return {name: _folds_of(name, likes, way) for name, way in chosen.items()}


def _is_auto(splitter: Any) -> bool:
    return isinstance(splitter, str) and splitter == "auto"


def _folds_of(protocol: str, likes: pd.DataFrame, splitter: Any) -> list[Fold]:
    try:
        splits = list(splitter.split(likes))
    except ValueError as error:
        raise ValueError(f"{_cannot(protocol)} ({error})") from error
    folds = [
        _fold(likes.iloc[train], likes.iloc[test], protocol == "cold")
        for train, test in splits
    ]
    _check_enough(protocol, folds)
    return [fold for fold in folds if len(fold.test)]


def _fold(train: pd.DataFrame, test: pd.DataFrame, is_cold: bool) -> Fold:
    """Leave out users of whom nothing is known: content cannot tell their taste."""
    among = None
    if is_cold:
        among = np.setdiff1d(test[ITEM], train[ITEM])
        test = test[test[ITEM].isin(among)]
    return Fold(train, test[test[USER].isin(train[USER])], among)


def _check_enough(protocol: str, folds: list[Fold]) -> None:
    n_users = len({user for fold in folds for user in fold.test[USER]})
    # Differences of one user have no deviation.
    if n_users < 2:
        raise ValueError(f"{_cannot(protocol)} (users with such likes: {n_users})")
    if n_users < _FEW_USERS:
        warn_caller(
            f"{protocol}: only {n_users} users can be judged. Below {_FEW_USERS} the "
            "intervals are too narrow: bring more likes, or do not decide by them"
        )


def _cannot(protocol: str) -> str:
    return (
        f"{protocol}: too few likes to hold some out and know something of the same "
        f"users. Bring more, or leave it out by {protocol}=None"
    )


def judge_blocks(
    blocks: Blocks,
    numbers: NDArray[np.int64],
    folds: list[Fold],
    metric: str,
    recommender: Any,
) -> pd.Series:
    """Mean of a metric over the folds of each user, indexed by the user's position.

    `numbers` are what the recommender, unfitted and with a parameter `catalog`, knows
    the items of `blocks` as. The folds are the same for all candidates.
    """
    catalog = catalog_of(numbers, blocks)
    k = parse_metric(metric)[1]
    values = []
    for fold in folds:
        train, test = (_renamed(part, numbers) for part in (fold.train, fold.test))
        model = clone(recommender).set_params(catalog=catalog).fit(train)
        users = test[USER].unique()
        options = {} if fold.among is None else {"items": numbers[fold.among]}
        ranked = recommend_exactly(model, users, k, **options)
        judged = RankingEvaluation(ranked_relevance(ranked, test), [metric])
        values.append(judged.per_user[metric])
    return pd.concat(values).groupby(level=0).mean()


def _renamed(rows: pd.DataFrame, numbers: NDArray[np.int64]) -> pd.DataFrame:
    return rows.assign(**{ITEM: numbers[rows[ITEM]]})
