"""What a fit chooses by itself is recorded, shown and kept."""

import json

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import (
    Choice,
    Choices,
    ContentRecommender,
    EarlyStopping,
    Regularization,
    Training,
)
from tests.recommender.saved import editing

# Parameters that are left to the fit by default, and a value by hand for each.
BY_HAND = {
    "training__batch_size": 64,
    "training__own_negatives": True,
    "training__averaging": 0.5,
    "regularization__id_l2": 2.0,
    "regularization__modality_dropout": 0.1,
    "half_life": 3.0,
    "memory": 0.5,
    "cold_popularity": 1.0,
}


@pytest.fixture(scope="module")
def fitted(make, catalog, X):
    return make(catalog).fit(X)


def name_of(parameter):
    return parameter.rpartition("__")[2]


def test_each_automatic_parameter_is_there(fitted):
    expected = {name_of(p) for p in BY_HAND} | {"tables", "muted_modalities"}
    assert set(fitted.choices_) == expected
    assert fitted.choices_["half_life"].value == fitted.half_life_
    assert fitted.choices_["id_l2"].value == fitted.id_l2_
    assert fitted.choices_["muted_modalities"].value == fitted.muted_modalities_


@pytest.mark.parametrize("parameter", BY_HAND)
def test_what_is_given_by_hand_is_not_chosen(make, catalog, X, fitted, parameter):
    rec = make(
        catalog,
        training=Training(max_epochs=1),
        regularization=Regularization(),
    )
    rec.set_params(**{parameter: BY_HAND[parameter]}).fit(X)
    assert set(fitted.choices_) - set(rec.choices_) == {name_of(parameter)}


def test_muting_that_is_off_is_not_chosen(make, catalog, X):
    rec = make(catalog, regularization=Regularization(mute_noise=False)).fit(X)
    assert "muted_modalities" not in rec.choices_


def test_weights_of_tasks_are_told(make, catalog, X):
    y = np.column_stack([np.ones(len(X)), np.arange(len(X)) % 5])
    tasks = {"objective": ["softmax", "mse"]}
    ranking, ratings = make(catalog, **tasks).fit(X, y).choices_["task_weights"].value
    assert ranking == 1
    assert 0.1 < ratings < 2
    given = Training(max_epochs=1, task_weights=[1, 0.3])
    assert (
        "task_weights" not in make(catalog, training=given, **tasks).fit(X, y).choices_
    )


def test_without_training_the_half_life_is_chosen_alone(catalog, X):
    choices = ContentRecommender(catalog).fit(X).choices_
    assert "half_life" in choices
    assert not {"batch_size", "own_negatives", "id_l2", "tables"} & set(choices)


def test_they_are_saved(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    assert loaded.choices_ == fitted.choices_
    assert isinstance(loaded.choices_, Choices)


@pytest.mark.parametrize(
    "entry",
    [
        {"value": {}, "reason": "", "figures": {}},
        {"value": [None], "reason": "", "figures": {}},
        {"value": 1, "reason": 2, "figures": {}},
        {"value": 1, "reason": "", "figures": {"n": "many"}},
        {"value": 1, "reason": ""},
    ],
)
def test_damaged_ones_are_refused(fitted, tmp_path, entry):
    fitted.save(tmp_path / "model")
    with editing(tmp_path / "model") as (record, _):
        record["choices"]["half_life"] = entry
    with pytest.raises(ValueError, match=r"damaged: choices\.half_life"):
        MultimodalFusionRecommender.load(tmp_path / "model")


def test_they_are_shown(fitted, caplog, make, catalog, X):
    page, card = fitted._repr_html_(), str(fitted.card())
    for name, choice in fitted.choices_.items():
        assert f"Chosen: {name}" in page
        assert f"Chosen: {name}" in card.replace("\\", "")
        assert choice.reason.partition("'")[0] in page
    assert "tables: replicated: one process" in repr(fitted.choices_)
    caplog.set_level("INFO", logger="skmmrec")
    make(catalog).fit(X)
    for name in fitted.choices_:
        assert f"{name} is " in caplog.text


def test_numbers_of_any_kind_become_plain():
    choice = Choice(
        np.float32(0.5), "so", {"n": np.int64(3), "x": np.float64(1), "far": np.inf}
    )
    record = Choices(memory=choice).to_record()
    assert json.loads(json.dumps(record)) == {
        "memory": {"value": 0.5, "reason": "so", "figures": {"n": 3, "x": 1.0}}
    }
    assert Choices.from_record(record) == {"memory": choice}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "none"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (2048, "2,048"),
        (0.25, "0.25"),
        ((), "none"),
        (["a", "b"], "a, b"),
        (np.array([1.0, 0.25]), "1, 0.25"),
        ("sharded", "sharded"),
    ],
)
def test_a_choice_reads_as_a_sentence(value, shown):
    assert str(Choice(value, "so")) == f"{shown}: so"


@pytest.fixture(scope="module")
def with_new_items():
    """Make a catalogue of which the last 30 items have no likes, and likes."""
    n_users, n_known, n_new = 150, 100, 30
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(n_known + n_new, 4))
    items = pd.DataFrame(looks).add_prefix("look__")
    catalog = ItemCatalog(items.assign(item_id=range(len(items))))
    tastes = rng.normal(size=(n_users, 4)) @ looks[:n_known].T
    best = np.argsort(rng.gumbel(size=tastes.shape) - tastes, axis=1)[:, :20]
    users = np.repeat(range(n_users), 20)
    return catalog, pd.DataFrame({"user_id": users, "item_id": best.ravel()})


def credited(catalog, X, credit, **settings):
    return MultimodalFusionRecommender(
        catalog,
        cold_popularity=credit,
        training=Training(max_epochs=3),  # more than the shortest trial
        random_state=0,
        **settings,
    ).fit(X)


def test_a_trial_does_not_depend_on_what_new_items_are_credited_with(with_new_items):
    """Items that nobody has met are never held out of it, however popular they count.

    Placed before all others, they would make a memory, which names none of them, and
    embeddings that are trusted seem far better than they are.
    """
    few, many = (credited(*with_new_items, credit) for credit in (0.5, 500))
    chosen = [[rec.id_l2_, rec.choices_["memory"].value] for rec in (few, many)]
    np.testing.assert_allclose(chosen[1], chosen[0], rtol=1e-6, atol=1e-9)
    assert few.choices_["memory"].figures["users"] > 100


def test_early_stopping_does_not_depend_on_it_either(with_new_items):
    settings = {"early_stopping": EarlyStopping(), "memory": None}
    few, many = (credited(*with_new_items, credit, **settings) for credit in (0.5, 500))
    np.testing.assert_allclose(
        many.validation_curve_, few.validation_curve_, rtol=1e-6, atol=1e-9
    )
    assert few.validation_curve_[0] > 0.05
