"""Rankers by the nearest items of a user's items, or by the nearest users."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, vstack
from sklearn.utils._param_validation import Interval

from skmmrec.recommender._baselines import HistoryRecommender

ROWS_AT_ONCE = 1024


class ItemKNNRecommender(HistoryRecommender):
    """Recommend the neighbours of what a user liked, by cosine of co-occurrence.

    Parameters
    ----------
    n_neighbors : int, default=50
        How many neighbours of each item are kept.

    Attributes
    ----------
    similarity_ : csr_array of shape (n_items, n_items)
        Row i holds the cosines of item i's neighbours.

    References
    ----------
    M. Deshpande and G. Karypis, "Item-based top-N recommendation algorithms", ACM
    Transactions on Information Systems 22(1), 2004.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import ItemKNNRecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("ababa")})
    >>> ItemKNNRecommender().fit(X).recommend([3], k=1).round(2)
       user_id item_id  rank  score
    0        3       b     1   0.82
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")]
    }

    def __init__(self, n_neighbors: int = 50) -> None:
        self.n_neighbors = n_neighbors

    def _learn(self, met: csr_array) -> None:
        items = csr_array(unit_rows(csr_array(met.T)))
        self.similarity_ = nearest_rows(items, items, self.n_neighbors)

    def _score_histories(self, users: NDArray, met: csr_array) -> NDArray[np.float32]:
        return (met @ self.similarity_.T).toarray()


class UserKNNRecommender(HistoryRecommender):
    """Recommend what the most similar users liked, by cosine of their likes.

    Parameters
    ----------
    n_neighbors : int, default=500
        How many neighbours of each user are kept.

    Attributes
    ----------
    similarity_ : csr_array of shape (n_users, n_users)
        Row u holds the cosines of user u's neighbours.

    References
    ----------
    J. L. Herlocker, J. A. Konstan, A. Borchers and J. Riedl, "An algorithmic framework
    for performing collaborative filtering", SIGIR 1999.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import UserKNNRecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("ababa")})
    >>> UserKNNRecommender().fit(X).recommend([3], k=1).round(2)
       user_id item_id  rank  score
    0        3       b     1   1.41
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")]
    }

    def __init__(self, n_neighbors: int = 500) -> None:
        self.n_neighbors = n_neighbors

    def _learn(self, met: csr_array) -> None:
        users = unit_rows(met)
        self.similarity_ = nearest_rows(users, users, self.n_neighbors)

    def _score_histories(self, users: NDArray, met: csr_array) -> NDArray[np.float32]:
        return (self.similarity_[users] @ self.history_.to_csr()).toarray()


def unit_rows(matrix: csr_array) -> csr_array:
    """Scale the rows of a matrix of zeros and ones to length 1, float32."""
    lengths = np.sqrt(np.maximum(np.diff(matrix.indptr), 1))
    return csr_array(diags_array((1 / lengths).astype(np.float32)) @ matrix)


def nearest_rows(
    left: csr_array, right: csr_array, k: int, rows_at_once: int = ROWS_AT_ONCE
) -> csr_array:
    """Product of `left` and the transpose of `right`, its `k` greatest in each row.

    Parameters
    ----------
    left, right : csr_array of shape (n, d)
        Of the same shape: what is compared. The diagonal of the product stays out.
    k : int
        Entries kept in each row.
    rows_at_once : int
        Rows of the product in memory at a time.

    Returns
    -------
    csr_array of shape (n, n)
        Ties go to the first columns.
    """
    transposed = csr_array(right.T)
    blocks = []
    for start in range(0, left.shape[0], rows_at_once):
        block = csr_array(left[start : start + rows_at_once] @ transposed)
        block.setdiag(0, k=start)
        block.eliminate_zeros()
        block.sort_indices()
        blocks.append(keep_largest(block, k))
    return csr_array(vstack(blocks, format="csr"))


def keep_largest(matrix: csr_array, k: int) -> csr_array:
    """Keep the `k` greatest entries of each row; ties go to the first stored."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, rows))
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    kept = order[place < k]
    return csr_array(
        (matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape
    )
