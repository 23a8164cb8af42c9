"""scikit-learn's metrics for predicted probabilities of a click."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import metrics

from skmmrec.interactions import check_numbers, unmasked


def click_accuracy(
    y_true: ArrayLike, y_pred: ArrayLike, sample_weight: Any = None
) -> float:
    """Share of rows whose click is predicted with a threshold of 1/2."""
    clicked, chances = _check(y_true, y_pred)
    return metrics.accuracy_score(clicked, chances > 0.5, sample_weight=sample_weight)


def click_average_precision(
    y_true: ArrayLike, y_pred: ArrayLike, sample_weight: Any = None
) -> float:
    """Area under the precision-recall curve over all rows."""
    clicked, chances = _check(y_true, y_pred)
    return metrics.average_precision_score(
        clicked, chances, sample_weight=sample_weight
    )


def click_roc_auc(
    y_true: ArrayLike, y_pred: ArrayLike, sample_weight: Any = None
) -> float:
    """Area under the ROC curve over all rows."""
    clicked, chances = _check(y_true, y_pred)
    return metrics.roc_auc_score(clicked, chances, sample_weight=sample_weight)


def click_brier_score(
    y_true: ArrayLike, y_pred: ArrayLike, sample_weight: Any = None
) -> float:
    """Mean squared error of the probabilities."""
    clicked, chances = _check(y_true, y_pred)
    return metrics.brier_score_loss(clicked, chances, sample_weight=sample_weight)


def click_log_loss(
    y_true: ArrayLike, y_pred: ArrayLike, sample_weight: Any = None
) -> float:
    """Mean negative log-likelihood of clicks and non-clicks."""
    clicked, chances = _check(y_true, y_pred)
    return metrics.log_loss(
        clicked, chances, sample_weight=sample_weight, labels=[False, True]
    )


CLICK_METRICS: dict[str, tuple[Callable[..., float], bool]] = {
    "click_accuracy": (click_accuracy, True),
    "click_average_precision": (click_average_precision, True),
    "click_roc_auc": (click_roc_auc, True),
    "neg_click_brier_score": (click_brier_score, False),
    "neg_click_log_loss": (click_log_loss, False),
}


def click_scorer(name: str) -> Any:
    """Make a scorer for predicted probabilities of a click.

    `name` is a key of `CLICK_METRICS`. The scorer is made by scikit-learn's
    ``make_scorer``: greater is better, and sample weights can be routed to it.
    """
    metric, greater_is_better = CLICK_METRICS[name]
    return metrics.make_scorer(metric, greater_is_better=greater_is_better)


def _check(
    y_true: ArrayLike, y_pred: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Treat y above 0 as a click, and check that predictions are probabilities."""
    chances = np.asarray(unmasked(y_pred), dtype=np.float64)
    odd = np.flatnonzero(~((chances >= 0) & (chances <= 1)))
    if len(odd):
        raise ValueError(
            f"the estimator predicts {chances[odd[0]]:.6g} in row {odd[0]}, which is "
            "no probability: fit it to predict clicks, or use a ranking scorer"
        )
    return check_numbers(y_true, "y") > 0, chances
