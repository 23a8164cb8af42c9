"""Popularity, and what recommenders that learn from histories alone share."""

from __future__ import annotations

import json
from abc import abstractmethod
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import fit_context
from skmmrec.interactions import (
    ITEM,
    USER,
    Ids,
    InteractionData,
    Numbers,
    Table,
    as_list,
    read_strengths,
    read_weights,
    sorted_index,
)
from skmmrec.recommender._base import (
    BaseRecommender,
    check_items_left,
    refuse_strangers,
    warn_of_odd_answers,
)
from skmmrec.recommender._parameter_records import read_index, write_index
from skmmrec.retrieval import chunks, top_k


class HistoryRecommender(BaseRecommender):
    """Base of recommenders that learn from who liked what, without content.

    A subclass implements `_learn` and `_score_histories`; the rest is done here, as
    `skmmrec.testing.RecommenderTests` asks for. Users who liked nothing get the items
    by popularity.

    Parameters
    ----------
    user_key, item_key : str, default="user_id" and "item_id"
        Columns of `X` with the ids; where they are not there, those by default count. A
        subclass that has parameters of its own may leave these out.

    Attributes
    ----------
    data_ : InteractionData
        What `fit` was given: ids, all pairs of a user and an item, histories.
    user_index_, item_index_ : Index
        Ids that were in `fit`.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import HistoryRecommender
    >>> class TogetherRecommender(HistoryRecommender):
    ...     def _learn(self, met):
    ...         self.together_ = (met.T @ met).toarray()
    ...     def _score_histories(self, users, met):
    ...         return (met @ self.together_).astype("float32")
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("ababa")})
    >>> TogetherRecommender().fit(X).recommend([3], k=1)
       user_id item_id  rank  score
    0        3       b     1    2.0
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "user_key": [str],
        "item_key": [str],
    }

    data_: InteractionData

    def __init__(self, *, user_key: str = USER, item_key: str = ITEM) -> None:
        self.user_key = user_key
        self.item_key = item_key

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Table, y: Numbers | None = None) -> Self:
        """Learn from who liked what.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            User ids, item ids, timestamps; other columns are not looked at.
        y : array-like of shape (n,) or None
            Strengths; rows at or below 0 do not count as liked.

        Returns
        -------
        self
        """
        return self._fit(X, y)

    def _fit(
        self, X: Table, y: Numbers | None, sample_weight: Numbers | None = None
    ) -> Self:
        """Learn; weights, which only some take, become the values of `history_`."""
        with self._all_or_nothing():
            rows = self._read_ids(X, reset=True)
            strengths, weights = (
                read_strengths(y, rows),
                read_weights(sample_weight, rows),
            )
            if weights is not None:  # a row of weight 0 is as if it were not there
                kept = weights > 0
                rows, weights = rows.where(kept), weights[kept]
                strengths = None if strengths is None else strengths[kept]
            liked = None if strengths is None else strengths > 0
            users, items = sorted_index(rows.users), sorted_index(rows.items)
            data = InteractionData.collect(
                rows, users, items, liked, strengths, weights
            )
            values = data.history.values
            if weights is None or values is None:  # a like is a like
                data = data.with_signals(None)
            else:
                data = data.with_signals(values[:, 0])
            warn_of_odd_answers(data, [] if strengths is None else [strengths])
            self._learn_from(data)
        return self

    def _learn_from(self, data: InteractionData) -> None:
        """Learn; threads that ask meanwhile are answered as before."""
        new = copy(self)
        new.data_ = data
        new._learn(new.history_.to_csr())
        vars(self).update(vars(new))

    def forget(self, users: Ids) -> Self:
        """Take users out, and learn again from those who are left.

        Parameters
        ----------
        users : id or array-like of shape (n,)
            User ids.

        Returns
        -------
        self
            As if `fit` had never seen these users, but that it knows the same items.

        Raises
        ------
        ValueError
            For a user who is missing, of another kind or unknown; nothing has changed
            then.

        Notes
        -----
        A later `fit` knows again whoever is in its rows.
        """
        check_is_fitted(self)
        ids = np.asarray(self._read_users(as_list(users, "users")))
        with self._all_or_nothing():
            rows = self.user_index_.get_indexer(ids)
            refuse_strangers(ids, rows >= 0)
            kept = ~np.isin(np.arange(len(self.user_index_)), rows)
            self._learn_from(self.data_.keep_users(kept))
        return self

    def remove_items(self, items: Ids) -> Self:
        """Take items out, and learn again from what is left.

        Parameters
        ----------
        items : id or array-like of shape (n,)
            Item ids.

        Returns
        -------
        self
            As if `fit` had never seen these items, but that it knows the same users.

        Raises
        ------
        ValueError
            For an item that is missing, of another kind or unknown, or if none would be
            left; nothing has changed then.

        Notes
        -----
        A later `fit` knows again what is in its rows.
        """
        check_is_fitted(self)
        ids = self._read_items(items)
        with self._all_or_nothing():
            rows = self.item_index_.get_indexer(ids)
            refuse_strangers(ids, rows >= 0, "item", "remove")
            kept = ~np.isin(np.arange(len(self.item_index_)), rows)
            check_items_left(kept)
            self._learn_from(self.data_.keep_items(kept))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """State in terms that formats without pickle know, such as that of skops."""
        state = dict(vars(self))
        if "data_" in state:
            data = state.pop("data_")
            ids = {
                name: write_index(getattr(data, name)) for name in ("users", "items")
            }
            state["written_data"] = {
                "ids": json.dumps(ids),
                "histories": [data.seen, data.history],
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "written_data" in state:
            written = state.pop("written_data")
            ids = json.loads(written["ids"])
            users, items = (read_index(ids[name]) for name in ("users", "items"))
            state["data_"] = InteractionData(users, items, *written["histories"])
        super().__setstate__(state)

    @property
    def _data(self) -> InteractionData:
        return self.data_

    @abstractmethod
    def _learn(self, met: csr_array) -> None:
        """Learn from a matrix of shape (n_users, n_items) with a 1 for each like."""

    @abstractmethod
    def _score_histories(self, users: NDArray, met: csr_array) -> NDArray[np.float32]:
        """Score all items for users, given their positions and rows of likes.

        Each of them has liked something.
        """

    def _rank(
        self,
        users: NDArray,
        k: int,
        candidates: NDArray[np.bool_] | None,
        exclude_seen: bool,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        size = (len(users), min(k, self.history_.n_items))
        positions, values = np.empty(size, np.intp), np.empty(size, np.float32)
        for part in chunks(len(users), self.history_.n_items):
            scores = self._score_users(users[part])
            if candidates is not None:
                scores[:, ~candidates] = -np.inf
            if exclude_seen:
                seen = self.seen_.take(users[part])
                scores[seen.users, seen.items] = -np.inf
            positions[part] = best = top_k(scores, k)
            values[part] = np.take_along_axis(scores, best, axis=1)
        return positions, values

    def _score_users(self, users: NDArray) -> NDArray[np.float32]:
        """Scores of all items for users at these positions; -1 is an unknown user."""
        history = self.history_
        scores = np.tile(history.popularity.astype(np.float32), (len(users), 1))
        rows = np.flatnonzero(history.take(users).lengths)
        if len(rows):
            met = history.take(users[rows]).to_csr()
            scores[rows] = self._score_histories(users[rows], met)
        return scores


class PopularityRecommender(HistoryRecommender):
    """Recommend what most users liked.

    Parameters
    ----------
    user_key, item_key : str, default="user_id" and "item_id"
        Columns of `X` with the ids.

    Attributes
    ----------
    popularity_ : ndarray of shape (n_items,), float32
        Number of users who liked each item.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import PopularityRecommender
    >>> X = pd.DataFrame({"user_id": [1, 2, 3, 3], "item_id": ["a", "a", "a", "b"]})
    >>> PopularityRecommender().fit(X).recommend([1])
       user_id item_id  rank  score
    0        1       b     1    1.0
    """

    def _learn(self, met: csr_array) -> None:
        self.popularity_ = np.asarray(met.sum(axis=0), dtype=np.float32)

    def _score_histories(self, users: NDArray, met: csr_array) -> NDArray[np.float32]:
        return np.tile(self.popularity_, (len(users), 1))


def inner_products(left: NDArray, right: NDArray) -> NDArray[np.float32]:
    """Inner products of all rows, summed in float64 so that no batch changes them."""
    products = left.astype(np.float64) @ right.T.astype(np.float64)
    return products.astype(np.float32)
