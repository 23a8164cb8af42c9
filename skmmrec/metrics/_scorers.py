"""Ranking metrics as scikit-learn scorers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints

from skmmrec._sklearn import BaseEstimator
from skmmrec.interactions import (
    ITEM,
    USER,
    Interactions,
    Keys,
    check_numbers,
    item_ids,
    read_weights,
    user_ids,
)
from skmmrec.metrics._clicks import CLICK_METRICS, click_scorer
from skmmrec.metrics._evaluation import RankingEvaluation
from skmmrec.metrics._formulas import FORMULAS
from skmmrec.metrics._names import parse_metric
from skmmrec.metrics._ranking_all import recommend_exactly
from skmmrec.metrics._relevance import GAIN, ranked_relevance
from skmmrec.metrics._seen import warn_of_seen

# Lengths of lists that have a scorer by name; others are made by make_ranking_scorer.
_LENGTHS = (1, 5, 10, 20, 50, 100)


class RankingScorer(BaseEstimator):
    """A callable ``scorer(estimator, X, y)`` as scikit-learn's tools take it.

    Made by :func:`make_ranking_scorer`, which describes the parameters.
    """

    def __init__(
        self,
        metric: str | Sequence[str] = "ndcg@10",
        *,
        candidates: str = "catalog",
        relevant_above: float = 0.0,
        user_key: str | int | None = None,
        item_key: str | int | None = None,
    ) -> None:
        self.metric = metric
        self.candidates = candidates
        self.relevant_above = relevant_above
        self.user_key = user_key
        self.item_key = item_key

    def __call__(
        self, estimator: Any, X: Any, y: Any = None, *, sample_weight: Any = None
    ) -> float | dict[str, float]:
        """Judge a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A recommender, or a Pipeline or a search that ends in one.
        X : DataFrame or array-like of shape (n_rows, n_columns)
            Held-out interactions, as the estimator takes them.
        y : array-like of shape (n_rows,) or (n_rows, n_tasks), default=None
            Strength of each interaction; None where every row is relevant. Of several
            tasks the first counts, by which lists are ranked; NaN is not relevant.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows. A user counts as much as the relevant rows of the user
            do on average; a row of weight 0 is as if it were not there.

        Returns
        -------
        float or dict of str to float
            Mean over the users with a relevant row; a dict for several metrics.
        """
        names = [self.metric] if isinstance(self.metric, str) else list(self.metric)
        pairs = read_pairs(X, self.user_key, self.item_key, keys=find_keys(estimator))
        relevant = keep_relevant(
            pairs, y, self.relevant_above, is_graded(names), count_tasks(estimator)
        )
        weights = _read_weights(sample_weight, pairs)
        relevant = relevant[weights[relevant.index] > 0]
        if not len(relevant):
            raise ValueError("no row of X is relevant: sample_weight is 0 for all")
        if self.candidates == "rows":
            ranked = _rank_rows(pairs, estimator.predict(X), weights > 0)
        else:
            model = with_new_items(estimator, X, pairs)
            warn_of_seen(model, relevant, pairs)
            k = max(parse_metric(name)[1] for name in names)
            ranked = recommend_exactly(model, relevant[USER].unique(), k)
        values = RankingEvaluation(ranked_relevance(ranked, relevant), names).per_user
        of_users = pd.Series(weights[relevant.index]).groupby(relevant[USER].to_numpy())
        means = np.average(values, axis=0, weights=of_users.mean()[values.index])
        if isinstance(self.metric, str):
            return float(means[0])
        return dict(zip(names, means.tolist(), strict=True))

    def set_score_request(
        self, *, sample_weight: bool | str | None = None
    ) -> RankingScorer:
        """Say whether weights of rows are asked for, with metadata routing.

        Parameters
        ----------
        sample_weight : bool, str or None, default=None
            True: they are passed on; False: they are not; None: it is an error to give
            some; a name: they are called that.

        Returns
        -------
        self

        Raises
        ------
        RuntimeError
            Unless ``sklearn.set_config(enable_metadata_routing=True)`` was called.
        """
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request needs metadata routing: call "
                "sklearn.set_config(enable_metadata_routing=True) first"
            )
        request = self.get_metadata_routing()
        request.score.add_request(param="sample_weight", alias=sample_weight)
        self._metadata_request = request
        return self

    def _accept_sample_weight(self) -> bool:
        """Tell scikit-learn's searches to pass weights on without routing, too."""
        return True


