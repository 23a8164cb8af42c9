"""Recommenders by the nearest items of a user's items, or by the nearest users."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils._param_validation import Interval

from skmmrec.interactions import ITEM, USER
from skmmrec.recommender.baselines._history import HistoryRecommender
from skmmrec.retrieval import nearest_rows, unit_rows


class ItemKNNRecommender(HistoryRecommender):
    """Recommend items whose neighbours a user liked, by cosine of co-occurrence.

    The score of an item is the sum of its cosines with those of its neighbours that the
    user liked. [1]_ keeps the neighbours of the items that are liked instead, so that
    what is nobody's neighbour is never recommended.

    Parameters
    ----------
    n_neighbors : int, default=50
        How many neighbours of each item are kept.
    user_key, item_key : str, default="user_id" and "item_id"
        Columns of `X` with the ids.

    Attributes
    ----------
    similarity_ : csr_array of shape (n_items, n_items)
        Row i holds the cosines of item i's neighbours.

    References
    ----------
    .. [1] M. Deshpande and G. Karypis, "Item-based top-N recommendation algorithms",
       ACM Transactions on Information Systems 22(1), 2004.

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
        **HistoryRecommender._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_neighbors: int = 50,
        *,
        user_key: str = USER,
        item_key: str = ITEM,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.user_key = user_key
        self.item_key = item_key

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
    user_key, item_key : str, default="user_id" and "item_id"
        Columns of `X` with the ids.

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
        **HistoryRecommender._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_neighbors: int = 500,
        *,
        user_key: str = USER,
        item_key: str = ITEM,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.user_key = user_key
        self.item_key = item_key

    def _learn(self, met: csr_array) -> None:
        users = unit_rows(met)
        self.similarity_ = nearest_rows(users, users, self.n_neighbors)

    def _score_histories(self, users: NDArray, met: csr_array) -> NDArray[np.float32]:
        return (self.similarity_[users] @ self.history_.to_csr()).toarray()
