"""What a second stage takes over from its first."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import clone
from skmmrec.interactions import TIME, InteractionData, Keys, as_frame
from skmmrec.metrics import find_keys, find_recommender
from skmmrec.recommender import BaseRecommender


class OverFirstStage(BaseRecommender):
    """Knows the users, items and columns of the recommender beneath it.

    Attributes
    ----------
    recommender_ : recommender
        The first stage, fitted; not there where a ranker was saved without it.
    """

    recommender: Any
    recommender_: Any

    @property
    def _first(self) -> Any:
        """The recommender in the first stage.

        Raises NotFittedError where there is none; as an AttributeError, it does not
        keep a notebook from showing the ranker.
        """
        if not hasattr(self, "recommender_"):
            check_is_fitted(self)
            raise NotFittedError(
                "this CandidateRanker was saved without its first stage "
                "(recommender=False): give lists to rerank"
            )
        return find_recommender(self.recommender_)

    def _as_now(self) -> Self:
        """Return a copy that answers from now, whatever other threads do meanwhile."""
        now = copy(self)
        now.recommender_ = copy(self._first)
        return now

    @property
    def _data(self) -> InteractionData:
        return self._first._data

    @property
    def keys_(self) -> Keys:
        """Names of the columns of X that hold ids: those of the first stage."""
        return find_keys(self.recommender)


@dataclass(frozen=True)
class FirstFit:
    """Fits copies of a first stage on some of the rows that `fit` was given.

    Attributes
    ----------
    first : recommender
        Not fitted.
    X, y : object
        What `fit` was given.
    weights : ndarray of shape (n_rows,) or None
    argument : str or None
        What `fit` of the first stage calls weights; None: it takes none.
    """

    first: Any
    X: Any
    y: Any
    weights: NDArray[np.float64] | None
    argument: str | None

    def on(self, rows: NDArray | None = None) -> Any:
        """Return a copy that was fitted on rows at some positions; None: on all."""
        given = self.X, self.y, self.weights
        if rows is not None:
            given = rows_of(*given, rows)
        X, y, weights = given
        if weights is None or self.argument is None:
            return clone(self.first).fit(X, y)
        return clone(self.first).fit(X, y, **{self.argument: weights})


def rows_of(X: Any, y: Any, weights: Any, rows: NDArray) -> tuple[Any, Any, Any]:
    """Return what `fit` was given of rows at some positions; None stays."""
    y, weights = (
        None if values is None else _safe_indexing(np.asarray(values), rows)
        for values in (y, weights)
    )
    return _safe_indexing(X, rows), y, weights


def without_context(X: Any, names: Sequence[str], first: Any) -> Any:
    """Leave out of X what a first stage would refuse, or take for content of items.

    Parameters
    ----------
    X : DataFrame or array-like
        Interactions.
    names : sequence of str
        Columns of the context. Times stay: a first stage reads them, too.
    first : recommender or Pipeline
        What X is for. A Pipeline chooses its columns itself.

    Returns
    -------
    DataFrame or array-like
    """
    frame = as_frame(X)
    if frame is None or find_recommender(first) is not first:
        return X
    return frame.drop(columns=[name for name in names if name != TIME], errors="ignore")