def make_ranking_scorer(
    metric: str | Iterable[str] = "ndcg@10",
    *,
    candidates: str = "catalog",
    relevant_above: float = 0.0,
    user_key: str | int | None = None,
    item_key: str | int | None = None,
) -> RankingScorer:
    """Make a scorer from ranking metrics.

    Parameters
    ----------
    metric : str or iterable of str, default="ndcg@10"
        Metric and length of the list: auc, f1, graded_ndcg (with y as gains), hit_rate,
        map, mrr, ndcg, precision or recall. Several make a scorer that returns a dict,
        with the recommendations made once; ``GridSearchCV`` then needs the name of one
        as ``refit``.
    candidates : {"catalog", "rows"}, default="catalog"
        What is ranked: the whole catalogue that the estimator was fitted with, without
        what the user met in training, by ``recommend``; or only the user's rows of X,
        by ``predict``, which needs irrelevant rows to tell models apart.
    relevant_above : float, default=0.0
        Rows with y above it are relevant; without y, all are.
    user_key, item_key : str or int, default=None
        Names or positions of columns. None for those that the estimator reads by the
        key of its catalogue or its `user_key`, those named user_id and item_id or,
        without these names, the first two.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)``, greater is better. It takes the raw X of a
        Pipeline, can be pickled and cloned, and takes ``sample_weight``, for which it
        asks by ``set_score_request`` where metadata routing is enabled.

    Raises
    ------
    ValueError
        If a metric is unknown or a parameter is out of range.

    See Also
    --------
    get_scorer : A scorer by its name.

    Notes
    -----
    Users without a relevant row are skipped. Equal predictions for rows rank in order
    of the item ids, so that no model gains from the order of the rows. Items that are
    new in a flat table compete by the content that X brings along; a relevant item
    without any is missed.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.model_selection import cross_validate
    >>> from skmmrec.metrics import make_ranking_scorer
    >>> from skmmrec.model_selection import LeaveLastOut
    >>> from skmmrec.recommender import PopularityRecommender
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3, 3], "item_id": list("abacab")})
    >>> scorer = make_ranking_scorer(["ndcg@2", "recall@2"])
    >>> result = cross_validate(
    ...     PopularityRecommender(), X, cv=LeaveLastOut(), scoring=scorer
    ... )
    >>> sorted(result)
    ['fit_time', 'score_time', 'test_ndcg@2', 'test_recall@2']
    """
    names = [metric] if isinstance(metric, str) else list(metric)
    if not names:
        raise ValueError("metric must name at least one metric")
    for name in names:
        parse_metric(name)
    validate_parameter_constraints(
        {"candidates": [StrOptions({"catalog", "rows"})]},
        {"candidates": candidates},
        "make_ranking_scorer",
    )
    return RankingScorer(
        metric if isinstance(metric, str) else names,
        candidates=candidates,
        relevant_above=relevant_above,
        user_key=user_key,
        item_key=item_key,
    )


def get_scorer(scoring: str) -> Any:
    """Look a scorer up by name: a ranking metric, or any of scikit-learn's.

    Parameters
    ----------
    scoring : str
        One of

        - "ndcg@10" and the like, with any length, which rank the whole catalogue;
        - "neg_root_mean_squared_error" or any other name that scikit-learn knows, which
          judge ``predict``: for a recommender that predicts ratings;
        - "neg_click_log_loss", "neg_click_brier_score", "click_accuracy",
          "click_roc_auc" or "click_average_precision", which are scikit-learn's metrics
          of the probability of a click, for a recommender whose ``predict`` gives it.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y)``, greater is better.

    Raises
    ------
    ValueError
        If the name is unknown.

    Notes
    -----
    scikit-learn resolves names itself in ``scoring=`` and knows none of ours, so give
    it the scorer: ``GridSearchCV(..., scoring=get_scorer("ndcg@10"))``.

    scikit-learn's own "neg_log_loss" and "accuracy" ask for a classifier with classes;
    a recommender is none, as its ``predict`` must order items. A row with y above 0 is
    a click; a prediction above 1/2 counts as one for the accuracy.

    Examples
    --------
    >>> from skmmrec.metrics import get_scorer
    >>> get_scorer("ndcg@10")
    RankingScorer()
    >>> get_scorer("recall@20")
    RankingScorer(metric='recall@20')
    >>> get_scorer("neg_click_log_loss")
    make_scorer(click_log_loss, greater_is_better=False, response_method='predict')
    """
    from sklearn.metrics import get_scorer, get_scorer_names

    if scoring in get_scorer_names():
        return get_scorer(scoring)
    if scoring in CLICK_METRICS:
        return click_scorer(scoring)
    return make_ranking_scorer(scoring)


def get_scorer_names() -> list[str]:
    """List names for `get_scorer`.

    Returns
    -------
    list of str
        Ranking metrics at usual lengths (others work too), metrics of predicted clicks,
        and scikit-learn's scorers.

    Examples
    --------
    >>> from skmmrec.metrics import get_scorer_names
    >>> "ndcg@10" in get_scorer_names(), "r2" in get_scorer_names()
    (True, True)
    """
    from sklearn.metrics import get_scorer_names

    ranking = [f"{metric}@{k}" for metric in FORMULAS for k in _LENGTHS]
    return [*ranking, *CLICK_METRICS, *get_scorer_names()]


