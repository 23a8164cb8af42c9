"""Recommendations from the online store alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from feast import FeatureStore

from skmmrec._ids import ITEM, USER

from ._definitions import (
    ITEM_VECTOR,
    ITEM_VERSION,
    ITEM_VIEW,
    SEEN,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
)
from ._encoding import unpack, unpack_vectors
from ._reader import checked_ids, read_features
from ._repo import exact_store, feature_view, open_store
from ._search import VectorTable, nearest
from ._sqlite import fresh

_ATTEMPTS = 5
_UNKNOWN = ("error", "popular", "skip")


class _User(NamedTuple):
    vector: np.ndarray
    seen: list[Any]


class OnlineRecommender:
    """Top-k items for a user, from the vectors in the online store.

    Neither the training data nor the model nor the encoders are needed.

    Parameters
    ----------
    repo_path : str, path or feast.FeatureStore
        Folder of the repository that a recommender was published to. Its online store
        must be an `ExactSqliteOnlineStore`.
    unknown : {"error", "popular", "skip"}, default="error"
        What to do for a user without a vector of the model that is served: raise an
        error that names the id, rank by the items' biases alone, or leave the user out
        of the result.

    Raises
    ------
    TypeError
        When the repository has another kind of online store.

    Notes
    -----
    The score is the inner product of the two vectors, found by exact search. Items are
    kept in memory until the database changes. A user's vector and the items' vectors
    always come from the same model version, also while a new one is published.
    """

    def __init__(
        self, repo_path: FeatureStore | str | Path, *, unknown: str = "error"
    ) -> None:
        if unknown not in _UNKNOWN:
            raise ValueError(f"unknown must be one of {_UNKNOWN}, got {unknown!r}")
        self.store = open_store(repo_path)
        self.unknown = unknown
        self._online = exact_store(self.store)

    @property
    def model_version(self) -> str | None:
        """Version of the model that is served (None: nothing is published)."""
        return self._items().version

    def recommend(
        self, users: Any, k: int = 10, *, exclude_seen: bool = True
    ) -> pd.DataFrame:
        """Recommend items to users.

        Parameters
        ----------
        users : array-like of shape (n_users,)
            User ids.
        k : int, default=10
            Items for each user; fewer where the store holds fewer.
        exclude_seen : bool, default=True
            Leave out items that the user met in training.

        Returns
        -------
        DataFrame
            Columns user_id, item_id, rank (from 1) and score (float32), users in
            request order.

        Raises
        ------
        KeyError
            For an unknown user under ``unknown="error"``.
        TypeError
            For ids of another type than the stored ones.
        ValueError
            For `k` below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        view = feature_view(self.store, USER_VIEW)
        ids = checked_ids(view, users)
        items, found = self._consistent(ids)
        parts = [
            _top_k(user, found[user], items, k, exclude_seen, self._fresh(items))
            for user in self._servable(ids, found, items)
        ]
        return pd.concat(parts, ignore_index=True) if parts else _frame([], items, [])

    def _fresh(self, items: VectorTable) -> np.ndarray | None:
        return fresh(items, feature_view(self.store, ITEM_VIEW))

    def _items(self) -> VectorTable:
        view = feature_view(self.store, ITEM_VIEW)
        return self._online.vectors(self.store.config, view, ITEM_VECTOR, ITEM_VERSION)

    def _consistent(self, ids: list[Any]) -> tuple[VectorTable, dict[Any, _User]]:
        """Read items and users of one version, though it may change meanwhile."""
        for _ in range(_ATTEMPTS):
            items = self._items()
            rows = self._user_rows(ids)
            versions = {unpack(row.get(USER_VERSION, b"")) for row in rows if row}
            if versions <= {items.version} or self._items().version == items.version:
                break
        return items, _users_of(ids, rows, items.version)

    def _user_rows(self, ids: list[Any]) -> list[dict[str, bytes]]:
        view = feature_view(self.store, USER_VIEW)
        features = [USER_VECTOR, USER_VERSION, SEEN]
        return read_features(self.store, view, ids, features)

    def _servable(
        self, ids: list[Any], found: dict[Any, _User], items: VectorTable
    ) -> list[Any]:
        unknown = [user for user in dict.fromkeys(ids) if user not in found]
        if unknown and self.unknown == "error":
            raise KeyError(
                f"no vector of model version {items.version!r} for {len(unknown)} of "
                f"{len(ids)} users, such as {unknown[0]!r:.100}; unknown='popular' or "
                "unknown='skip' would serve the others"
            )
        if self.unknown == "popular":
            found.update(dict.fromkeys(unknown, _bias_user(items)))
        return [user for user in ids if user in found]


def _bias_user(items: VectorTable) -> _User:
    """Score by the bias, which is the items' last dimension."""
    vector = np.zeros(items.matrix.shape[1], dtype=np.float32)
    vector[-1:] = 1.0
    return _User(vector, [])


def _users_of(
    ids: list[Any], rows: Sequence[dict[str, bytes]], version: str | None
) -> dict[Any, _User]:
    known = {
        user: row
        for user, row in zip(ids, rows, strict=True)
        if USER_VECTOR in row and unpack(row.get(USER_VERSION, b"")) == version
    }
    vectors = unpack_vectors([row[USER_VECTOR] for row in known.values()])
    return {
        user: _User(vector, unpack(row.get(SEEN, b"")) or [])
        for (user, row), vector in zip(known.items(), vectors, strict=True)
    }


def _top_k(
    user_id: Any,
    user: _User,
    items: VectorTable,
    k: int,
    exclude_seen: bool,
    allowed: np.ndarray | None,
) -> pd.DataFrame:
    if exclude_seen and user.seen:
        allowed = np.ones(len(items.ids), bool) if allowed is None else allowed.copy()
        allowed[positions(items.ids, user.seen)] = False
    rows, distances = nearest(items, user.vector, k, "inner_product", allowed)
    return _frame([user_id] * len(rows), items, rows, -distances)


def positions(sorted_ids: np.ndarray, ids: Sequence[Any]) -> np.ndarray:
    """Rows of the ids that are present."""
    wanted = np.array(ids, dtype=sorted_ids.dtype)
    rows = np.searchsorted(sorted_ids, wanted)
    rows = np.minimum(rows, len(sorted_ids) - 1)
    return rows[sorted_ids[rows] == wanted]


def _frame(
    users: list[Any],
    items: VectorTable,
    rows: Any,
    scores: np.ndarray | Sequence[float] = (),
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            USER: users,
            ITEM: items.ids[np.asarray(rows, dtype=np.int64)],
            "rank": np.arange(1, len(users) + 1, dtype=np.int64),
            "score": np.asarray(scores, dtype=np.float32),
        }
    )
