"""What a second stage takes over from its first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

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

    @property
    def _data(self) -> InteractionData:
        return self._first._data

    @property
    def keys_(self) -> Keys:
        """Names of the columns of X that hold ids: those of the first stage."""
        return find_keys(self.recommender)


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
