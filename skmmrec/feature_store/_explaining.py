"""What each item of a history adds to a score, from the store alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from skmmrec.feature_store.backends.base import (
    Id,
    Snapshot,
    UnknownIdError,
    VectorTable,
)
from skmmrec.interactions import ITEM, USER

from ._fold_in import HistorySum, is_sum
from ._memory import StoredMemory
from ._ranking import User, positions
from ._reader import checked_ids
from ._served import ServedModel, required_history_sum, rows_of, vectors_of
from ._types import Ids

_ADVICE = "ask skmmrec.inspection with the model, or serve with it"


class OnlineExplainer:
    """The part of `OnlineRecommender` that says why."""

    _served: ServedModel

    def history_contributions(
        self, users: Ids, items: Ids, *, max_rows: int | None = None
    ) -> pd.DataFrame:
        """Split the scores of pairs over the items of the users' histories.

        Parameters
        ----------
        users, items : array-like of shape (n,), or one id
            The pairs. One id goes with all of the others.
        max_rows : int, optional
            The most rows of the table. More of them are an error, before they take time
            and memory. None: as many as there are.

        Returns
        -------
        DataFrame
            Columns user_id, item_id, met and contribution (float64), as from
            `skmmrec.inspection.history_contributions`: for each pair, one row for each
            item of the history, oldest first, and a last one, whose ``met`` is None,
            with what no single item adds: the bias of the item. What the memory of
            items adds is part of what each of them does. The contributions of a pair
            add up to the score that `recommend` gives.

        Raises
        ------
        KeyError
            For a user or an item without a vector.
        TypeError
            For ids of another type than the stored ones.
        ValueError
            For `users` and `items` of different lengths, for more than `max_rows`, when
            the users of the served model are not sums of their items' vectors, or when
            the store does not tell which items a user's vector is the sum of, as some
            of them have been deleted, or nothing says which of those met were disliked.
        """
        served = self._served
        user_ids, item_ids = _pairs(
            checked_ids(served.user_view, users), checked_ids(served.item_view, items)
        )

        def read(snapshot: Snapshot) -> pd.DataFrame:
            table = served.items(snapshot)
            history_sum = required_history_sum(
                snapshot, f"their scores cannot be split from the store; {_ADVICE}"
            )
            found = served.users(list(dict.fromkeys(user_ids)), snapshot, table.dim)
            _check_size(user_ids, found, max_rows)
            memory = served.memory(table, snapshot)
            split = _Split(table, history_sum, found, memory)
            parts = [*map(split.pair, user_ids, item_ids)]
            contributions = _joined(parts)
            contributions.attrs["model_version"] = table.version
            return contributions

        return served.pinned(read)


def _pairs(users: list[Id], items: list[Id]) -> tuple[list[Id], list[Id]]:
    """Repeat a single id for all of the others."""
    n = max(len(users), len(items)) if users and items else 0
    users, items = (ids * n if len(ids) == 1 else ids for ids in (users, items))
    if len(users) != len(items):
        raise ValueError(
            f"users and items must be as many, got {len(users)} and {len(items)}"
        )
    return users, items


def _check_size(users: list[Id], found: dict[Id, User], most: int | None) -> None:
    """Refuse pairs with more in all histories than is wanted."""
    if most is None:
        return
    sizes = {user: len(known.liked) + 1 for user, known in found.items()}
    n = sum(sizes.get(user, 0) for user in users)
    if n > most:
        raise ValueError(f"max_rows is {most}, and the histories have {n}")


class _Pair(NamedTuple):
    """What each item of a history adds to one score, and last what no item adds."""

    user: Id
    item: Id
    met: list[Id | None]
    contributions: np.ndarray


class _Split:
    """Scores of one publication, as sums over what users have met."""

    def __init__(
        self,
        table: VectorTable,
        history_sum: HistorySum,
        users: dict[Id, User],
        memory: StoredMemory | None,
    ) -> None:
        self._table, self._sum, self._users = table, history_sum, users
        self._memory = memory
        self._added: dict[Id, np.ndarray] = {}

    def pair(self, user: Id, item: Id) -> _Pair:
        """Split the score of one pair."""
        known = self._users.get(user)
        if known is None:
            raise UnknownIdError(
                f"no vector of model version {self._table.version!r} for {USER} "
                f"{user!r:.100}"
            )
        if user not in self._added:
            self._added[user] = self._weighted(user, known)
        vector = vectors_of(self._table, [item])[0].astype(np.float64)
        added = self._added[user] @ vector
        rest = known.vector.astype(np.float64) @ vector - added.sum()
        liked = known.liked
        if self._memory is not None:
            [row] = rows_of(self._table, [item])
            added = added + self._memory.split(liked, known.history_size, int(row))
        return _Pair(user, item, [*liked, None], np.append(added, rest))

    def _weighted(self, user: Id, known: User) -> np.ndarray:
        """Return what each item met adds to the user's vector, bias left out."""
        liked, n = known.liked, len(known.liked)
        if not n:
            return np.zeros((0, self._table.dim))
        rows = positions(self._table.ids, liked)
        if n == known.history_size == len(rows):
            vectors = self._table.matrix[rows].astype(np.float64)
            vectors[:, -1] = 0
            added: np.ndarray = self._sum.weights(n)[:, None] * vectors
            if is_sum(known.vector[:-1], added.sum(axis=0)[:-1]):
                return added
        raise ValueError(
            f"the store does not tell which of the {len(known.seen)} items that user "
            f"{user!r:.100} has met its vector is the sum of, as some are deleted or "
            f"were disliked unsaid; {_ADVICE}"
        )


def _joined(parts: list[_Pair]) -> pd.DataFrame:
    """Return one table of all pairs; ids keep the types that they are stored in."""
    sizes = [len(part.contributions) for part in parts]
    return pd.DataFrame(
        {
            USER: _repeated([part.user for part in parts], sizes),
            ITEM: _repeated([part.item for part in parts], sizes),
            "met": pd.Series([m for part in parts for m in part.met], dtype=object),
            "contribution": np.concatenate(
                [np.zeros(0), *(part.contributions for part in parts)]
            ),
        }
    )


def _repeated(ids: list[Id], sizes: list[int]) -> list[Id]:
    return [each for each, n in zip(ids, sizes, strict=True) for _ in range(n)]