def find_recommender(estimator: Any) -> Any:
    """Find the recommender inside fitted searches and pipelines.

    It is what has ``recommend``, inside of searches (``best_estimator_``) and Pipelines
    (last step). A TypeError says that there is none.
    """
    for layer in _layers(estimator):
        if hasattr(layer, "recommend"):
            return layer
    raise TypeError(
        f"{type(estimator).__name__} neither has nor contains a fitted recommender: "
        "`recommend` is missing"
    )


def _layers(estimator: Any) -> Iterator[Any]:
    """Yield an estimator, then what searches and pipelines have inside."""
    while True:
        yield estimator
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        else:
            return


def with_new_items(estimator: Any, X: Any, pairs: pd.DataFrame) -> Any:
    """Find the recommender inside, and tell it of the new items that X describes.

    `pairs` are the users and items of X. Returns the recommender or, where a flat X
    brings items that it does not know, a copy that knows them.
    """
    recommender = find_recommender(estimator)
    if not hasattr(recommender, "knowing_items_of"):
        return recommender
    if pairs[ITEM].isin(recommender.item_index_).all():
        return recommender
    return recommender.knowing_items_of(_before_recommender(estimator, X))


def _before_recommender(estimator: Any, X: Any) -> Any:
    """Run X through the steps of searches and pipelines before the recommender."""
    for layer in _layers(estimator):
        if hasattr(layer, "recommend"):
            break
        if len(getattr(layer, "steps", ())) > 1:
            X = layer[:-1].transform(X)
    return X


def find_keys(estimator: Any) -> Keys:
    """Names of the columns that a recommender inside searches and pipelines reads."""
    keys = (layer.keys_ for layer in _layers(estimator) if hasattr(layer, "keys_"))
    return next(keys, Keys())


def count_tasks(estimator: Any) -> int:
    """Count the columns of y that a recommender inside searches and pipelines had."""
    counts = (
        layer.n_tasks_ for layer in _layers(estimator) if hasattr(layer, "n_tasks_")
    )
    return next(counts, 1)


def read_pairs(
    X: Any,
    user: str | int | None = None,
    item: str | int | None = None,
    *,
    keys: Keys | None = None,
) -> pd.DataFrame:
    """Read who met what.

    `user` and `item` are names or positions of columns; where they are None, the names
    in `keys` count. Returns the columns user_id and item_id.
    """
    keys = Keys() if keys is None else keys
    users, items = user_ids(X, user, keys.user), item_ids(X, item, keys.item)
    return pd.DataFrame({USER: users, ITEM: items})


def is_graded(names: Sequence[str]) -> bool:
    """Whether any of these metrics asks how relevant an item is."""
    return any(parse_metric(name)[0] == "graded_ndcg" for name in names)


def keep_relevant(
    pairs: pd.DataFrame,
    y: Any,
    relevant_above: float,
    graded: bool = False,
    n_tasks: int = 1,
) -> pd.DataFrame:
    """Keep the relevant rows.

    They are those with `y` above `relevant_above`, or all without `y`. Of several tasks
    the first counts, where NaN is no answer. If `graded`, `y` is kept as the column
    gain. A ValueError says that `y` has another shape or a value that is missing or no
    number, or that no row is relevant.
    """
    if y is None:
        return pairs
    finite: Any = True if n_tasks == 1 else "allow-nan"
    strengths = check_numbers(y, "y", ensure_all_finite=finite)
    if strengths.shape in ((len(pairs), 1), (len(pairs), n_tasks)):
        strengths = strengths[:, 0]
    if strengths.shape != (len(pairs),):
        raise ValueError(
            f"y must have shape ({len(pairs)},) like the rows of X, got "
            f"{strengths.shape}"
        )
    relevant = pairs.assign(**{GAIN: strengths}) if graded else pairs
    relevant = relevant[strengths > relevant_above]
    if not len(relevant):
        raise ValueError(f"no row of X is relevant: no y is above {relevant_above}")
    return relevant


def _read_weights(sample_weight: Any, pairs: pd.DataFrame) -> NDArray[np.float64]:
    rows = Interactions(pairs[USER].to_numpy(), pairs[ITEM].to_numpy())
    weights = read_weights(sample_weight, rows)
    return np.ones(len(pairs)) if weights is None else weights


def _rank_rows(
    pairs: pd.DataFrame, predictions: Any, kept: NDArray[np.bool_]
) -> pd.DataFrame:
    """Rank the rows that are kept by what is predicted for them."""
    scores = np.asarray(predictions, dtype=float)
    if scores.ndim == 2:  # of several tasks
        scores = scores[:, 0]
    missing = np.flatnonzero(np.isnan(scores))
    if len(missing):
        raise ValueError(f"the estimator predicts NaN in row {missing[0]}")
    table = pairs.assign(score=-scores)[kept]
    return table.sort_values([USER, "score", ITEM], kind="stable")[[USER, ITEM]]
