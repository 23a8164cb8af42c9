"""Weights and groups reach scorers and splitters, with metadata routing and without."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, cross_validate

from skmmrec.metrics import evaluate_ranking, get_scorer, make_ranking_scorer
from skmmrec.model_selection import LeaveLastOut, UserKFold
from skmmrec.recommender import (
    MatrixFactorizationRecommender,
    PopularityRecommender,
    Training,
)


@pytest.fixture
def routing():
    with config_context(enable_metadata_routing=True):
        yield


@pytest.fixture
def pairs(X):
    return X[["user_id", "item_id"]]


@pytest.fixture
def rec():
    return MatrixFactorizationRecommender(
        2, training=Training(max_epochs=1), random_state=0
    )


def near(value):
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def test_users_count_by_the_mean_weight_of_their_rows(pairs):
    rec, held_out = PopularityRecommender().fit(pairs.iloc[::2]), pairs.iloc[1::2]
    weights = np.random.default_rng(0).integers(0, 4, len(held_out)) / 2
    rows = held_out.assign(weight=weights).query("weight > 0")
    ranked = rec.recommend(rows.user_id.unique(), k=5)
    values = evaluate_ranking(ranked, rows[["user_id", "item_id"]], ["ndcg@5"])
    of_users = rows.groupby("user_id").weight.mean()
    expected = np.average(values.per_user["ndcg@5"], weights=of_users)
    scorer = get_scorer("ndcg@5")
    assert scorer(rec, held_out, sample_weight=weights) == near(expected)
    several = make_ranking_scorer(["recall@5", "ndcg@5"])
    assert several(rec, held_out, sample_weight=weights)["ndcg@5"] == near(expected)
    same = scorer(rec, held_out, sample_weight=np.full(len(held_out), 3.0))
    assert same == near(scorer(rec, held_out))


def test_rows_of_weight_zero_are_not_there(pairs, ratings, rec):
    y, kept = ratings.rating.to_numpy() - 2, np.arange(len(pairs)) % 3 > 0
    rec.fit(pairs, y)
    alone = make_ranking_scorer("ndcg@5", candidates="rows")
    for scorer, X in ((get_scorer("ndcg@5"), pairs.assign(user_id=1)), (alone, pairs)):
        found = scorer(rec, X, y, sample_weight=kept * 2.0)
        assert found == near(scorer(rec, X[kept], y[kept]))


def test_weights_that_cannot_be(pairs):
    rec, y = PopularityRecommender().fit(pairs.iloc[9:]), np.arange(9) % 2
    scorer, X = get_scorer("ndcg@5"), pairs.iloc[:9]
    with pytest.raises(ValueError, match="relevant: sample_weight is 0"):
        scorer(rec, X, y, sample_weight=1 - y)
    with pytest.raises(ValueError, match="sample_weight"):
        scorer(rec, X, y, sample_weight=y - 1.0)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        scorer(rec, X, y, sample_weight=[1.0])


def test_weights_and_groups_are_routed(routing, pairs, rec):
    """Each consumer gets what it asks for, under the name that it says."""
    rng = np.random.default_rng(0)
    weights, other = rng.random((2, len(pairs)))
    times = rng.permutation(len(pairs))
    rec.set_fit_request(sample_weight=True)
    scorer = get_scorer("ndcg@5").set_score_request(sample_weight="other")
    ((train, test),) = LeaveLastOut().split(pairs, groups=times)
    fitted = clone(rec).fit(pairs.iloc[train], sample_weight=weights[train])
    expected = scorer(fitted, pairs.iloc[test], sample_weight=other[test])
    assert expected != near(scorer(fitted, pairs.iloc[test]))
    params = {"sample_weight": weights, "other": other, "groups": times}
    options = {"cv": LeaveLastOut(), "params": params}
    found = cross_validate(rec, pairs, scoring=scorer, **options)
    assert found["test_score"] == near([expected])
    both = {"a": scorer, "b": get_scorer("recall@5")}
    found = cross_validate(rec, pairs, scoring=both, **options)
    assert found["test_a"] == near([expected])
    grid = GridSearchCV(rec, {"n_factors": [2]}, scoring=scorer, cv=LeaveLastOut())
    assert grid.fit(pairs, None, **params).best_score_ == near(expected)


def test_splitters_say_whether_they_want_groups(routing, pairs, rec):
    params = {"groups": np.arange(len(pairs))}
    with pytest.raises(UnsetMetadataPassedError, match="groups"):
        cross_validate(rec, pairs, cv=UserKFold(2), params=params)
    cv = UserKFold(2).set_split_request(groups=True)
    assert len(cross_validate(rec, pairs, cv=cv, params=params)["test_score"]) == 2
    plain = LeaveLastOut().set_split_request(groups=False)
    with pytest.raises(TypeError, match="groups"):
        cross_validate(rec, pairs, cv=plain, params=params)


@pytest.mark.parametrize(
    "name", ["ndcg@5", "neg_root_mean_squared_error", "neg_click_log_loss"]
)
def test_scorers_of_every_kind_ask_for_weights(routing, name):
    scorer = get_scorer(name).set_score_request(sample_weight=True)
    request = clone(scorer, safe=False).get_metadata_routing()
    assert request.score.requests == {"sample_weight": True}


def test_requests_need_routing():
    with pytest.raises(RuntimeError, match="enable_metadata_routing=True"):
        get_scorer("ndcg@5").set_score_request(sample_weight=True)


def test_without_routing_weights_reach_the_scorer_too(pairs, rec):
    weights = np.random.default_rng(0).random(len(pairs))
    scorer, cv = get_scorer("ndcg@5"), LeaveLastOut()
    ((train, test),) = cv.split(pairs)
    fitted = clone(rec).fit(pairs.iloc[train], sample_weight=weights[train])
    expected = scorer(fitted, pairs.iloc[test], sample_weight=weights[test])
    for scoring, refit in ((scorer, True), ({"a": scorer}, "a")):
        grid = GridSearchCV(
            rec, {"n_factors": [2]}, scoring=scoring, cv=cv, refit=refit
        )
        grid.fit(pairs, None, sample_weight=pd.Series(weights))
        assert grid.best_score_ == near(expected)
