"""A fit that raises leaves no trace, whatever stops it."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import (
    ContentRecommender,
    EarlyStopping,
    MatrixFactorizationRecommender,
    Propagation,
    Regularization,
    Training,
)
from skmmrec.recommender.training._loop import Trainer

from .baselines.test_baselines import RANKERS, name_of

IDS = ["user_id", "item_id"]
SMALL = {"n_factors": 4, "random_state": 0, "training": Training(max_epochs=2)}
EVERYTHING = {"k": 99, "exclude_seen": False}


class Stopped(BaseException):
    """As a KeyboardInterrupt: no Exception."""


@pytest.fixture(scope="module")
def recommenders(items):
    """All kinds that there are."""
    catalog = ItemCatalog(items)
    return {
        "fusion": MultimodalFusionRecommender(**SMALL),
        "fusion with a catalogue": MultimodalFusionRecommender(catalog, **SMALL),
        "fusion, goes on": MultimodalFusionRecommender(
            catalog, warm_start=True, n_members=2, propagation=Propagation(), **SMALL
        ),
        "content": ContentRecommender(),
        "content with a catalogue": ContentRecommender(catalog),
        "factors": MatrixFactorizationRecommender(**SMALL),
        "factors, goes on": MatrixFactorizationRecommender(warm_start=True, **SMALL),
        **{name_of(ranker): ranker for ranker in RANKERS},
    }


NAMES = [
    "fusion",
    "fusion with a catalogue",
    "fusion, goes on",
    "content",
    "content with a catalogue",
    "factors",
    "factors, goes on",
    *map(name_of, RANKERS),
]
TRAINED = [name for name in NAMES if name.startswith(("fusion", "factors"))]
VECTORS = [*TRAINED, "content", "content with a catalogue"]


@pytest.fixture(params=NAMES)
def recommender(request, recommenders):
    return clone(recommenders[request.param])


@pytest.fixture(params=TRAINED)
def trained(request, recommenders):
    return clone(recommenders[request.param])


@pytest.fixture
def rows(flat, X):
    """Rows as a recommender takes them."""

    def rows(recommender):
        return X if getattr(recommender, "catalog", None) is not None else flat

    return rows


def broken(table):
    """Ways to spoil the rows, and answers."""
    ids = table.item_id.astype(object)
    ids.iloc[3] = None
    answers = np.ones(len(table))
    bad = answers.copy()
    bad[2] = np.nan
    return {
        "a missing id": (table.assign(item_id=ids), answers),
        "no rows": (table.iloc[:0], answers[:0]),
        "one column": (table[["user_id"]], answers),
        "a bad answer": (table, bad),
        "too few answers": (table, answers[:3]),
    }


WAYS = ["a missing id", "no rows", "one column", "a bad answer", "too few answers"]


def stop_learning(monkeypatch, recommender, after=0):
    """Let the part that learns raise, a number of calls later."""
    if hasattr(recommender, "_learn"):
        owner, name = type(recommender), "_learn"
    elif isinstance(recommender, ContentRecommender):
        from skmmrec.recommender._model import FittedModel

        owner, name = FittedModel, "update_users"
    else:
        owner, name = Trainer, "_epoch"
    step, calls = getattr(owner, name), []

    def raising(self, *args):
        calls.append(1)
        if len(calls) > after:
            raise Stopped
        return step(self, *args)

    monkeypatch.setattr(owner, name, raising)
    return calls


def assert_unfitted(recommender, X):
    assert not hasattr(recommender, "n_features_in_")
    assert not hasattr(recommender, "feature_names_in_")
    for call in (
        lambda: recommender.recommend(),
        lambda: recommender.score(X),
    ):
        with pytest.raises(NotFittedError):
            call()
    if isinstance(recommender, MultimodalFusionRecommender):
        for name in ("predict", "transform"):
            with pytest.raises(NotFittedError):
                getattr(recommender, name)(X)
        assert not hasattr(recommender, "item_vectors_")
        assert not hasattr(recommender, "loss_curve_")
    learned = [name for name in vars(recommender) if name.endswith("_")]
    assert learned == []


def state_of(recommender):
    """What it answers, and all that it consists of."""
    return (
        recommender.recommend(**EVERYTHING),
        recommender.recommend([-1], **EVERYTHING),
        recommender.n_features_in_,
        list(recommender.feature_names_in_),
        vars(recommender).copy(),
    )


def assert_as_before(recommender, before):
    after = state_of(recommender)
    for one, other in zip(before[:2], after[:2], strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert after[2:4] == before[2:4]
    assert after[4].keys() == before[4].keys()
    for name, value in before[4].items():
        assert after[4][name] is value, name


# -- before anything was learned -----------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_bad_rows_leave_it_unfitted(recommender, rows, way):
    table = rows(recommender)
    X, y = broken(table)[way]
    before = vars(recommender).copy()
    for name in ("fit", "partial_fit"):
        if hasattr(recommender, name):
            with pytest.raises((ValueError, TypeError)):
                getattr(recommender, name)(X, y)
            assert_unfitted(recommender, table)
            assert vars(recommender) == before


def test_what_stops_the_learning_leaves_it_unfitted(recommender, rows, monkeypatch):
    table = rows(recommender)
    with monkeypatch.context() as patch:
        stop_learning(patch, recommender)
        with pytest.raises(Stopped):
            recommender.fit(table)
    assert_unfitted(recommender, table)
    assert recommender.fit(table).n_features_in_ == table.shape[1]


def test_what_stops_in_the_middle_leaves_it_unfitted(trained, rows, monkeypatch):
    table = rows(trained)
    with monkeypatch.context() as patch:
        calls = stop_learning(patch, trained, after=1)
        with pytest.raises(Stopped):
            trained.fit(table)
        assert len(calls) == 2
    assert_unfitted(trained, table)


@pytest.mark.parametrize(
    "params",
    [
        {"training": Training(max_epochs=-1)},
        {"regularization": Regularization(dropout=2.0)},
        {"early_stopping": EarlyStopping(metric="accuracy")},
        {"training": Training(task_weights=[1.0])},
        {"objective": "hinge"},
        {"device": "abacus"},
        {"n_factors": 0},
        {"training": 3},
    ],
)
def test_bad_parameters_leave_it_unfitted(trained, rows, params):
    table = rows(trained)
    trained.set_params(**params)
    with pytest.raises((ValueError, RuntimeError)):
        trained.fit(table)
    assert_unfitted(trained, table)


# -- after a fit ---------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_bad_rows_leave_it_as_it_was(recommender, rows, way):
    table = rows(recommender)
    recommender.fit(table)
    before = state_of(recommender)
    X, y = broken(table.iloc[:20])[way]
    with pytest.raises((ValueError, TypeError)):
        recommender.fit(X, y)
    assert_as_before(recommender, before)


@pytest.mark.parametrize("after", [0, 1])
def test_what_stops_the_learning_leaves_it_as_it_was(
    recommender, rows, monkeypatch, after
):
    """Another table with fewer columns must not leave its names behind either."""
    table = rows(recommender)
    recommender.fit(table)
    before = state_of(recommender)
    with monkeypatch.context() as patch:
        if not isinstance(
            recommender, MultimodalFusionRecommender | MatrixFactorizationRecommender
        ):
            after = 0
        stop_learning(patch, recommender, after)
        with pytest.raises(Stopped):
            recommender.fit(table.drop(columns="timestamp").head(30))
    assert_as_before(recommender, before)


@pytest.mark.parametrize("name", VECTORS)
def test_what_stops_at_the_end_leaves_it_as_it_was(
    recommenders, rows, monkeypatch, name
):
    """All is learned; the vectors of users are the last to be computed."""
    from skmmrec.recommender._model import FittedModel

    recommender = clone(recommenders[name])
    table = rows(recommender)
    recommender.fit(table)
    before = state_of(recommender)

    def stop(self, where=None):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(FittedModel, "update_users", stop)
        with pytest.raises(Stopped):
            recommender.fit(table.head(30))
    assert_as_before(recommender, before)


# -- feedback ------------------------------------------------------------------------


def learned_by(recommender):
    """Copies of everything that feedback may change."""
    model = recommender.model_
    return {
        "items": recommender.item_vectors_.copy(),
        "users": recommender.user_vectors_.copy(),
        "biases": recommender.item_biases_.copy(),
        "weights": deepcopy([network.state_dict() for network in model.networks]),
        "met": model.met.copy(),
        "losses": list(model.loss_curve),
        "seen": model.data.seen.items.copy(),
    }


def assert_learned(recommender, before):
    after = learned_by(recommender)
    for name in ("items", "users"):
        pd.testing.assert_frame_equal(before[name], after[name], check_exact=True)
    pd.testing.assert_series_equal(before["biases"], after["biases"], check_exact=True)
    for name in ("met", "losses", "seen"):
        np.testing.assert_array_equal(before[name], after[name])
    for one, other in zip(before["weights"], after["weights"], strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def feedback(recommender, table):
    """Rows with a new user and, where the table brings content, a new item."""
    new = table.head(4).assign(user_id=999)
    if getattr(recommender, "catalog", None) is None:
        new = new.assign(item_id=["i00", "i01", "new", "newer"])
    return new


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("way", WAYS)
def test_bad_feedback_changes_nothing(recommenders, rows, name, way):
    recommender = clone(recommenders[name])
    table = rows(recommender)
    recommender.fit(table)
    before = learned_by(recommender)
    X, y = broken(feedback(recommender, table))[way]
    with pytest.raises((ValueError, TypeError)):
        recommender.partial_fit(X, y)
    assert_learned(recommender, before)


@pytest.mark.parametrize(
    "training",
    [
        Training(partial_fit_epochs=-1),
        Training(partial_fit_epochs=1, learning_rate=-1.0),
        {"partial_fit_epochs": 1},
    ],
)
def test_feedback_by_bad_settings_changes_nothing(trained, rows, training):
    table = rows(trained)
    trained.fit(table)
    before = learned_by(trained)
    trained.set_params(training=training)
    with pytest.raises(ValueError, match=r"training|partial_fit_epochs|learning_rate"):
        trained.partial_fit(feedback(trained, table))
    assert_learned(trained, before)


@pytest.mark.parametrize("after", [0, 1])
def test_feedback_that_is_stopped_changes_nothing(trained, rows, monkeypatch, after):
    table = rows(trained)
    trained.fit(table)
    before = learned_by(trained)
    trained.set_params(training__partial_fit_epochs=2)
    with monkeypatch.context() as patch:
        stop_learning(patch, trained, after)
        with pytest.raises(Stopped):
            trained.partial_fit(feedback(trained, table))
    assert_learned(trained, before)
    trained.partial_fit(feedback(trained, table))
    assert 999 in trained.user_index_


@pytest.mark.parametrize("name", [n for n in VECTORS if "catalogue" in n])
def test_items_that_cannot_be_added_change_nothing(recommenders, items, X, name):
    recommender = clone(recommenders[name]).fit(X)
    before = learned_by(recommender)
    more = items.head(2).assign(item_id=["new", "newer"])
    for wrong in (
        items.head(1),
        more.assign(item_id="new"),
        more.assign(item_id=[1, 2]),
        more.drop(columns="item_id"),
        more.assign(image__0=np.inf),
        more.assign(image__0="red"),
        more[["item_id"]],
    ):
        with pytest.raises((ValueError, TypeError, KeyError)):
            recommender.add_items(wrong)
        assert_learned(recommender, before)


def test_scoring_new_items_changes_nothing(recommenders, flat):
    for name in ("fusion", "content", "factors"):
        recommender = clone(recommenders[name]).fit(flat[flat.item_id != "i13"])
        before = learned_by(recommender)
        recommender.score(flat[flat.item_id == "i13"])
        recommender.predict(flat)
        assert_learned(recommender, before)
