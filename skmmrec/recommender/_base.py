"""What every recommender here can do once it can score users against all items."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from skmmrec._ids import (
    ITEM,
    USER,
    as_list,
    check_ids,
    check_k,
    check_same_kind,
    plain,
    sorted_index,
)
from skmmrec.metrics import ndcg_at_k
from skmmrec.recommender._history import History
from skmmrec.recommender._html import describe_html
from skmmrec.recommender._interactions import (
    Interactions,
    read_interactions,
    read_strengths,
)
from skmmrec.recommender._retrieval import chunks, ranked_frame, top_k

WEIGHT = "weight"


class BaseRanker(BaseEstimator, ABC):
    """Top-k and ranking score on top of `_score_users`.

    A subclass fits `user_index_` and `item_index_` (ids), `seen_` (a `History` of every
    pair met) and `history_` (the pairs that count as liked) by `_fit_histories`.
    """

    user_index_: pd.Index
    item_index_: pd.Index
    seen_: History
    history_: History

    @abstractmethod
    def _score_users(self, users: NDArray) -> NDArray[np.float32]:
        """Scores of all items for users at these positions; -1 is an unknown user."""

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        items: Any = None,
        exclude_seen: bool = True,
    ) -> pd.DataFrame:
        """Recommend the best items to each user.

        Parameters
        ----------
        users : array-like of shape (n,) or None
            User ids; one who was not there in `fit` is served as a new user. None:
            every user of `fit`.
        k : int, default=10
            Items per user. Fewer are given where fewer are left.
        items : array-like or None, default=None
            Ids of the items to choose from; None: all.
        exclude_seen : bool, default=True
            Leave out what the user met in `fit`.

        Returns
        -------
        DataFrame
            Columns ``user_id``, ``item_id``, ``rank`` (from 1) and ``score`` (float32),
            best first, users in the order given.

        Raises
        ------
        ValueError
            For `k` below 1, a missing user id, one of another kind than those of `fit`
            (a number among strings), or an unknown item.
        """
        check_is_fitted(self)
        check_k(k)
        ids = self._read_users(users)
        rows = self.user_index_.get_indexer(ids)
        ranker = Ranker(self, self._candidates(items), exclude_seen)
        frames = [
            ranked_frame(USER, ids[part], self.item_index_, *ranker.rank(rows[part], k))
            for part in chunks(len(rows), len(self.item_index_))
        ]
        return pd.concat(frames, ignore_index=True)

    def score(self, X: Any, y: Any = None) -> float:
        """NDCG@10 of ranking all items, those seen in `fit` left out.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            Held-out interactions, as in `fit`. New items compete by the content that
            they bring along; those without content count as missed.
        y : array-like of shape (n,) or None
            Rows with a strength above 0 are relevant; None: all are.

        Returns
        -------
        float
            Mean over the users with at least one relevant item; 0.0 if there is none.
        """
        check_is_fitted(self)
        held_out = self._read(X)
        y = read_strengths(y, held_out)
        pairs = pd.DataFrame({"user": held_out.users, "item": held_out.items})
        pairs = pairs if y is None else pairs[y > 0]
        parts = self._with_items_of(held_out)._relevance(pairs.drop_duplicates(), 10)
        values = np.concatenate([ndcg_at_k(*part) for part in parts])
        return float(values.mean()) if len(values) else 0.0

    def _with_items_of(self, data: Interactions) -> BaseRanker:
        """Return a ranker that knows the new items in `data` if it can."""
        return self

    def _read(self, X: Any, *, reset: bool = False) -> Interactions:
        self._check_columns(X, reset)
        return read_interactions(X, content="ignore")

    def _check_columns(self, X: Any, reset: bool) -> None:
        """Hold X against the number and names of the columns that `fit` saw."""
        X = X.to_pandas() if hasattr(X, "to_pandas") else X
        if isinstance(X, pd.DataFrame) or issparse(X) or np.asarray(X).ndim == 2:
            validate_data(self, X, reset=reset, skip_check_array=True)

    def _relevance(
        self, pairs: pd.DataFrame, k: int
    ) -> Iterator[tuple[NDArray, NDArray]]:
        """Relevance of each user's `k` best items, and how many are relevant at all."""
        ids, users = np.unique(pairs["user"].to_numpy(), return_inverse=True)
        items = self.item_index_.get_indexer(pairs["item"])
        relevant = History.from_pairs(users, items, len(ids), len(self.item_index_))
        rows = self.user_index_.get_indexer(ids)
        ranker = Ranker(self, None, exclude_seen=True)
        for part in chunks(len(ids), len(self.item_index_)):
            best, scores = ranker.rank(rows[part], k)
            hits = np.zeros(best.shape, bool)
            for row, user in enumerate(range(part.start, part.stop)):
                hits[row] = np.isin(best[row], relevant.of(user))
            yield hits & np.isfinite(scores), relevant.lengths[part]

    def _read_users(self, users: Any) -> Any:
        """Ids of the users to serve, who may be new."""
        if users is None:
            return self.user_index_
        ids = check_ids(as_list(users), "users")
        check_same_kind(ids, self.user_index_, "users")
        return ids

    def _candidates(self, items: Any) -> NDArray[np.bool_] | None:
        """Mask of the items to choose from."""
        if items is None:
            return None
        ids = check_ids(as_list(items), "items")
        self._check_known(ids, self.item_index_)
        return np.isin(
            np.arange(len(self.item_index_)), self.item_index_.get_indexer(ids)
        )

    @staticmethod
    def _check_known(ids: NDArray, index: pd.Index) -> None:
        check_same_kind(ids, index, ITEM)
        unknown = np.flatnonzero(index.get_indexer(ids) < 0)
        if len(unknown):
            raise ValueError(
                f"item {plain(ids[unknown[0]])!r} (row {unknown[0]}) is not in the "
                f"catalogue ({len(unknown)} such rows)"
            )

    def _repr_html_inner(self) -> str:
        """Show scikit-learn's diagram, and beneath it what the model knows."""
        return super()._repr_html_inner() + describe_html(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += describe_html(self)
        return bundle

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.target_tags.required = False
        return tags

    def _fit_histories(
        self,
        data: Interactions,
        y: NDArray | None,
        items: pd.Index,
        weights: NDArray | None = None,
    ) -> None:
        """Index the ids and group the pairs."""
        self.user_index_ = self._index_users(data.users)
        self.item_index_ = items
        self._group(self._pairs(data, y, weights))
        if len(self.history_.items) == 0:
            warnings.warn(
                "no interaction has y above 0: nothing to learn", stacklevel=4
            )

    def _index_users(self, users: NDArray) -> pd.Index:
        """Index of all users, sorted."""
        return sorted_index(users)

    def _extend_histories(
        self, data: Interactions, y: NDArray | None, weights: NDArray | None = None
    ) -> None:
        """Append pairs, and users who are new, to what `_fit_histories` grouped."""
        users = sorted_index(data.users)
        self.user_index_ = self.user_index_.append(users.difference(self.user_index_))
        known, new = self._known_pairs(), self._pairs(data, y, weights)
        for answer in known.columns.symmetric_difference(new.columns, sort=False):
            known[answer] = known.get(answer, 1.0)
            new[answer] = new.get(answer, 1.0)
        new = new.astype(known.dtypes)
        self._group(pd.concat([known, new], ignore_index=True))

    def _pairs(
        self, data: Interactions, y: NDArray | None, weights: NDArray | None
    ) -> pd.DataFrame:
        """Pairs in the order of time: positions, which are liked, weights and answers.

        The answers, one column per column of y, are named by their number.
        """
        pairs = pd.DataFrame(
            {
                "user": self.user_index_.get_indexer(data.users),
                "item": self.item_index_.get_indexer(data.items),
                "liked": True if y is None else self._is_liked(y),
                WEIGHT: 1.0 if weights is None else weights,
            }
        )
        if y is not None:
            answers = y if y.ndim == 2 else y[:, None]
            pairs[list(range(answers.shape[1]))] = answers
        if data.times is None:
            return pairs
        return pairs.iloc[np.argsort(data.times, kind="stable")]

    def _known_pairs(self) -> pd.DataFrame:
        """Give back what `_group` was given, without the repetitions."""
        users, items = self.seen_.users, self.seen_.items
        liked = self.history_.to_csr(bool)[users, items]
        known = pd.DataFrame(
            {"user": users, "item": items, "liked": liked, WEIGHT: 1.0}
        )
        if self.seen_.values is not None:
            known[[WEIGHT, *range(self.seen_.values.shape[1] - 1)]] = self.seen_.values
        return known

    def _is_liked(self, y: NDArray) -> NDArray[np.bool_]:
        """Which rows make up the users' histories."""
        return (y if y.ndim == 1 else y[:, 0]) > 0

    def _group(self, pairs: pd.DataFrame) -> None:
        """Group pairs by user.

        Of a pair that comes several times the first place counts and the last word, and
        its weights add up.
        """
        pair = ["user", "item"]
        last = ~pairs.duplicated(pair, keep="last").to_numpy()
        if not last.all():
            groups = pairs.groupby(pair, sort=False)
            pairs = pairs.assign(weight=groups[WEIGHT].transform("sum"))
            order = np.argsort(groups.ngroup().to_numpy()[last])
            pairs = pairs[last].iloc[order]
        values = _values(pairs)
        shape = len(self.user_index_), len(self.item_index_)
        users, items = (pairs[name].to_numpy() for name in pair)
        self.seen_ = History.from_pairs(users, items, *shape, values)
        liked = pairs["liked"].to_numpy(bool)[np.argsort(users, kind="stable")]
        self.history_ = self.seen_.where(liked)


class Ranker:
    """Ranks the items that a user may be shown.

    Parameters
    ----------
    model : BaseRanker
        Scores the items.
    candidates : ndarray of shape (n_items,), bool, or None
        Items to choose from; None: all.
    exclude_seen : bool
        Whether to leave out what a user met.
    """

    def __init__(
        self, model: BaseRanker, candidates: NDArray | None, exclude_seen: bool
    ) -> None:
        self.model = model
        self.candidates = candidates
        self.exclude_seen = exclude_seen

    def rank(
        self, rows: NDArray, k: int
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Positions and scores of each user's best items; minus infinity is hidden."""
        scores = self.model._score_users(rows)
        if self.candidates is not None:
            scores[:, ~self.candidates] = -np.inf
        if self.exclude_seen:
            seen = self.model.seen_.take(rows)
            scores[seen.users, seen.items] = -np.inf
        best = top_k(scores, k)
        return best, np.take_along_axis(scores, best, axis=1)


def _values(pairs: pd.DataFrame) -> NDArray[np.float32] | None:
    """Weight and answers of each pair; None where all are plain likes."""
    names = [WEIGHT, *(name for name in pairs.columns if isinstance(name, int))]
    values = pairs[names].to_numpy(np.float32)
    plain_likes = len(names) == 1 and (values == 1).all()
    return None if plain_likes else values
