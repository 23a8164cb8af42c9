"""Recommend with the recommender inside a search or a pipeline."""

from __future__ import annotations

from typing import Any

import pandas as pd

from skmmrec.interactions import Ids
from skmmrec.metrics import find_recommender


def recommend(
    estimator: object, users: Ids | None = None, k: int = 10, **options: Any
) -> pd.DataFrame:
    """Recommend with the recommender inside a search or a pipeline.

    ``Pipeline`` and ``GridSearchCV`` forward `predict` to it, but not `recommend`.

    Parameters
    ----------
    estimator : estimator
        A fitted recommender, a Pipeline that ends in one, or a fitted search over
        either.
    users : array-like of ids, default=None
        Passed on.
    k : int, default=10
        Passed on.
    **options : object
        Passed on.

    Returns
    -------
    DataFrame
        The result of the recommender's ``recommend``.

    Raises
    ------
    TypeError
        If there is no recommender inside, or the search has not been fitted.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.pipeline import make_pipeline
    >>> from skmmrec.model_selection import recommend
    >>> from skmmrec.recommender import PopularityRecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("abacb")})
    >>> pipeline = make_pipeline(PopularityRecommender()).fit(X)
    >>> recommend(pipeline, [3], k=2)[["user_id", "item_id", "rank"]]
       user_id item_id  rank
    0        3       a     1
    1        3       c     2
    """
    return find_recommender(estimator).recommend(users, k=k, **options)
