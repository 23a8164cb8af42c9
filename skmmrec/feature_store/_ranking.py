"""From stored vectors to ranked tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from skmmrec.feature_store.backends.base import (
    DISLIKED,
    HISTORY_SIZE,
    NOTHING_ADDED,
    SEEN,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
    Added,
    Features,
    Id,
    Place,
    VectorTable,
    has_numbers,
    nearest,
    parsed,
    parsed_vectors,
)
from skmmrec.interactions import ITEM, USER
from skmmrec.retrieval import ApproximateIndex

from ._approximate import nearest_in, nearest_with


class User(NamedTuple):
    """A user's vector, the items seen, and of how many of them it is the sum.

    `disliked` are those that are not in the history.
    """

    vector: np.ndarray
    seen: list[Id]
    history_size: int = 0
    disliked: Sequence[Id] = ()

    @property
    def liked(self) -> list[Id]:
        """Items of the history, oldest first."""
        others = set(self.disliked)
        if not others:
            return self.seen
        return [item for item in self.seen if item not in others]

    @property
    def history(self) -> list[Id]:
        """Items that the vector is made of, oldest first, where it is no sum.

        A publisher that does not tell what was disliked has put it before them in
        `seen`. As many of it then take the place of deleted items of the history, as
        nothing tells which was which.
        """
        liked = self.liked
        return liked[max(0, len(liked) - self.history_size) :]


def bias_user(length: int) -> User:
    """Make a user whose scores are the items' biases, their last dimension."""
    vector = np.zeros(length, dtype=np.float32)
    vector[-1:] = 1.0
    return User(vector, [])


def users_of(
    ids: list[Id], rows: Sequence[Features], version: str | None, length: int | None
) -> dict[Id, User]:
    """Decode stored rows of users, those of one model version.

    `length` is that of their vectors, None if there are no items to compare with.

    Raises DamagedStoreError when a value cannot be read, or a vector has another
    length.
    """
    known = {
        user: row
        for user, row in zip(ids, rows, strict=True)
        if has_numbers(row.get(USER_VECTOR))
        and _parsed(user, row, USER_VERSION, str) == version
    }
    named = list(known)
    vectors = parsed_vectors(
        [row[USER_VECTOR] for row in known.values()],
        lambda row, why: _place(USER_VECTOR).damaged(named[row], why),
        length,
    )
    return {
        user: _user(user, vector, row)
        for (user, row), vector in zip(known.items(), vectors, strict=True)
    }


def _user(user: Id, vector: np.ndarray, row: Features) -> User:
    seen = _parsed(user, row, SEEN, list) or []
    size = _parsed(user, row, HISTORY_SIZE, int)
    disliked = _parsed(user, row, DISLIKED, list) or ()
    return User(vector, seen, len(seen) if size is None else size, disliked)


def _parsed(user: Id, row: Features, feature: str, kind: type) -> Any:
    return parsed(_place(feature), user, row.get(feature, b""), kind)


def _place(feature: str) -> Place:
    return Place(USER_VIEW, USER, feature)


def after_event(user: User, item: Id, y: float, moved: np.ndarray | None) -> User:
    """Return a user who has met one more item.

    `item` was met, and liked if `y` is above 0. `moved` is the vector with the item in
    the history; None: the one before.
    """
    seen = [*user.seen, item]
    if y > 0:
        vector = user.vector if moved is None else moved
        return user._replace(
            vector=vector, seen=seen, history_size=user.history_size + 1
        )
    return user._replace(seen=seen, disliked=[*user.disliked, item])


def both(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    """Intersect two masks, None being all."""
    if first is None or second is None:
        return second if first is None else first
    mask: np.ndarray = first & second
    return mask


def rows_mask(items: VectorTable, ids: Iterable[Id] | None) -> np.ndarray | None:
    """Mark the rows of some items (None: all)."""
    if ids is None:
        return None
    mask = np.zeros(len(items.ids), dtype=bool)
    mask[positions(items.ids, list(ids))] = True
    return mask


def positions(sorted_ids: np.ndarray, ids: Sequence[Id]) -> np.ndarray:
    """Return the rows of the ids that are present."""
    rows = rows_of_ids(sorted_ids, ids)
    found: np.ndarray = rows[rows >= 0]
    return found


def rows_of_ids(sorted_ids: np.ndarray, ids: Sequence[Id]) -> np.ndarray:
    """Return the row of each id; -1 for one that is not there."""
    if not len(sorted_ids):
        return np.full(len(ids), -1)
    wanted = np.array(ids, dtype=sorted_ids.dtype)
    rows = np.minimum(np.searchsorted(sorted_ids, wanted), len(sorted_ids) - 1)
    found: np.ndarray = np.where(sorted_ids[rows] == wanted, rows, -1)
    return found


def top_k(
    user_id: Id | None,
    vector: np.ndarray,
    items: VectorTable,
    k: int,
    allowed: np.ndarray | None,
    seen: Sequence[Id],
    graph: ApproximateIndex | None = None,
    added: Added = NOTHING_ADDED,
) -> pd.DataFrame:
    """Rank the allowed items for one user, those seen left out.

    A `graph` is searched in the place of all items, not in that of some. `added` is
    what the memory of items adds.
    """
    if graph is not None and allowed is None:
        hidden = positions(items.ids, seen) if len(seen) else np.empty(0, np.int64)
        if len(added.rows):
            rows, distances = nearest_with(graph, items, vector, k, hidden, added)
        else:
            rows, distances = nearest_in(graph, vector, k, hidden)
        return ranked_frame([user_id] * len(rows), items, rows, -distances)
    if len(seen):
        unseen = np.ones(len(items.ids), dtype=bool)
        unseen[positions(items.ids, seen)] = False
        allowed = both(allowed, unseen)
    rows, distances = nearest(items, vector, k, "inner_product", allowed, added)
    return ranked_frame([user_id] * len(rows), items, rows, -distances)


def ranked_frame(
    users: Sequence[Id | None],
    items: VectorTable,
    rows: ArrayLike,
    scores: np.ndarray | Sequence[float] = (),
) -> pd.DataFrame:
    """Build the table that `recommend` returns."""
    return pd.DataFrame(
        {
            USER: users,
            ITEM: items.ids[np.asarray(rows, dtype=np.int64)],
            "rank": np.arange(1, len(users) + 1, dtype=np.int64),
            "score": np.asarray(scores, dtype=np.float32),
        }
    )
