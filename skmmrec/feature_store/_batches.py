"""From what a recommender serves to the rows of its feature views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from skmmrec.feature_store.backends.base import (
    CATEGORY,
    HISTORY_SIZE,
    ITEM_VECTOR,
    ITEM_VERSION,
    ITEM_VIEW,
    MEMORY,
    MEMORY_WEIGHTS,
    POPULARITY,
    SEEN,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
    Batch,
    Column,
    Id,
    Rows,
)
from skmmrec.interactions import ITEM, USER, check_ids

from ._categories import category_texts
from ._fold_in import told_of_histories
from ._ids import check_encodable, places_in, plain_text
from ._item_features import item_columns, vector_columns
from ._memory_columns import (
    check_told_apart,
    disliked_column,
    exponent_of,
    memory_columns,
)
from ._types import CategoriesByItem, FurtherVectors, Vectors

# View, join key, vector and version.
USER_NAMES = (USER_VIEW, USER, USER_VECTOR, USER_VERSION)
ITEM_NAMES = (ITEM_VIEW, ITEM, ITEM_VECTOR, ITEM_VERSION)


class Further(NamedTuple):
    """What else is published of items, see `publish`, and which of it is known before.

    Attributes
    ----------
    features : DataFrame or None
    vectors : mapping of str to DataFrame, ItemCatalog or None
    known_features : mapping of str to str
        Kinds by the names of features that the view has.
    known_vectors : iterable of str
        Names of vector features that the view has.
    known_memory : bool
        Whether the views have a memory of items.
    """

    features: pd.DataFrame | None = None
    vectors: FurtherVectors | None = None
    known_features: Mapping[str, str] = MappingProxyType({})
    known_vectors: Iterable[str] = ()
    known_memory: bool = False

    def columns(self, item_ids: Sequence[Id]) -> tuple[Column, ...]:
        """Return the columns for some items."""
        scalars = item_columns(self.features, item_ids, self.known_features)
        return scalars + vector_columns(self.vectors, item_ids, self.known_vectors)


def further_kinds(items: Rows) -> dict[str, str]:
    """Return the kinds of the columns that `Further` made."""
    own = (POPULARITY, CATEGORY, MEMORY, MEMORY_WEIGHTS)
    return {name: kind for name, kind in items.kinds.items() if name not in own}


def serving_batches(
    vectors: Vectors,
    categories: CategoriesByItem | None = None,
    further: Further = Further(),  # noqa: B008 -- it is never changed
) -> tuple[Batch, Batch]:
    """Check serving vectors and sort them by id: users first, then items.

    Raises ValueError for no items, users and items of different widths, repeated ids, a
    vector that is not finite, a category of an unknown item, or a memory of other
    items; TypeError for ids that are neither whole numbers nor strings, or `categories`
    of another type.
    """
    user_ids, user_type, users, _ = _check(vectors.users, USER)
    item_ids, item_type, items, order = _check(vectors.items, ITEM)
    check_some(len(items), ITEM)
    if not len(users):
        users = np.empty((0, items.shape[1]), np.float32)
    check_widths(users.shape[1], items.shape[1])
    seen = _seen_lists(vectors.seen, user_ids, item_type)
    if item_type == "string":
        check_encodable(chain.from_iterable(seen), f"seen: {ITEM}")
    disliked = disliked_column(getattr(vectors, "disliked", None), user_ids, item_type)
    sizes = _history_sizes(vectors, user_ids, seen, disliked.values)
    told = told_of_histories(vectors)
    about_users: tuple[Column, ...] = (
        Column(SEEN, f"{item_type}_list", seen),
        Column(HISTORY_SIZE, "int64", sizes),
        disliked,
    )
    memory = getattr(vectors, "memory", None)
    exponent, remembered = None, tuple[Column, ...]()
    if memory is not None:
        exponent = exponent_of(memory, told.half_life)
    if memory is not None or further.known_memory:
        remembered = memory_columns(memory, item_ids, order, item_type)
    if memory is not None:
        check_told_apart(user_ids, *(column.values for column in about_users))
    about_items: tuple[Column, ...] = (
        Column(POPULARITY, "int64", _popularity(seen, item_ids)),
        Column(CATEGORY, "string", category_texts(categories, item_ids)),
        *remembered,
        *further.columns(item_ids),
    )
    version = str(vectors.version)
    check_encodable([version], "the model version")
    return (
        Batch(
            *USER_NAMES,
            user_type,
            version,
            user_ids,
            users,
            about_users,
            exponent=told.exponent,
            half_life=told.half_life,
        ),
        Batch(
            *ITEM_NAMES,
            item_type,
            version,
            item_ids,
            items,
            about_items,
            memory_exponent=exponent,
        ),
    )


def _history_sizes(
    vectors: Vectors,
    user_ids: list[Id],
    seen: list[list[Id]],
    disliked: Sequence[list[Id] | None],
) -> list[int]:
    """Count the items that each user's vector is the sum of.

    By default all that were seen and not disliked.
    """
    sizes = getattr(vectors, "history_sizes", None)
    if sizes is None:
        both = zip(seen, disliked, strict=True)
        return [len(items) - len(others or ()) for items, others in both]
    return [int(size) for size in sizes.reindex(user_ids, fill_value=0)]


def _popularity(seen: list[list[Id]], item_ids: list[Id]) -> list[int]:
    """Count the users that each item was met by."""
    n = len(item_ids)
    places, lengths = places_in(seen, item_ids)
    pairs = np.repeat(np.arange(len(seen)), lengths) * n + places
    # An item counts once, however often it was met.
    once = np.unique(pairs[places >= 0])
    counts: list[int] = np.bincount(once % n, minlength=n).tolist()
    return counts


def _check(
    frame: pd.DataFrame, name: str
) -> tuple[list[Id], str, np.ndarray, np.ndarray]:
    """Return ids in order, their type, their vectors, and the rows they had."""
    ids = check_ids(frame.index, name)
    id_type = id_type_of(ids, name)
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    listed = ids.tolist()
    if id_type == "string":
        check_encodable(listed, name)
    repeated = np.flatnonzero(ids[1:] == ids[:-1])
    if len(repeated):
        raise ValueError(
            f"{name} {listed[repeated[0]]!r:.100} has more than one vector"
        )
    matrix = np.ascontiguousarray(frame.to_numpy(np.float32)[order])
    odd = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(odd):
        raise ValueError(f"the vector of {name} {listed[odd[0]]!r:.100} is not finite")
    return listed, id_type, matrix, order


def check_some(n_items: int, name: str) -> None:
    """Refuse to publish nothing to recommend. Users may be none: all are forgotten."""
    if not n_items:
        raise ValueError(f"there is no {name} to publish")


def check_widths(n_of_users: int, n_of_items: int) -> None:
    """Refuse vectors without an inner product."""
    if n_of_users != n_of_items:
        raise ValueError(
            f"user vectors have {n_of_users} columns, item vectors {n_of_items}"
        )


def id_type_of(ids: np.ndarray, name: str) -> str:
    """Feast's name for the type of checked ids: "int64" or "string"."""
    if ids.dtype.kind == "f":
        raise TypeError(f"{name} must be whole numbers or strings, got floats")
    return "int64" if ids.dtype.kind == "i" else "string"


def _seen_lists(seen: pd.Series, user_ids: list[Id], item_type: str) -> list[list[Id]]:
    cast = int if item_type == "int64" else plain_text
    lists = seen.reindex(user_ids)
    return [
        [cast(item) for item in items]
        if isinstance(items, list | tuple | np.ndarray)
        else []
        for items in lists
    ]
