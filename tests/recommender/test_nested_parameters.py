"""Parameters inside of parameters: searches, clones, and what a notebook shows."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmmrec import MultimodalFusionRecommender
from skmmrec.recommender import (
    AttentionTower,
    ContentRecommender,
    EarlyStopping,
    MatrixFactorizationRecommender,
    MeanTower,
    Propagation,
    Regularization,
    SequenceTower,
    Training,
)

GRID = {
    "training__learning_rate": [0.001, 0.1],
    "regularization__dropout": [0.0, 0.8],
    "user_tower__history_exponent": [0.2, 1.0],
    "early_stopping__n_iter_no_change": [1, 30],
    "propagation__share": [0.1, 0.9],
    "fusion": ["concat", "attention"],
}
FOLDS = KFold(2, shuffle=True, random_state=0)


def found_by(rec, grid, X, **options):
    return GridSearchCV(rec, grid, cv=FOLDS, error_score="raise", **options).fit(X)


@pytest.mark.parametrize("name", GRID)
def test_a_grid_reaches_inside(make, catalog, X, name):
    """Of a recommender that says nothing of the part, or names it, or has it."""
    base = make(catalog, training__max_epochs=30)
    before = repr(base)
    search = found_by(base, {name: GRID[name]}, X)
    assert repr(base) == before
    assert search.best_params_[name] in GRID[name]
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert search.best_estimator_.get_params()[name] == search.best_params_[name]
    for value, score in zip(GRID[name], scores, strict=True):
        rec = clone(base).set_params(**{name: value})
        folds = [(X.iloc[train], X.iloc[test]) for train, test in FOLDS.split(X)]
        expected = [clone(rec).fit(train).score(test) for train, test in folds]
        assert score == pytest.approx(np.mean(expected), abs=1e-9)


def test_a_search_over_all_of_them(make, catalog, X):
    base = make(catalog, training__max_epochs=2)
    search = RandomizedSearchCV(
        base, GRID, n_iter=5, cv=FOLDS, random_state=0, error_score="raise"
    ).fit(X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.training.max_epochs == 2
    assert base.regularization is base.early_stopping is base.propagation is None
    assert base.user_tower == "mean"


def test_whole_parts_are_candidates_too(make, catalog, X):
    towers = [MeanTower(), AttentionTower(), SequenceTower(max_history=3), "mean"]
    search = found_by(make(catalog), {"user_tower": towers}, X)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] == scores[3]
    stopping = [None, EarlyStopping(), EarlyStopping(metric="loss")]
    search = found_by(make(catalog), {"early_stopping": stopping}, X)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_grid_reaches_through_a_pipeline(make, flat):
    same = FunctionTransformer(feature_names_out="one-to-one")
    name = "multimodalfusionrecommender__regularization__l2"
    search = found_by(make_pipeline(same, make()), {name: [0.0, 10.0]}, flat)
    assert np.ptp(search.cv_results_["mean_test_score"]) > 0


def test_a_grid_reaches_inside_of_a_factorisation(X):
    rec = MatrixFactorizationRecommender(4, random_state=0)
    grid = {"training__max_epochs": [1, 20], "regularization__l2": [0.0, 1.0]}
    search = found_by(rec, grid, X)
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    assert rec.training is rec.regularization is None


# -- objects -------------------------------------------------------------------------


def test_what_is_none_becomes_an_object_of_its_own():
    one, other = MultimodalFusionRecommender(), MultimodalFusionRecommender()
    one.set_params(
        training__max_epochs=1,
        regularization__l2=1.0,
        early_stopping__metric="loss",
        propagation__share=0.5,
        user_tower__max_history=5,
    )
    for name in ("training", "regularization", "early_stopping", "propagation"):
        assert getattr(other, name) is None
    assert other.user_tower == "mean"
    third = MultimodalFusionRecommender()
    assert repr(third) == repr(other) == "MultimodalFusionRecommender()"
    third.set_params(training__max_epochs=2)
    assert one.training.max_epochs == 1
    assert third.training is not one.training


@pytest.mark.parametrize(
    ("name", "kind"),
    [("mean", MeanTower), ("attention", AttentionTower), ("sequence", SequenceTower)],
)
def test_a_name_becomes_the_tower_that_it_stands_for(name, kind):
    rec = MultimodalFusionRecommender(user_tower=name)
    rec.set_params(user_tower__max_history=7)
    assert repr(rec.user_tower) == f"{kind.__name__}(max_history=7)"
    at_once = MultimodalFusionRecommender()
    at_once.set_params(user_tower__max_history=7, user_tower=name)
    assert repr(at_once.user_tower) == repr(rec.user_tower)


def test_a_part_that_is_given_is_kept():
    training = Training(learning_rate=0.1)
    rec = MultimodalFusionRecommender(training=training)
    assert rec.set_params(training__max_epochs=3).training is training
    assert training.get_params()["learning_rate"] == 0.1
    rec.set_params(training__max_epochs=4, training=Training(batch_size=9))
    assert repr(rec.training) == "Training(batch_size=9, max_epochs=4)"
    assert training.max_epochs == 3


@pytest.mark.parametrize(
    "parts",
    [
        {
            "training": Training(max_epochs=1),
            "regularization": Regularization(l2=1.0),
            "early_stopping": EarlyStopping(metric="loss"),
            "propagation": Propagation(share=0.5),
            "user_tower": AttentionTower(max_history=3),
        },
        {"training": Training(task_weights=[1.0, 2.0], max_epochs=1)},
    ],
)
def test_a_clone_has_parts_of_its_own(parts):
    """To change those of either leaves the other alone."""
    changes = {
        "training__learning_rate": 0.5,
        "regularization__dropout": 0.9,
        "early_stopping__validation_fraction": 0.5,
        "propagation__n_neighbors": 1,
        "user_tower__history_exponent": 0.1,
    }
    rec = MultimodalFusionRecommender(**parts)
    copies = [clone(rec), pickle.loads(pickle.dumps(rec))]
    for copy in copies:
        before = repr(rec)
        assert repr(copy) == before
        for name in parts:
            assert getattr(copy, name) is not getattr(rec, name)
        copy.set_params(**changes)
        assert repr(rec) == before
    before = [repr(copy) for copy in copies]
    rec.set_params(training__max_epochs=77)
    assert [repr(copy) for copy in copies] == before


def test_fit_leaves_the_parts_as_they_are(make, catalog, X):
    """They may be shared by many recommenders, and hold no trace of any."""
    training, tower = Training(max_epochs=1), AttentionTower()
    before = vars(training).copy(), vars(tower).copy()
    one, other = (
        MultimodalFusionRecommender(
            catalog, n_factors=n, training=training, user_tower=tower, random_state=0
        ).fit(X)
        for n in (3, 4)
    )
    assert (vars(training), vars(tower)) == before
    assert one.training is other.training is training


def test_a_fitted_recommender_does_not_follow_its_parts(make, catalog, X):
    """What is answered, saved and shown is what was fitted."""
    rec = make(catalog, user_tower=MeanTower(), propagation=Propagation()).fit(X)
    expected = rec.recommend(), rec.serving_vectors().version
    rec.set_params(user_tower__history_exponent=0.0, propagation__share=0.9)
    rec.partial_fit(X.head(1))
    found = rec.recommend(), rec.serving_vectors().version
    assert found[0].equals(expected[0])
    assert found[1] == expected[1]
    assert rec.serving_vectors().history_exponent == 1.0


# -- in a notebook -------------------------------------------------------------------

SHOWN = {
    "fusion": MultimodalFusionRecommender(
        user_tower=AttentionTower(),
        training=Training(max_epochs=1),
        early_stopping=EarlyStopping(),
        propagation=Propagation(share=0.4),
        n_factors=4,
        random_state=0,
    ),
    "defaults": MultimodalFusionRecommender(),
    "content": ContentRecommender(),
    "factors": MatrixFactorizationRecommender(4, training=Training(max_epochs=1)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_shows_it_before_and_after_fit(flat, name):
    rec = clone(SHOWN[name])
    title = type(rec).__name__
    for html in (rec._repr_html_(), rec._repr_mimebundle_()["text/html"]):
        assert title in html
        assert "Catalogue" not in html
    if name == "fusion":
        for part in ("AttentionTower", "Training", "EarlyStopping", "Propagation"):
            assert part in rec._repr_html_()
        assert "0.4" in rec._repr_html_()
    rec.fit(flat)
    for html in (rec._repr_html_(), rec._repr_mimebundle_()["text/html"]):
        assert f"{title}, fitted" in html
        assert "14 items, 9 users" in html
        assert html.count("<table") == html.count("</table>")


def test_the_metric_of_the_curve_is_named(make, catalog, X):
    rec = make(catalog, early_stopping=EarlyStopping(metric="recall@2")).fit(X)
    best = max(rec.validation_curve_)
    assert f"recall@2 {best:.4g} after epoch" in rec._repr_html_()


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_printed_can_be_read_again(name):
    rec = SHOWN[name]
    assert repr(eval(repr(rec))) == repr(rec)
