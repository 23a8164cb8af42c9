"""A linear model over items, in closed form."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array, issparse
from sklearn.utils._param_validation import Interval

from skmmrec.interactions import ITEM, USER
from skmmrec.recommender.baselines._history import HistoryRecommender
from skmmrec.recommender.memory import neighbour_weights, too_small


class EASERecommender(HistoryRecommender):
    """Recommend by the item weights that best reconstruct the likes (EASE).

    The weights minimise the squared error of reconstructing each column of the matrix
    of likes from the other columns, plus `l2` times their squares.

    Parameters
    ----------
    l2 : float, default=100.0
        Penalty of the squared weights. More items or fewer likes want more.
    n_neighbors : int or None, default=None
        Reconstruct each item from so many other items only: those with the most similar
        users, by cosine. Time and memory then grow with the number of items, and not
        with its cube and square. None: from all others.
    max_items : int, default=20_000
        Most items that `fit` accepts without `n_neighbors`: time grows with their cube,
        memory with their square (12 bytes a pair: 4.8 GB for 20,000 items).
    user_key, item_key : str, default="user_id" and "item_id"
        Columns of `X` with the ids.

    Attributes
    ----------
    weights_ : ndarray or csr_array of shape (n_items, n_items), float32
        Column j has what each item adds to the score of item j; the diagonal is zero.
        Sparse with `n_neighbors`.

    References
    ----------
    H. Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import EASERecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("ababa")})
    >>> EASERecommender(l2=1).fit(X).recommend([3], k=1).round(2)
       user_id item_id  rank  score
    0        3       b     1    0.5
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **HistoryRecommender._parameter_constraints,
        "l2": [Interval(Real, 0, None, closed="neither")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left"), None],
        "max_items": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        l2: float = 100.0,
        *,
        n_neighbors: int | None = None,
        max_items: int = 20_000,
        user_key: str = USER,
        item_key: str = ITEM,
    ) -> None:
        self.l2 = l2
        self.n_neighbors = n_neighbors
        self.max_items = max_items
        self.user_key = user_key
        self.item_key = item_key

    def _learn(self, met: csr_array) -> None:
        self.weights_: NDArray[np.float32] | csr_array
        if self.n_neighbors is not None:
            self.weights_ = neighbour_weights(met, self.n_neighbors, self.l2)
            return
        n_items = met.shape[1]
        if n_items > self.max_items:
            raise ValueError(
                f"X has {n_items} items, more than max_items={self.max_items}: EASE "
                f"needs {12 * n_items**2 / 1e9:.1f} GB for their pairs. Raise "
                "max_items if that fits, or give n_neighbors, such as 100."
            )
        inverse = _inverse(csr_array(met.T @ met).toarray().astype(np.float64), self.l2)
        inverse /= -np.diag(inverse)
        np.fill_diagonal(inverse, 0.0)
        self.weights_ = inverse.astype(np.float32)

    def _score_histories(self, users: NDArray, met: csr_array) -> NDArray[np.float32]:
        scores = met @ self.weights_
        return scores.toarray() if issparse(scores) else scores


def _inverse(gram: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """Invert a positive definite matrix plus `l2` on its diagonal, in place."""
    gram[np.diag_indices_from(gram)] += l2
    factor, failed = lapack.dpotrf(gram.T, lower=True, overwrite_a=True)
    inverse, failed_too = lapack.dpotri(factor, lower=True, overwrite_c=True)
    if failed or failed_too:
        raise ValueError(too_small(l2))
    lower = np.tril(inverse, -1)
    inverse[:] = np.tril(inverse)
    inverse += lower.T
    return inverse
