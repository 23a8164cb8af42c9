"""Matrix factorisation of likes by alternating least squares."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from skmmrec._sklearn import fit_context
from skmmrec.interactions import ITEM, USER, Numbers, RandomState, Table
from skmmrec.recommender.baselines._history import HistoryRecommender, inner_products
from skmmrec.runtime import progress

# Entries solved at a time: 17 MB for 64 factors in float64, so that they stay in
# caches.
CELLS_AT_ONCE = 32_768


class ImplicitALSRecommender(HistoryRecommender):
    r"""Factorise the matrix of likes, weighing likes more than unknown pairs (iALS).

    Minimises :math:`\sum_{ui} c_{ui} (p_{ui} - x_u^\top y_i)^2 + \lambda (\sum_u
    \lVert x_u \rVert^2 + \sum_i \lVert y_i \rVert^2)`, where p is 1 for a like and 0
    otherwise, and c is :math:`1 + \alpha w_{ui}` for a like and 1 otherwise; w is the
    weight that `fit` is given, such as a number of plays, or 1.

    Parameters
    ----------
    n_factors : int, default=64
        Width of the vectors.
    l2 : float, default=30.0
        Penalty :math:`\lambda` of the squared vectors.
    alpha : float, default=10.0
        Additional weight of a like.
    n_iterations : int, default=10
        How often users and items are solved for by turns.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial item vectors.
    user_key, item_key : str, default="user_id" and "item_id"
        Columns of `X` with the ids.

    Attributes
    ----------
    user_factors_ : ndarray of shape (n_users, n_factors), float32
        Users who liked nothing have zeros.
    item_factors_ : ndarray of shape (n_items, n_factors), float32

    References
    ----------
    Y. Hu, Y. Koren and C. Volinsky, "Collaborative filtering for implicit feedback
    datasets", ICDM 2008.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import ImplicitALSRecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("ababa")})
    >>> rec = ImplicitALSRecommender(2, l2=0.1, random_state=0).fit(X)
    >>> rec.recommend([3], k=1)[["user_id", "item_id", "rank"]]
       user_id item_id  rank
    0        3       b     1
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **HistoryRecommender._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "l2": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "n_iterations": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_factors: int = 64,
        *,
        l2: float = 30.0,
        alpha: float = 10.0,
        n_iterations: int = 10,
        random_state: RandomState = None,
        user_key: str = USER,
        item_key: str = ITEM,
    ) -> None:
        self.n_factors = n_factors
        self.l2 = l2
        self.alpha = alpha
        self.n_iterations = n_iterations
        self.random_state = random_state
        self.user_key = user_key
        self.item_key = item_key

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Table, y: Numbers | None = None, sample_weight: Numbers | None = None
    ) -> Self:
        """Learn from who liked what.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            User ids, item ids, timestamps; other columns are not looked at.
        y : array-like of shape (n,) or None, default=None
            Strengths; rows at or below 0 do not count as liked.
        sample_weight : array-like of shape (n,) or None, default=None
            How sure each like is, such as a number of plays: the w of the loss. A row
            of weight 0 is as if it were not there. Of several rows with one user and
            item the last `y` counts, and the weights add up. None: 1 for each pair,
            however many rows it has.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight)

    def _learn(self, met: csr_array) -> None:
        if self.history_.values is not None:
            met.data[:] = self.history_.values
        rng = check_random_state(self.random_state)
        items = rng.normal(0, self.n_factors**-0.5, (met.shape[1], self.n_factors))
        try:
            users, items = self._alternate(met, items)
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"the equations of l2={self.l2:g} and alpha={self.alpha:g}, with "
                f"sample_weight of up to {met.data.max():g}, cannot be told from "
                "singular ones: bring the weights closer together, such as by "
                "np.log1p, or raise l2"
            ) from error
        self.user_factors_ = users.astype(np.float32)
        self.item_factors_ = items.astype(np.float32)

    def _alternate(
        self, met: csr_array, items: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Solve for users and items by turns, the users last."""
        of_items = csr_array(met.T)
        for _ in progress(range(self.n_iterations), "fit", unit="iteration"):
            users = solve_rows(met, items, self.l2, self.alpha)
            items = solve_rows(of_items, users, self.l2, self.alpha)
        return solve_rows(met, items, self.l2, self.alpha), items

    def _score_histories(self, users: NDArray, met: csr_array) -> NDArray[np.float32]:
        return inner_products(self.user_factors_[users], self.item_factors_)


def solve_rows(
    met: csr_array, fixed: NDArray[np.float64], l2: float, alpha: float
) -> NDArray[np.float64]:
    """Solve for the vector of each row, those of the columns being fixed.

    `met`, of shape (n_rows, n_columns), stores the weights of likes; `fixed` are the
    vectors of the columns; `l2` and `alpha` are as in `ImplicitALSRecommender`. Returns
    zeros for rows without likes.
    """
    width = fixed.shape[1]
    gram = fixed.T @ fixed + l2 * np.eye(width)
    padded = np.vstack([fixed, np.zeros(width)])
    solved = np.zeros((met.shape[0], width))
    for rows, columns, weights in _padded_rows(met, width):
        liked, more = padded[columns], alpha * weights[..., None]
        rooted = np.sqrt(more) * liked
        left = gram + rooted.transpose(0, 2, 1) @ rooted
        right = ((1 + more) * liked).sum(axis=1)
        solved[rows] = np.linalg.solve(left, right[..., None])[..., 0]
    return solved


def _padded_rows(
    met: csr_array, width: int
) -> Iterator[tuple[NDArray, NDArray, NDArray[np.float64]]]:
    """Rows of similar length, their columns and weights; -1 and 0 after the last.

    A batch has at most `CELLS_AT_ONCE` entries, unless it is a single row.
    """
    lengths = np.diff(met.indptr)
    order = np.argsort(lengths, kind="stable")
    start = int(np.searchsorted(lengths[order], 1))
    while start < len(order):
        longest = np.maximum(lengths[order[start:]], width)
        cells = np.arange(1, len(longest) + 1) * longest
        stop = start + max(1, int(np.searchsorted(cells, CELLS_AT_ONCE, side="right")))
        rows = order[start:stop]
        place = np.arange(lengths[rows].max())
        inside = place < lengths[rows, None]
        entries = np.where(inside, met.indptr[rows, None] + place, 0)
        columns = np.where(inside, met.indices[entries], -1)
        yield rows, columns, np.where(inside, met.data[entries], np.float64(0))
        start = stop
