"""Ranking scorers inside scikit-learn's own tools."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmmrec import MultimodalFusionRecommender
from skmmrec.metrics import (
    evaluate_ranking,
    get_scorer,
    get_scorer_names,
    make_ranking_scorer,
)
from skmmrec.metrics._scorers import find_recommender
from skmmrec.model_selection import (
    ColdItemSplit,
    LeaveLastOut,
    RandomHoldoutPerUser,
    recommend,
)
from skmmrec.recommender import PopularityRecommender


@pytest.fixture(scope="module")
def X():
    """Flat table: users of even number like items with a large first vector entry."""
    rng = np.random.default_rng(0)
    content = rng.normal(size=(24, 3))
    rows = []
    for user in range(30):
        liking = content[:, 0] * (1 if user % 2 else -1)
        for item in np.argsort(-(2 * liking + rng.gumbel(size=24)))[:8]:
            rows.append((f"u{user:02d}", f"i{item:02d}", *content[item]))
    columns = ["user_id", "item_id", "image__0", "image__1", "text__0"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=0)


def small(**options):
    options = {"n_factors": 8, "training__max_epochs": 2, "random_state": 0} | options
    return MultimodalFusionRecommender().set_params(**options)


def test_ranking_the_catalogue_equals_evaluating_recommendations(X):
    train, test = next(LeaveLastOut(2).split(X))
    fitted = small().fit(X.iloc[train])
    held_out = X.iloc[test]
    users = held_out.user_id.unique()
    expected = evaluate_ranking(fitted.recommend(users, k=5), held_out, ["ndcg@5"])
    scorer = get_scorer("ndcg@5")
    assert scorer(fitted, held_out) == pytest.approx(expected.mean().iloc[0], abs=1e-9)
    assert get_scorer("ndcg@10")(fitted, held_out) == pytest.approx(
        fitted.score(held_out), abs=1e-9
    )


def test_only_rows_above_the_threshold_are_relevant(X):
    train, test = next(LeaveLastOut(3).split(X))
    fitted = small().fit(X.iloc[train])
    held_out = X.iloc[test]
    y = np.tile([5.0, 2.0, 4.0], len(held_out))[: len(held_out)]
    scorer = make_ranking_scorer("recall@5", relevant_above=3)
    liked = y > 3
    assert scorer(fitted, held_out, y) == scorer(fitted, held_out[liked])


def test_strengths_are_gains_of_graded_metrics(X):
    train, test = next(LeaveLastOut(3).split(X))
    fitted = small().fit(X.iloc[train])
    held_out = X.iloc[test]
    y = np.tile([5.0, 2.0, 0.0, 4.0], len(held_out))[: len(held_out)]
    relevant = held_out.assign(gain=y)[y > 1]
    ranked = fitted.recommend(relevant.user_id.unique(), k=5)
    names = ["graded_ndcg@5", "ndcg@5"]
    expected = evaluate_ranking(ranked, relevant, names).mean()
    scores = make_ranking_scorer(names, relevant_above=1)(fitted, held_out, y)
    assert scores == pytest.approx(expected.to_dict(), abs=1e-9)
    assert scores["graded_ndcg@5"] != pytest.approx(scores["ndcg@5"], abs=1e-9)
    assert get_scorer("graded_ndcg@5")(fitted, held_out) == pytest.approx(
        get_scorer("ndcg@5")(fitted, held_out), abs=1e-9
    )
    with pytest.raises(
        ValueError, match=r"'gain'\] must be finite and above 0, got 0.0"
    ):
        make_ranking_scorer(names, relevant_above=-9)(fitted, held_out, y - 5)


@pytest.mark.parametrize("wrap", ["bare", "pipeline", "search"])
def test_new_items_of_a_flat_table_compete(X, wrap):
    """What training lacks is ranked by the content that the test rows bring along."""
    ((train, test),) = ColdItemSplit(0.3, random_state=0).split(X)
    estimator = small(training__max_epochs=8, n_factors=16, cold_popularity=10)
    if wrap != "bare":
        same = FunctionTransformer(feature_names_out="one-to-one")
        estimator = make_pipeline(same, estimator)
    if wrap == "search":
        estimator = GridSearchCV(
            estimator,
            {"multimodalfusionrecommender__training__max_epochs": [8]},
            cv=LeaveLastOut(),
            scoring=get_scorer("ndcg@10"),
        )
    estimator.fit(X.iloc[train])
    held_out = X.iloc[test]
    inner = find_recommender(estimator)
    known = inner.item_index_.copy()
    score = get_scorer("ndcg@10")(estimator, held_out)
    assert score == pytest.approx(inner.score(held_out), abs=1e-9)
    assert score > 0.05
    assert inner.item_index_.equals(known)


class FirstNumber(RegressorMixin, BaseEstimator):
    """Predicts the third column."""

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        return np.asarray(X)[:, 2].astype(float)


def test_ranking_rows_orders_each_users_rows():
    X = pd.DataFrame(
        {
            "user_id": [1, 2, 1, 2, 1],
            "item_id": [1, 1, 2, 2, 3],
            "score": [0.1, 0.2, 0.9, 0.1, 0.5],
        }
    )
    y = [1, 1, 0, 0, 0]
    rows = make_ranking_scorer("mrr@5", candidates="rows")
    assert rows(FirstNumber(), X, y) == pytest.approx((1 / 3 + 1) / 2, abs=1e-9)
    assert rows(FirstNumber(), X.to_numpy(), y) == pytest.approx(
        (1 / 3 + 1) / 2, abs=1e-9
    )


def test_ties_do_not_reward_the_order_of_rows():
    X = pd.DataFrame({"user_id": 1, "item_id": [3, 2, 1], "score": 0.0})
    rows = make_ranking_scorer("mrr@3", candidates="rows")
    assert rows(FirstNumber(), X, [1, 0, 0]) == pytest.approx(1 / 3, abs=1e-9)


def test_several_metrics_make_a_dict(X):
    fitted = small().fit(X.iloc[:150])
    held_out = X.iloc[150:]
    scores = make_ranking_scorer(["ndcg@5", "recall@9"])(fitted, held_out)
    assert scores == {
        "ndcg@5": pytest.approx(get_scorer("ndcg@5")(fitted, held_out), abs=1e-9),
        "recall@9": pytest.approx(get_scorer("recall@9")(fitted, held_out), abs=1e-9),
    }


def test_scorers_survive_pickle_and_clone():
    scorer = make_ranking_scorer(["ndcg@5", "map@3"], relevant_above=2)
    for copy in (clone(scorer), pickle.loads(pickle.dumps(scorer))):
        assert copy.get_params() == scorer.get_params()


@pytest.mark.parametrize("routing", [False, True])
def test_cross_validate_and_grid_search(X, routing):
    scoring = {"ndcg": get_scorer("ndcg@5"), "recall": get_scorer("recall@5")}
    with sklearn.config_context(enable_metadata_routing=routing):
        result = cross_validate(
            small(), X, cv=LeaveLastOut(n_splits=2), scoring=scoring
        )
        assert result["test_ndcg"].shape == (2,)
        search = GridSearchCV(
            Pipeline([("recommend", small())]),
            {"recommend__fusion": ["concat", "gated"]},
            cv=LeaveLastOut(),
            scoring=make_ranking_scorer(["ndcg@5", "recall@5"]),
            refit="ndcg@5",
        ).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_recall@5"]).all()
    table = recommend(search, ["u03"], k=4)
    assert table["rank"].tolist() == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(
        table, search.best_estimator_[-1].recommend(["u03"], k=4)
    )
    seen = recommend(search, ["u03"], k=24, exclude_seen=False)
    assert len(seen) == 24


def test_halving_search(X):
    search = HalvingGridSearchCV(
        small(),
        {"training__max_epochs": [0, 1, 2]},
        resource="n_factors",
        max_resources=8,
        min_resources=4,
        cv=RandomHoldoutPerUser(random_state=0),
        scoring=get_scorer("ndcg@5"),
        random_state=0,
    ).fit(X)
    assert search.n_resources_[0] == 4


def test_permutation_importance_finds_the_column_that_matters(X):
    """Cold items are told apart by the content that the rows bring along."""
    items = np.sort(X.item_id.unique())
    cold = items[::4]
    train, test = X[~X.item_id.isin(cold)], X[X.item_id.isin(cold)]
    users = train.user_id.unique()
    content = X.drop(columns="user_id").drop_duplicates("item_id")
    grid = pd.MultiIndex.from_product([users, cold], names=["user_id", "item_id"])
    rows = grid.to_frame(index=False).merge(content, on="item_id")
    met = set(zip(test.user_id, test.item_id, strict=True))
    y = [float(pair in met) for pair in zip(rows.user_id, rows.item_id, strict=True)]
    fitted = small(training__max_epochs=20, n_factors=16).fit(train)
    scorer = make_ranking_scorer("ndcg@3", candidates="rows")
    result = permutation_importance(
        fitted, rows, np.array(y), scoring=scorer, n_repeats=3, random_state=0
    )
    importance = pd.Series(result.importances_mean, index=rows.columns)
    assert importance.drop(["user_id", "item_id"]).idxmax() == "image__0"
    assert importance["image__0"] > 0.05


def test_names(X):
    assert "hit_rate@20" in get_scorer_names()
    assert repr(get_scorer("r2")) == repr(sklearn.metrics.get_scorer("r2"))
    for name in get_scorer_names():
        get_scorer(name)


@pytest.mark.parametrize("name", ["ndcg", "ndcg@0", "ndcg@-2", "accuracy@x", ""])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match=f"unknown metric {name!r}"):
        get_scorer(name)


def test_bad_input_is_named(X):
    fitted = PopularityRecommender().fit(X[["user_id", "item_id"]])
    scorer = get_scorer("ndcg@5")
    with pytest.raises(ValueError, match="no row of X is relevant"):
        scorer(fitted, X, np.zeros(len(X)))
    with pytest.raises(ValueError, match=r"y must have shape \(240,\)"):
        scorer(fitted, X, [1.0])
    with pytest.raises(TypeError, match="LinearRegression neither has nor contains"):
        scorer(LinearRegression(), X)
    with pytest.raises(TypeError, match="GridSearchCV neither has"):
        recommend(GridSearchCV(small(), {}), ["u01"])
    with pytest.raises(ValueError, match="'candidates' parameter"):
        make_ranking_scorer("ndcg@5", candidates="everything")
    with pytest.raises(ValueError, match="at least one metric"):
        make_ranking_scorer([])
    nan = pd.DataFrame({"user_id": [1], "item_id": [1], "score": [np.nan]})
    with pytest.raises(ValueError, match="predicts NaN in row 0"):
        make_ranking_scorer(candidates="rows")(FirstNumber(), nan)


NO_ANSWERS = {
    "missing": [1.0, np.nan, 0.0],
    "None": [1, None, 0],
    "NA": pd.array([1, None, 0], dtype="Int64"),
    "infinite": [1.0, np.inf, 0.0],
    "word": [1, "good", 0],
    "date": pd.date_range("2024", periods=3),
    "duration": pd.to_timedelta([1, 2, 0], "D"),
    "complex": [1, 2j, 0],
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
@pytest.mark.parametrize("name", ["ndcg@2", "click_accuracy"])
def test_what_is_no_answer_is_an_error_and_not_irrelevant(kind, name):
    X = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 3], "p": [0.5, 0.2, 0.1]})
    scorer = get_scorer(name) if "click" in name else make_ranking_scorer(name)
    with pytest.raises(ValueError, match=r"\by\b"):
        scorer(Known().fit(X), X, NO_ANSWERS[kind])


def test_one_column_of_answers_is_one():
    X = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 3], "p": [0.5, 0.2, 0.1]})
    y = pd.DataFrame({"stars": [1, 0, 1]})
    scorer = make_ranking_scorer("ndcg@2", candidates="rows")
    expected = scorer(Known(), X, y["stars"])
    assert scorer(Known(), X, y) == pytest.approx(expected, rel=1e-6, abs=1e-6)


class Known(RegressorMixin, BaseEstimator):
    """Predicts the third column."""

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        return np.asarray(X)[:, 2]


@pytest.fixture(scope="module")
def tasks(X):
    """Likes, of which some are unknown or none, and a rating for each row."""
    rng = np.random.default_rng(1)
    likes = np.where(rng.random(len(X)) < 0.2, np.nan, rng.integers(0, 2, len(X)))
    return pd.DataFrame({"like": likes, "stars": rng.uniform(1, 5, len(X))})


@pytest.mark.parametrize("candidates", ["catalog", "rows"])
@pytest.mark.parametrize("wrap", [lambda rec: rec, make_pipeline])
def test_several_tasks_are_judged_by_the_first(X, tasks, candidates, wrap):
    train, test = next(LeaveLastOut(4).split(X))
    y, held_out = tasks.iloc[test], X.iloc[test]
    rec = wrap(small(objective=["softmax", "mse"])).fit(
        X.iloc[train], tasks.iloc[train]
    )
    scorer = make_ranking_scorer(["ndcg@10", "recall@3"], candidates=candidates)
    first = y["like"].fillna(0)
    expected = scorer(rec, held_out, first)
    assert scorer(rec, held_out, y) == expected
    assert rec.score(held_out, y) == rec.score(held_out, first)
    if candidates == "catalog":
        assert rec.score(held_out, y) == pytest.approx(expected["ndcg@10"], abs=1e-6)
    with pytest.raises(ValueError, match=r"y has 3 columns, but fit had 2"):
        rec.score(held_out, y.assign(more=1.0))
    with pytest.raises(ValueError, match=r"y must have shape"):
        scorer(rec, held_out, y.assign(more=1.0))


def test_one_task_is_not_judged_by_two(X, tasks):
    rec = small().fit(X)
    for judge in (rec.score, lambda *rows: get_scorer("ndcg@10")(rec, *rows)):
        with pytest.raises(ValueError, match="y must have"):
            judge(X, tasks.fillna(0))
        with pytest.raises(ValueError, match="NaN"):
            judge(X, tasks["like"])


@pytest.mark.parametrize("scoring", [None, get_scorer("recall@5")])
def test_searches_over_several_tasks(X, tasks, scoring):
    search = GridSearchCV(
        small(objective=["softmax", "mse"]),
        {"n_factors": [4, 8]},
        cv=LeaveLastOut(2),
        scoring=scoring,
    )
    scores = search.fit(X, tasks).cv_results_["mean_test_score"]
    assert (scores > 0).all()
