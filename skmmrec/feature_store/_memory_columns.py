"""A model's memory of items, checked and made into columns of its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skmmrec.feature_store.backends.base import (
    DISLIKED,
    MEMORY,
    MEMORY_WEIGHTS,
    NUMBERS,
    Column,
    Id,
)

from ._ids import plain_text

if TYPE_CHECKING:
    from skmmrec.recommender.memory import ItemMemory

# What takes the place of a deleted item in the lists of others, so that their weights
# still go with them. No item with a memory has this id.
DELETED: dict[str, Id] = {"int64": int(np.iinfo(np.int64).min), "string": ""}


def checked_number(given: Any, name: str) -> float:
    """Return a number; a ValueError names what gave it."""
    is_number = isinstance(given, int | float | np.number)
    if not is_number or isinstance(given, bool) or not math.isfinite(given):
        raise ValueError(f"{name} must be a finite number, got {given!r:.100}")
    return float(given)


def exponent_of(memory: ItemMemory, half_life: float | None) -> float:
    """Return the exponent of a memory; refuse one of another half-life than users."""
    if memory.half_life != half_life:
        raise ValueError(
            f"memory.half_life is {memory.half_life}, but history_half_life is "
            f"{half_life}: a store has one for both"
        )
    return checked_number(memory.exponent, "memory.exponent")


def memory_columns(
    memory: ItemMemory | None, ids: Sequence[Id], order: np.ndarray, id_type: str
) -> tuple[Column, ...]:
    """Return what items say of others.

    `memory` is by positions, of which `order` has that of each id; None: nothing is
    said. A ValueError says that it is of other items, or holds what is no position or
    not finite.
    """
    lists: list[Any] = [None] * len(ids)
    weights: list[Any] = [None] * len(ids)
    if memory is not None:
        _check(memory, ids, id_type)
        places = np.empty(len(ids), np.int64)
        places[order] = np.arange(len(ids))
        for row, position in enumerate(order.tolist()):
            neighbors = memory.neighbors[position]
            there = neighbors >= 0
            if there.any():
                lists[row] = [ids[n] for n in places[neighbors[there]].tolist()]
                weights[row] = memory.weights[position][there].astype(np.float32)
    return (
        Column(MEMORY, f"{id_type}_list", lists),
        Column(MEMORY_WEIGHTS, NUMBERS, weights),
    )


def _check(memory: ItemMemory, ids: Sequence[Id], id_type: str) -> None:
    neighbors, weights = memory.neighbors, memory.weights
    if neighbors.shape != weights.shape or len(neighbors) != len(ids):
        raise ValueError(
            f"memory must have a list for each of the {len(ids)} items, got neighbors "
            f"of shape {neighbors.shape} and weights of shape {weights.shape}"
        )
    if neighbors.size and int(neighbors.max()) >= len(ids):
        raise ValueError(
            f"memory speaks for item {int(neighbors.max())} of {len(ids)} items"
        )
    if not np.isfinite(weights).all():
        raise ValueError("memory has weights that are not finite")
    refuse_deleted(DELETED[id_type] in ids, id_type)


def refuse_deleted(is_there: bool, id_type: str) -> None:
    """Refuse an item whose id stands for deleted ones."""
    if is_there:
        raise ValueError(
            f"item_id {DELETED[id_type]!r} cannot be published with a memory of items, "
            "where it stands for deleted ones: give the item another id"
        )


def disliked_column(
    disliked: pd.Series | None, user_ids: list[Id], id_type: str
) -> Column:
    """Return what users have met and not liked; None where that is nothing."""
    cast = int if id_type == "int64" else plain_text
    given = pd.Series(dtype=object) if disliked is None else disliked
    known = dict(zip(given.index.tolist(), given.tolist(), strict=True))
    lists = [[cast(item) for item in known.get(user, ())] or None for user in user_ids]
    return Column(DISLIKED, f"{id_type}_list", lists)


def check_told_apart(
    user_ids: list[Id],
    seen: list[list[Id]],
    sizes: list[int],
    disliked: list[list[Id] | None],
) -> None:
    """Refuse users of whom nobody knows which items they have liked."""
    for user, met, size, others in zip(user_ids, seen, sizes, disliked, strict=True):
        if len(met) - len(others or ()) != size:
            raise not_told_apart(user, len(met), size, len(others or ()))


def not_told_apart(user: Id, n_met: int, size: int, n_disliked: int) -> ValueError:
    """Say that nobody knows what a user has liked."""
    return ValueError(
        f"the memory needs to know what user {user!r:.100} has liked: {n_met} items "
        f"were met, {size} are in the history, and {n_disliked} are said to be disliked"
    )
