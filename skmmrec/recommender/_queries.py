"""What vectors answer: scores, lists, neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skmmrec._ids import ITEM, USER, check_ids, check_same_kind
from skmmrec.catalog import ItemCatalog
from skmmrec.recommender import _persistence
from skmmrec.recommender._base import check_k
from skmmrec.recommender._index import ApproximateIndex
from skmmrec.recommender._llm_fusion import FusedSources, Sources
from skmmrec.recommender._retrieval import (
    ranked_frame,
    score_pairs,
    top_k,
    unit_vectors,
)
from skmmrec.recommender._serving import ServingVectors
from skmmrec.recommender._vectors import VectorRanker


class Queries(ClassNamePrefixFeaturesOutMixin, TransformerMixin, VectorRanker):
    """The methods of `MultimodalFusionRecommender` that ask a fitted model."""

    catalog: ItemCatalog | None
    flat_: bool
    mode: str
    user_tower: str
    history_exponent: float

    def predict(self, X: Any) -> NDArray[np.float32]:
        """Score (user, item) rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            As in `fit`. Users and, in the flat form, items may be new.

        Returns
        -------
        ndarray of shape (n,), or (n, n_tasks) for several tasks, float32
            Greater is better. A probability with the objective "bce" and a rating with
            "mse"; otherwise comparable between the items of one user only.
        """
        check_is_fitted(self)
        data = self._read(X)
        vectors, biases = self._items_of(data)
        check_same_kind(data.users, self.user_index_, USER)
        rows = self.user_index_.get_indexer(data.users)
        users = self._vectors_of_users(rows)
        offsets = self._offsets_of_users(rows).astype(np.float32)
        scores = score_pairs(users, vectors) + biases[:, 0] + offsets
        first = self.tasks_[0].link(scores)
        if len(self.tasks_) == 1:
            return first
        return np.column_stack([first, *self._score_tasks(users, vectors, biases)])

    def recommend(
        self,
        users: Any = None,
        k: int = 10,
        *,
        items: Any = None,
        exclude_seen: bool = True,
        index: ApproximateIndex | None = None,
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
        index : ApproximateIndex or None, default=None
            Fitted on ``serving_vectors().items``: search there instead of scoring every
            item, where there are very many. It may miss some of the best.

        Returns
        -------
        DataFrame
            Columns ``user_id``, ``item_id``, ``rank`` (from 1) and ``score`` (float32),
            best first, users in the order given.

        Raises
        ------
        ValueError
            For `k` below 1, a missing user id, one of another kind than those of `fit`
            (a number among strings), an unknown item, or an index of other items.

        See Also
        --------
        skmmrec.recommender.rerank_mmr : Trade relevance for variety.
        skmmrec.recommender.cap_exposure : Keep items from being shown to everybody.
        """
        if index is None:
            return super().recommend(users, k, items=items, exclude_seen=exclude_seen)
        check_is_fitted(self)
        check_k(k)
        if items is not None:
            raise ValueError("index searches all items: items must be None with it")
        ids = np.asarray(self._read_users(users))
        return self._search(index, ids, k, exclude_seen)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Fused vectors of items.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            Rows as in `fit`, of whose items the vectors are wanted; or, with a catalog,
            a DataFrame of raw content without item ids, for items not in the catalogue.

        Returns
        -------
        ndarray of shape (n, n_members * n_factors), float32
        """
        check_is_fitted(self)
        if not self.flat_ and self._is_content(X):
            return self._content_vectors(X)
        return self._items_of(self._read(X))[0]

    def similar_items(self, items: Any, k: int = 10) -> pd.DataFrame:
        """Items whose vectors point the same way.

        Parameters
        ----------
        items : array-like of shape (n,), or DataFrame
            Item ids; or, with a catalog, rows of raw content: some of its columns are
            enough, so a picture, a sound or words can ask.
        k : int, default=10
            Neighbours per item.

        Returns
        -------
        DataFrame
            Columns ``query`` (item id or index of the row), ``item_id``, ``rank`` (from
            1) and ``score`` (cosine, float32), best first. An item is not its own
            neighbour.

        Raises
        ------
        ValueError
            For an unknown item id, or content without any of the catalogue's columns.
        """
        check_is_fitted(self)
        check_k(k)
        if isinstance(items, pd.DataFrame) or hasattr(items, "to_pandas"):
            items = items.to_pandas() if hasattr(items, "to_pandas") else items
            queries, rows = self._content_vectors(items), np.full(len(items), -1)
            keys = items.index
        else:
            keys = check_ids(np.atleast_1d(items), "items")
            self._check_known(keys, self.item_index_)
            rows = self.item_index_.get_indexer(keys)
            queries = self.item_vectors_.to_numpy()[rows]
        cosines = unit_vectors(queries) @ unit_vectors(self.item_vectors_.to_numpy()).T
        itself = np.flatnonzero(rows >= 0)
        cosines[itself, rows[itself]] = -np.inf
        best = top_k(cosines, k)
        scores = np.take_along_axis(cosines, best, axis=1)
        return ranked_frame("query", keys, self.item_index_, best, scores)

    def _is_content(self, X: Any) -> bool:
        columns = [str(column) for column in getattr(X, "columns", [])]
        return bool(columns) and not any(
            column.rpartition("__")[2] == ITEM for column in columns
        )

    def _content_vectors(self, content: pd.DataFrame) -> NDArray[np.float32]:
        if self.catalog is None:
            raise ValueError(
                "items is raw content, which needs a catalog: this recommender has "
                "none (after load, give load(..., catalog=...))"
            )
        blocks = self._in_space(self.catalog.encode(content), content)
        return self._item_vectors(np.full(len(blocks), -1), blocks)

    def _sources(self, rows: NDArray | slice) -> Sources | FusedSources:
        """Content of items at `rows`, by modality as far as it is still told apart."""
        if self.fuser_ is None or self.catalog is None:
            return Sources(self.content_.take(rows))
        return FusedSources(self, rows)

    def serving_vectors(self) -> ServingVectors:
        """Vectors whose inner product is the score, for a store to serve.

        Returns
        -------
        ServingVectors
            One wider than `item_vectors_`: the item's bias is appended to its vector,
            and a 1 to the user's.
        """
        check_is_fitted(self)
        ones = np.ones((len(self.user_index_), 1), np.float32)
        users = np.hstack([self.user_vectors_.to_numpy(), ones])
        biases = self.item_biases_.to_numpy()[:, None]
        items = np.hstack([self.item_vectors_.to_numpy(), biases])
        seen = [
            self.item_index_.take(self.seen_.of(user)).tolist()
            for user in range(len(self.user_index_))
        ]
        return ServingVectors(
            pd.DataFrame(users, self.user_index_),
            pd.DataFrame(items, self.item_index_),
            pd.Series(seen, self.user_index_, dtype=object),
            _persistence.fingerprint(self),
            self.history_exponent if self._is_plain_mean else None,
            pd.Series(self.history_.lengths, self.user_index_),
            self.half_life_,
        )

    @property
    def _is_plain_mean(self) -> bool:
        """Whether users are sums of item vectors over n to the `history_exponent`."""
        return (
            self.mode != "factors"
            and (self.user_tower == "mean" or self.mode == "content")
            and not len(self.networks_[0].user_embedding)
            and self.user_content_ is None
            and self.history_.values is None
        )

    @property
    def _n_features_out(self) -> int:
        return self.item_vectors_.shape[1]
