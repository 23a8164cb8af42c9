"""Rankers without content, to measure the recommender by."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval

from skmmrec._ids import sorted_index
from skmmrec.recommender._base import BaseRanker
from skmmrec.recommender._interactions import read_strengths


class PopularityRecommender(BaseRanker):
    """Recommend what most users liked.

    Attributes
    ----------
    user_index_, item_index_ : Index
        Ids met in `fit`.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import PopularityRecommender
    >>> X = pd.DataFrame({"user_id": [1, 2, 3, 3], "item_id": ["a", "a", "a", "b"]})
    >>> PopularityRecommender().fit(X).recommend([1])
       user_id item_id  rank  score
    0        1       b     1    1.0
    """

    def fit(self, X: Any, y: Any = None) -> PopularityRecommender:
        """Count the users of each item.

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
        data = self._read(X, reset=True)
        self._fit_histories(data, read_strengths(y, data), sorted_index(data.items))
        return self

    def _score_users(self, users: NDArray) -> NDArray[np.float32]:
        return np.tile(self.history_.popularity.astype(np.float32), (len(users), 1))


class ItemKNNRecommender(PopularityRecommender):
    """Recommend the neighbours of what a user liked, by cosine of co-occurrence.

    Parameters
    ----------
    n_neighbors : int, default=50
        How many neighbours of each item are kept.

    References
    ----------
    M. Deshpande and G. Karypis, "Item-based top-N recommendation algorithms", ACM
    Transactions on Information Systems 22(1), 2004.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")]
    }

    def __init__(self, n_neighbors: int = 50) -> None:
        self.n_neighbors = n_neighbors

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> ItemKNNRecommender:
        """Find each item's neighbours; see `PopularityRecommender.fit`."""
        super().fit(X, y)
        met = self.history_.to_csr()
        norms = np.sqrt(np.maximum(self.history_.popularity, 1)).astype(np.float32)
        met = met @ diags_array(1 / norms)
        similarity = csr_array(met.T @ met)
        similarity.setdiag(0)
        similarity.eliminate_zeros()
        self.similarity_ = _keep_largest(csr_array(similarity), self.n_neighbors)
        return self

    def _score_users(self, users: NDArray) -> NDArray[np.float32]:
        return (self.history_.take(users).to_csr() @ self.similarity_.T).toarray()


def _keep_largest(matrix: csr_array, k: int) -> csr_array:
    """Keep the `k` greatest entries of each row."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, rows))
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    kept = order[place < k]
    return csr_array(
        (matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape
    )
