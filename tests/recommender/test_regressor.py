"""What predicts ratings is a regressor for scikit-learn, and nothing else is."""

import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline

from skmmrec import MultimodalFusionRecommender
from skmmrec.recommender import (
    ContentRecommender,
    MatrixFactorizationRecommender,
    PopularityRecommender,
    Training,
)

FOLDS = KFold(3, shuffle=True, random_state=0)


@pytest.fixture
def rec(catalog):
    return MultimodalFusionRecommender(
        catalog,
        objective="mse",
        n_factors=2,
        training=Training(max_epochs=1),
        random_state=0,
    )


def test_the_objective_decides(rec):
    assert is_regressor(rec)
    assert is_regressor(rec.set_params(objective=["mse", "bpr"]))
    for objective in ("softmax", "bpr", "bce", ["bpr", "mse"]):
        assert not is_regressor(clone(rec).set_params(objective=objective))
    factors = MatrixFactorizationRecommender()
    assert not is_regressor(factors)
    assert is_regressor(factors.set_params(objective="mse"))
    assert not is_regressor(factors.set_params(objective="softmax"))
    assert not is_regressor(ContentRecommender())
    assert not is_regressor(PopularityRecommender())


def test_what_holds_it_is_a_regressor(rec):
    assert is_regressor(make_pipeline(rec))
    assert is_regressor(GridSearchCV(rec, {"n_factors": [2]}))


def test_voting_is_the_mean(rec, pairs, stars):
    other = clone(rec).set_params(random_state=1)
    voting = VotingRegressor([("a", rec), ("b", other)]).fit(pairs, stars)
    each = [clone(r).fit(pairs, stars).predict(pairs) for r in (rec, other)]
    expected = np.mean(each, axis=0)
    np.testing.assert_allclose(voting.predict(pairs), expected, rtol=1e-5, atol=1e-5)


def test_stacking_learns_from_predictions_of_held_out_rows(rec, pairs, stars):
    stack = StackingRegressor([("a", rec)], LinearRegression(), cv=FOLDS)
    stack.fit(pairs, stars)
    held_out = cross_val_predict(rec, pairs, stars, cv=FOLDS)[:, None]
    line = LinearRegression().fit(held_out, stars)
    expected = line.predict(clone(rec).fit(pairs, stars).predict(pairs)[:, None])
    np.testing.assert_allclose(stack.predict(pairs), expected, rtol=1e-4, atol=1e-4)


def test_ratings_may_be_transformed(rec, pairs, stars):
    logs = TransformedTargetRegressor(rec, func=np.log, inverse_func=np.exp)
    expected = np.exp(clone(rec).fit(pairs, np.log(stars)).predict(pairs))
    np.testing.assert_allclose(
        logs.fit(pairs, stars).predict(pairs), expected, rtol=1e-5, atol=1e-5
    )


def test_bags_and_searches(rec, pairs, stars):
    bag = BaggingRegressor(rec, 2, random_state=0).fit(pairs, stars)
    assert np.isfinite(bag.predict(pairs)).all()
    grid = GridSearchCV(rec, {"n_factors": [1, 2]}, scoring="r2", cv=FOLDS)
    assert np.isfinite(grid.fit(pairs, stars).cv_results_["mean_test_score"]).all()


def test_its_score_ranks_and_r2_judges_ratings(rec, pairs, stars):
    scores = cross_val_score(rec, pairs, stars, scoring="r2", cv=FOLDS)
    for (train, test), score in zip(FOLDS.split(pairs), scores, strict=True):
        fitted = clone(rec).fit(pairs.iloc[train], stars[train])
        expected = r2_score(stars[test], fitted.predict(pairs.iloc[test]))
        assert score == pytest.approx(expected, rel=1e-6, abs=1e-6)
    fitted = clone(rec).fit(pairs.iloc[9:], stars[9:])
    ranks = clone(rec).set_params(objective="bpr").fit(pairs.iloc[9:], stars[9:] - 2)
    for model in (fitted, ranks):
        assert 0 <= model.score(pairs.iloc[:9], stars[:9] - 2) <= 1


def test_a_column_of_ratings_is_one_of_numbers(rec, pairs, stars):
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        column = clone(rec).fit(pairs, stars[:, None])
    expected = clone(rec).fit(pairs, stars).predict(pairs)
    np.testing.assert_array_equal(column.predict(pairs), expected)
