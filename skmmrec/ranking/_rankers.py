"""Models that give a candidate its score, by features."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils.validation import has_fit_parameter

from skmmrec._sklearn import clone

_WEIGHTS = "sample_weight"
NAMES = ("auto", "lightgbm", "scikit-learn")
# Trees, their leaves, the learning rate, rows in a leaf and the penalty of leaves: of
# eight settings those that overfit least where there are few lists, on the generated
# shop of the tests. See "A second stage" in benchmarks/README.md.
TREES, LEAVES, RATE, LEAST, L2 = 100, 7, 0.05, 100, 10.0


def make_ranker(ranker: Any, seed: int) -> Any:
    """Make the model that `ranker` names, or a copy of it.

    It is one of `NAMES`, made with a seed, or any estimator with `fit` and `predict`.
    An ImportError says that LightGBM is not installed.
    """
    if not isinstance(ranker, str):
        return clone(ranker)
    if ranker == "lightgbm" or (ranker == "auto" and find_spec("lightgbm")):
        return _lightgbm(seed)
    return HistGradientBoostingClassifier(
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        learning_rate=RATE,
        min_samples_leaf=LEAST,
        l2_regularization=L2,
        # The default holds out rows from 10,000 on, and would make a cliff there.
        early_stopping=False,
        random_state=seed,
    )


def _lightgbm(seed: int) -> Any:
    try:
        from lightgbm import LGBMRanker
    except ImportError as error:
        raise ImportError(
            "ranker=\"lightgbm\" needs LightGBM: pip install 'skmmrec[ranking]'"
        ) from error
    return LGBMRanker(
        n_estimators=TREES,
        num_leaves=LEAVES,
        learning_rate=RATE,
        min_child_samples=LEAST,
        random_state=seed,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )


def fit_ranker(
    ranker: Any,
    matrix: NDArray,
    labels: NDArray,
    sizes: NDArray[np.int64],
    weights: NDArray[np.float64] | None = None,
) -> Any:
    """Fit a model on lists.

    A model that takes ``group`` or ``qid`` is told where lists end; to others a row is
    a row. `matrix` has the lists one after the other, of the lengths `sizes`; labels
    are 1 for what was liked, and weights say how much each row counts.
    """
    options: dict[str, Any] = {}
    if has_fit_parameter(ranker, "group"):
        options["group"] = sizes
    elif has_fit_parameter(ranker, "qid"):
        options["qid"] = np.repeat(np.arange(len(sizes)), sizes)
    if weights is not None:
        options[str(weight_argument(ranker))] = weights
    return ranker.fit(matrix, labels, **options)


def weight_argument(estimator: Any) -> str | None:
    """Return what `fit` of an estimator calls weights of rows; None: it takes none.

    A Pipeline hands them to its last step by that step's name, unless scikit-learn's
    metadata routing is on, where the step asks for them itself.
    """
    if not hasattr(estimator, "steps"):
        return _WEIGHTS if has_fit_parameter(estimator, _WEIGHTS) else None
    name, last = estimator.steps[-1]
    inner = weight_argument(last)
    if inner is None or get_config()["enable_metadata_routing"]:
        return inner
    return f"{name}__{inner}"


def refuse_weights(learner: Any) -> None:
    """Refuse weights that would change nothing, or that a second stage cannot take."""
    if weight_argument(learner) is None:
        raise TypeError(
            f"fit of {type(learner).__name__} takes no sample_weight: leave it out, or "
            "give an estimator whose fit takes it"
        )


def ranker_scores(ranker: Any, matrix: NDArray) -> NDArray[np.float64]:
    """Scores by a fitted model: higher is better.

    In float32, probabilities near 1 that differ would be the same.
    """
    if hasattr(ranker, "predict_proba"):
        return ranker.predict_proba(matrix)[:, -1].astype(np.float64)
    if hasattr(ranker, "decision_function"):
        return np.asarray(ranker.decision_function(matrix), dtype=np.float64)
    return np.asarray(ranker.predict(matrix), dtype=np.float64)
