"""What people who look at a store want to know, and programs that serve do not."""

from __future__ import annotations

from typing import Literal, NamedTuple

import pandas as pd

from skmmrec.feature_store.backends.base import (
    CATEGORY,
    ITEM_VERSION,
    MEMORY,
    MEMORY_WEIGHTS,
    NOTHING_ADDED,
    POPULARITY,
    Filter,
    Id,
    Snapshot,
    key_ids,
    parse_filter,
)
from skmmrec.interactions import USER

from ._online import OnlineRecommender
from ._ranking import top_k
from ._reader import checked_ids
from ._served import vectors_of
from ._types import Ids, SingleId


def stored_ids(online: OnlineRecommender, entity: Literal["user", "item"]) -> list[Id]:
    """List the ids of all users or items that the store holds, sorted."""
    served = online._served
    view = served.user_view if entity == "user" else served.item_view
    return sorted(key_ids(view.join_keys[0], served.backend.keys(view)).tolist())


def stored_history(online: OnlineRecommender, user: SingleId) -> list[Id]:
    """List the items that a user has met, oldest first; empty for an unknown user."""
    served = online._served
    [user_id] = checked_ids(served.user_view, [user])

    def read(snapshot: Snapshot) -> list[Id]:
        known = served.users([user_id], snapshot, served.items(snapshot).dim)
        return list(known[user_id].seen) if user_id in known else []

    return served.pinned(read)


class Names(NamedTuple):
    """What items of a store have besides the model's own vectors.

    Parameters
    ----------
    features : list of str
        What conditions may ask for.
    vectors : list of str
        Names of further vectors, as `similar_items` takes them.
    """

    features: list[str]
    vectors: list[str]


def stored_names(online: OnlineRecommender) -> Names:
    """Name the features and further vectors of the items that are served."""
    view = online._served.item_view
    own = ITEM_VERSION, MEMORY, MEMORY_WEIGHTS
    others = [f.name for f in view.features if f.name not in own]
    vectors = [name.removesuffix("_vector") for name in others if _is_vector(name)]
    short = {CATEGORY: "category", POPULARITY: "popularity"}
    return Names(
        [short.get(name, name) for name in others if not _is_vector(name)],
        [name for name in vectors if name != "item"],
    )


def _is_vector(name: str) -> bool:
    return name.endswith("_vector")


def recommend_after(
    online: OnlineRecommender,
    user: SingleId,
    liked: Ids,
    k: int = 10,
    *,
    where: Filter | None = None,
) -> pd.DataFrame:
    """Recommend as if a user had liked some more items; nothing is written.

    The list is what `OnlineRecommender.recommend` gives after a `record` of each.

    Parameters
    ----------
    online : OnlineRecommender
    user : id
        May be new.
    liked : array-like of shape (n,)
        Item ids, oldest first.
    k, where
        As in `OnlineRecommender.recommend`.

    Returns
    -------
    DataFrame
        Columns item_id, rank and score.

    Raises
    ------
    KeyError
        For an item without a vector.
    ValueError
        If a like could change nothing: users are not sums of their items' vectors,
        `online` has no model that computes them, and there is no memory of items, or
        the user is not known.
    """
    served = online._served
    where = None if where is None else parse_filter(where)
    [user_id] = checked_ids(served.user_view, [user])
    item_ids = checked_ids(served.item_view, liked)

    def read(snapshot: Snapshot) -> pd.DataFrame:
        table = served.items(snapshot)
        known = served.users([user_id], snapshot, table.dim)
        memory = served.memory(table, snapshot)
        if memory is None or not known:
            served.required_folder(snapshot, "a like shows after the next fit")
        moved = known.get(user_id) or served.newcomer(user_id, table.dim, snapshot)
        for item, vector in zip(item_ids, vectors_of(table, item_ids), strict=True):
            if item not in moved.seen:
                moved = served.after(user_id, moved, (item, vector), 1.0, snapshot)
        allowed = online._allowed(table, snapshot, None, None, where)
        added = NOTHING_ADDED if memory is None else memory.of(moved)
        return top_k(user_id, moved.vector, table, k, allowed, moved.seen, added=added)

    return served.pinned(read).drop(columns=USER)
