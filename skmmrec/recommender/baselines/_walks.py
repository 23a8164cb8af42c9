"""Recommenders by walks on the graph of users and items."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from sklearn.utils._param_validation import Interval

from skmmrec.interactions import ITEM, USER
from skmmrec.recommender.baselines._history import HistoryRecommender
from skmmrec.retrieval import chunks, nearest_rows


class RandomWalkRecommender(HistoryRecommender):
    """Recommend where a walk over user, item, user and item ends (RP3beta).

    Parameters
    ----------
    alpha : float, default=1.0
        Power to which transition probabilities are raised.
    beta : float, default=0.0
        Power of the popularity by which items are divided: more favours rare items.
    n_neighbors : int, default=500
        How many items that are reached from an item are kept.
    user_key, item_key : str, default="user_id" and "item_id"
        Columns of `X` with the ids.

    Attributes
    ----------
    similarity_ : csr_array of shape (n_items, n_items)
        Row i holds the weights of the items reached from item i.

    References
    ----------
    B. Paudel, F. Christoffel, C. Newell and A. Bernstein, "Updatable, accurate,
    diverse, and scalable recommendations for interactive applications", ACM
    Transactions on Interactive Intelligent Systems 7(1), 2017.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import RandomWalkRecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("ababa")})
    >>> RandomWalkRecommender().fit(X).recommend([3], k=1).round(2)
       user_id item_id  rank  score
    0        3       b     1   0.33
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **HistoryRecommender._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 0.0,
        n_neighbors: int = 500,
        *,
        user_key: str = USER,
        item_key: str = ITEM,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.n_neighbors = n_neighbors
        self.user_key = user_key
        self.item_key = item_key

    def _learn(self, met: csr_array) -> None:
        to_users = shares(csr_array(met.T))
        to_items = shares(met)
        to_users.data **= np.float32(self.alpha)
        to_items.data **= np.float32(self.alpha)
        popularity = np.maximum(self.history_.popularity, 1).astype(np.float32)
        weights = diags_array(popularity ** np.float32(-self.beta))
        reached = csr_array((to_items @ weights).T)
        self.similarity_ = nearest_rows(to_users, reached, self.n_neighbors)

    def _score_histories(self, users: NDArray, met: csr_array) -> NDArray[np.float32]:
        return (met @ self.similarity_).toarray()


class GraphDiffusionRecommender(HistoryRecommender):
    r"""Recommend where long walks on the graph end, without any training.

    From the items of a user, a walker goes to a random one of the users who like the
    item and on to a random one of that user's items, again and again. The score of an
    item is :math:`\sum_{k=1}^{s} r^k p_k`, scaled to sum to 1 over the items, plus a
    share of its popularity; :math:`p_k` is the probability to be there after k rounds.

    Parameters
    ----------
    n_steps : int, default=4
        Number of rounds s.
    step_ratio : float, default=2.0
        Weight r of a round over that of the round before. Later rounds reach further
        and lean to what is popular.
    popularity_weight : float, default=0.1
        Weight of the item's share of all likes.
    user_key, item_key : str, default="user_id" and "item_id"
        Columns of `X` with the ids.

    Notes
    -----
    `fit` only counts. Serving a user takes time linear in the number of all likes: with
    more than about 10 million of them, rather take `RandomWalkRecommender`.

    References
    ----------
    T. Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender
    systems", PNAS 107(10), 2010, for walks of one round.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import GraphDiffusionRecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("abbca")})
    >>> rec = GraphDiffusionRecommender(n_steps=2, popularity_weight=0).fit(X)
    >>> rec.recommend([3]).round(2)
       user_id item_id  rank  score
    0        3       b     1   0.29
    1        3       c     2   0.04
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **HistoryRecommender._parameter_constraints,
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "step_ratio": [Interval(Real, 0, None, closed="neither")],
        "popularity_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_steps: int = 4,
        step_ratio: float = 2.0,
        popularity_weight: float = 0.1,
        *,
        user_key: str = USER,
        item_key: str = ITEM,
    ) -> None:
        self.n_steps = n_steps
        self.step_ratio = step_ratio
        self.popularity_weight = popularity_weight
        self.user_key = user_key
        self.item_key = item_key

    def _learn(self, met: csr_array) -> None:
        self.to_users_ = csr_array(shares(csr_array(met.T)).T)
        self.to_items_ = csr_array(shares(met).T)

    def _score_histories(self, users: NDArray, met: csr_array) -> NDArray[np.float32]:
        popularity = self.history_.popularity / max(1, len(self.history_.items))
        base = np.float32(self.popularity_weight) * popularity.astype(np.float32)
        scores = np.empty(met.shape, np.float32)
        for part in chunks(met.shape[0], max(self.to_users_.shape)):
            scores[part] = self._diffuse(met[part]) + base
        return scores

    def _diffuse(self, met: csr_array) -> NDArray[np.float32]:
        """Weighted visits of the items, of shape (n_users, n_items)."""
        place = shares(met).T.toarray()
        visits = np.zeros_like(place)
        for step in range(1, self.n_steps + 1):
            place = self.to_items_ @ (self.to_users_ @ place)
            visits += np.float32(self.step_ratio ** (step - self.n_steps)) * place
        total = visits.sum(axis=0, dtype=np.float64)
        return (visits / np.where(total > 0, total, 1)).T.astype(np.float32)


def shares(matrix: csr_array) -> csr_array:
    """Divide the rows of a matrix of zeros and ones by their sums, float32."""
    sums = np.maximum(np.diff(matrix.indptr), 1).astype(np.float32)
    return csr_array(diags_array(1 / sums) @ matrix)
