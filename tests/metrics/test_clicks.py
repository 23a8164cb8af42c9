"""scikit-learn's scorers judge predicted ratings and clicks."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn import metrics
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import GridSearchCV, cross_validate

from skmmrec import MultimodalFusionRecommender
from skmmrec.metrics import get_scorer, get_scorer_names
from skmmrec.model_selection import RandomHoldoutPerUser
from skmmrec.recommender import Training

CLICKS = {
    "click_accuracy": lambda y, p, w: metrics.accuracy_score(
        y, p > 0.5, sample_weight=w
    ),
    "click_average_precision": lambda y, p, w: metrics.average_precision_score(
        y, p, sample_weight=w
    ),
    "click_roc_auc": lambda y, p, w: metrics.roc_auc_score(y, p, sample_weight=w),
    "neg_click_brier_score": lambda y, p, w: -np.average((y - p) ** 2, weights=w),
    "neg_click_log_loss": lambda y, p, w: -metrics.log_loss(y, p, sample_weight=w),
}


class Known(RegressorMixin, BaseEstimator):
    """Predicts the third column, in float32 as recommenders do."""

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        return np.asarray(X)[:, 2].astype(np.float32)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    chance = rng.random(80).astype(np.float32)
    X = pd.DataFrame({"user_id": np.arange(80) % 8, "item_id": range(80), "p": chance})
    return X, (rng.random(80) < chance).astype(float), rng.random(80)


@pytest.mark.parametrize("name", CLICKS)
def test_clicks_equal_scikit_learn(data, name):
    X, y, weights = data
    scorer = pickle.loads(pickle.dumps(get_scorer(name)))
    chance = X.p.to_numpy(dtype=float)
    assert scorer(Known(), X, y) == pytest.approx(
        CLICKS[name](y, chance, None), abs=1e-9
    )
    assert scorer(Known(), X, 5 * y - 2) == scorer(Known(), X, y)
    weighted = scorer(Known(), X, y, sample_weight=weights)
    assert weighted == pytest.approx(CLICKS[name](y, chance, weights), abs=1e-9)
    assert name in get_scorer_names()


def test_certain_predictions_and_clicks_of_one_kind_have_a_finite_loss(data):
    X, y, _ = data
    certain = X.assign(p=y)
    loss = get_scorer("neg_click_log_loss")
    assert loss(Known(), certain, y) == pytest.approx(0, abs=1e-10)
    assert np.isfinite(loss(Known(), certain, 1 - y))
    assert np.isfinite(loss(Known(), X, np.ones(80)))


def test_ratings_are_judged_by_scikit_learns_own_scorers(data):
    X, _, _ = data
    y = X.p.to_numpy(dtype=float) + np.tile([0.5, -0.5], 40)
    rmse = get_scorer("neg_root_mean_squared_error")
    assert rmse(Known(), X, y) == pytest.approx(-0.5, abs=1e-9)


@pytest.mark.parametrize("routing", [False, True])
def test_in_cross_validation(data, routing):
    X, y, weights = data
    scoring = {name: get_scorer(name) for name in CLICKS}
    params = None
    with sklearn.config_context(enable_metadata_routing=routing):
        if routing:
            for scorer in scoring.values():
                scorer.set_score_request(sample_weight=False)
            loss = get_scorer("neg_click_log_loss")
            scoring["weighted"] = loss.set_score_request(sample_weight=True)
            params = {"sample_weight": weights}
        result = cross_validate(
            Known(), X, y, cv=RandomHoldoutPerUser(0.5), scoring=scoring, params=params
        )
    assert all(np.isfinite(result[f"test_{name}"]).all() for name in scoring)
    if routing:
        assert result["test_weighted"] != result["test_neg_click_log_loss"]


@pytest.mark.parametrize("bad", [1.5, -0.1, np.nan])
def test_scores_are_no_probabilities(data, bad):
    X, y, _ = data
    X.loc[3, "p"] = bad
    with pytest.raises(ValueError, match=r"predicts \S+ in row 3, which is no prob"):
        get_scorer("neg_click_log_loss")(Known(), X, y)


@pytest.fixture(scope="module")
def taste():
    """Users like what their sign says; the rows bring the content along."""
    rng = np.random.default_rng(1)
    users, items = np.divmod(rng.permutation(30 * 20)[:400], 20)
    content = rng.normal(size=20)
    liking = np.where(users % 2, 1, -1) * content[items] + 0.3 * rng.normal(size=400)
    X = {"user_id": users, "item_id": items, "image__0": content[items]}
    return pd.DataFrame(X), liking


@pytest.mark.parametrize(
    ("objective", "scoring"),
    [("bce", "neg_click_log_loss"), ("mse", "neg_root_mean_squared_error")],
)
def test_searches_by_what_a_recommender_predicts(taste, objective, scoring):
    X, liking = taste
    y = liking if objective == "bce" else 3 + liking
    search = GridSearchCV(
        MultimodalFusionRecommender(objective=objective, n_factors=8, random_state=0),
        {"training__max_epochs": [0, 8]},
        cv=RandomHoldoutPerUser(0.3, random_state=0),
        scoring=get_scorer(scoring),
    ).fit(X, y)
    assert search.best_params_ == {"training__max_epochs": 8}
    none, some = search.cv_results_["mean_test_score"]
    assert some > 0.9 * none


def test_scores_of_a_ranker_are_refused_as_clicks(taste):
    X, liking = taste
    ranker = MultimodalFusionRecommender(
        n_factors=8, random_state=0, training=Training(max_epochs=1)
    )
    with pytest.raises(ValueError, match="is no probability: fit it to predict clicks"):
        get_scorer("click_accuracy")(ranker.fit(X, liking), X, liking)
