"""How a fit is watched, stopped, resumed and continued."""

import time
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.catalog import Blocks
from skmmrec.recommender import EarlyStopping
from skmmrec.recommender.training import _loop, _training
from skmmrec.recommender.training._checkpoints import checkpoint_of
from tests.recommender.test_fit import assert_same_model

IDS = ["user_id", "item_id"]


class Killed(Exception):
    pass


@pytest.fixture
def kill_after(monkeypatch):
    """Make training die when the state of its n-th epoch has been kept."""

    def kill_after(n_epochs):
        save = _loop.Trainer._save

        def save_and_die(self, *args):
            save(self, *args)
            if len(self.history) == n_epochs:
                raise Killed

        monkeypatch.setattr(_loop.Trainer, "_save", save_and_die)

    return kill_after


@pytest.fixture
def given_problem(make, catalog, X):
    rec = make(catalog, training__max_epochs=0).fit(X)
    return rec.model_.problem(), rec._plan()


# -- early stopping ------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["auto", "recall@5", "loss"])
def test_the_best_epoch_is_kept(make, catalog, X, metric):
    rec = make(
        catalog,
        early_stopping=EarlyStopping(
            n_iter_no_change=2, metric=metric, validation_fraction=0.3
        ),
        training__max_epochs=40,
    ).fit(X)
    best = int(np.argmax(rec.validation_curve_))
    assert len(rec.validation_curve_) == rec.n_iter_ == len(rec.loss_curve_)
    assert rec.n_iter_ == 40 or rec.n_iter_ == best + 1 + 2
    assert (np.asarray(rec.validation_curve_) < 0).all() == (metric == "loss")
    as_far = (
        clone(rec)
        .set_params(training__max_time=None, early_stopping__n_iter_no_change=99)
        .fit(X)
    )
    same = int(np.argmax(as_far.validation_curve_)) == best
    assert same == np.array_equal(as_far.item_vectors_, rec.item_vectors_)


def test_held_out_likes_count_as_history(make, catalog, X):
    """They are not learned from, but what is served knows them."""
    rec = make(catalog, early_stopping=EarlyStopping(), training__max_epochs=2).fit(X)
    assert len(rec.history_.items) == len(X)
    for user, rows in X.groupby("user_id"):
        expected = rec.item_vectors_.loc[rows.item_id].mean()
        np.testing.assert_allclose(rec.user_vectors_.loc[user], expected, atol=1e-6)
        assert not set(rec.recommend([user], k=99).item_id) & set(rows.item_id)


def test_nothing_to_hold_out(make, catalog, X):
    singles = X.drop_duplicates("user_id")
    with pytest.raises(ValueError, match="a user with two liked items"):
        make(catalog, early_stopping=EarlyStopping()).fit(singles)


def test_an_unknown_metric_is_refused_before_training(make, catalog, X):
    with pytest.raises(ValueError, match="unknown metric 'accuracy'"):
        make(catalog, early_stopping__metric="accuracy").fit(X)


# -- the loop ------------------------------------------------------------------------


def test_time_is_limited(make, catalog, X):
    start = time.monotonic()
    rec = make(
        catalog,
        training__max_epochs=10**6,
        training__max_time=0.3,
        training__batch_size=4,
    ).fit(X)
    assert rec.n_iter_ < 10**6
    assert np.isfinite(rec.item_vectors_).all(axis=None)
    assert time.monotonic() - start < 30


def test_gradients_are_clipped(make, catalog, X, monkeypatch):
    lengths = []
    clip = torch.nn.utils.clip_grads_with_norm_

    def spy(parameters, norm, before):
        clip(parameters, norm, before)
        grads = [p.grad.norm() for p in parameters if p.grad is not None]
        lengths.append((float(before), float(torch.stack(grads).norm())))

    monkeypatch.setattr(torch.nn.utils, "clip_grads_with_norm_", spy)
    make(catalog, training__clip_norm=0.01).fit(X)
    before, after = np.transpose(lengths)
    assert (before > 0.011).all()
    np.testing.assert_allclose(after, 0.01, atol=1e-5)


def test_mixed_precision_is_near(make, catalog, X):
    exact = make(catalog, training__max_epochs=10, training__precision="float32").fit(X)
    mixed = make(catalog, training__max_epochs=10, training__precision="bfloat16").fit(
        X
    )
    assert mixed.item_vectors_.dtypes.eq(np.float32).all()
    assert not np.array_equal(mixed.item_vectors_, exact.item_vectors_)
    difference = np.abs(mixed.predict(X) - exact.predict(X)).max()
    assert difference < 0.1 * np.ptp(exact.predict(X))


def test_the_log_tells_what_was_held_out(make, catalog, X, caplog):
    caplog.set_level("INFO", logger="skmmrec.recommender")
    make(catalog, early_stopping=EarlyStopping(), training__max_epochs=2).fit(X)
    told = [record.getMessage() for record in caplog.records]
    lines = [line for line in told if line.startswith("epoch")]
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("loss" in line and "held out" in line for line in lines)


# -- after a kill --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("averaging", "early_stopping"),
    [(0.0, None), (1.0, None), ("auto", EarlyStopping(n_iter_no_change=9))],
)
def test_a_killed_fit_goes_on_to_the_same_result(
    make, catalog, X, tmp_path, kill_after, monkeypatch, averaging, early_stopping
):
    params = {
        "training__max_epochs": 6,
        "training__averaging": averaging,
        "early_stopping": early_stopping,
    }
    straight = make(catalog, **params).fit(X)
    with monkeypatch.context() as context:
        kill_after(3)
        with pytest.raises(Killed):
            make(catalog, training__checkpoint_dir=tmp_path, **params).fit(X)
        context.undo()
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 1
    resumed = make(catalog, training__checkpoint_dir=tmp_path, **params).fit(X)
    assert_same_model(straight, resumed)
    assert straight.validation_curve_ == resumed.validation_curve_
    assert not list(tmp_path.iterdir())


def test_another_fit_does_not_take_the_checkpoint(
    make, catalog, X, tmp_path, kill_after, monkeypatch
):
    kill_after(2)
    with pytest.raises(Killed):
        make(catalog, training__checkpoint_dir=tmp_path).fit(X)
    monkeypatch.undo()
    for params, rows in (({"regularization__l2": 0.5}, X), ({}, X.iloc[1:])):
        fresh = make(catalog, **params).fit(rows)
        kept = make(catalog, training__checkpoint_dir=tmp_path, **params).fit(rows)
        assert_same_model(fresh, kept)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_damaged_checkpoint_is_told_and_left(
    make, catalog, X, tmp_path, kill_after, monkeypatch, keep
):
    kill_after(2)
    with pytest.raises(Killed):
        make(catalog, training__checkpoint_dir=tmp_path).fit(X)
    monkeypatch.undo()
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.warns(UserWarning, match="is damaged"):
        rec = make(catalog, training__checkpoint_dir=tmp_path).fit(X)
    assert_same_model(rec, make(catalog).fit(X))


@pytest.mark.parametrize(
    "seed", [lambda: None, lambda: np.random.RandomState(3)], ids=["none", "state"]
)
def test_a_killed_fit_goes_on_with_its_seed(
    make, catalog, X, tmp_path, kill_after, monkeypatch, seed
):
    """Without one that was given, the same rows are held out all the same."""
    hidden, hide = [], _training.hide_likes

    def noted(*given):
        found = hide(*given)
        hidden.append(found[0])
        return found

    monkeypatch.setattr(_training, "hide_likes", noted)
    params = {"training__checkpoint_dir": tmp_path, "training__max_epochs": 3}
    params |= {"early_stopping": EarlyStopping()}
    kill_after(2)
    with pytest.raises(Killed):
        make(catalog, **params).set_params(random_state=seed()).fit(X)
    monkeypatch.undo()
    monkeypatch.setattr(_training, "hide_likes", noted)
    assert len(list(tmp_path.iterdir())) == 1
    trained, epoch = [], _loop.Trainer._epoch
    monkeypatch.setattr(
        _loop.Trainer, "_epoch", lambda *given: trained.append(1) or epoch(*given)
    )
    make(catalog, **params).set_params(random_state=seed()).fit(X)
    assert len(trained) == 1
    np.testing.assert_array_equal(*hidden)
    assert not list(tmp_path.iterdir())


def test_what_changed_beside_the_items_is_another_fit(given_problem, tmp_path):
    """The content of users, and histories of the same pairs."""
    problem, plan = given_problem
    users = Blocks.from_matrix(
        np.arange(len(problem.history.lengths))[:, None] + 1.0, {"age": [0]}
    )
    one = replace(problem, user_content=users)
    values = {name: block * 2 for name, block in users.values.items()}
    others = [
        problem,
        replace(problem, user_content=replace(users, values=values)),
        replace(one, history=problem.history.where(problem.history.items != 0)),
    ]
    paths = {
        checkpoint_of(tmp_path, each, plan, None, 0).path for each in (one, *others)
    }
    assert len(paths) == 4


def test_a_network_of_another_version_is_told(
    make, catalog, X, tmp_path, kill_after, monkeypatch
):
    kill_after(2)
    with pytest.raises(Killed):
        make(catalog, training__checkpoint_dir=tmp_path).fit(X)
    monkeypatch.undo()
    (path,) = tmp_path.iterdir()
    state = torch.load(path)
    state["network"]["older"] = state["network"].pop("item_bias")
    torch.save(state, path)
    with pytest.warns(UserWarning, match=r"as of another version: starting anew"):
        rec = make(catalog, training__checkpoint_dir=tmp_path).fit(X)
    assert_same_model(rec, make(catalog).fit(X))


# -- from an earlier fit -------------------------------------------------------------


def test_a_warm_start_goes_on(make, catalog, X):
    rec = make(catalog, warm_start=True, training__max_epochs=15).fit(X)
    first = rec.loss_curve_
    rec.set_params(training__max_epochs=1).fit(X)
    cold = make(catalog, training__max_epochs=1).fit(X)
    assert rec.loss_curve_[0] < cold.loss_curve_[0]
    assert rec.loss_curve_[0] < first[0]


def test_a_warm_start_without_training_keeps_what_was_learned(make, items, X):
    """By id: the catalogue may have grown, and users may have come."""
    few = items.iloc[2:]
    known = X[X.item_id.isin(few.item_id)]
    rec = make(ItemCatalog(few), warm_start=True).fit(known)
    before = rec.item_vectors_, rec.item_biases_
    rec.set_params(catalog=ItemCatalog(items), training__max_epochs=0).fit(X)
    np.testing.assert_allclose(
        rec.item_vectors_.loc[before[0].index], before[0], atol=1e-6
    )
    np.testing.assert_allclose(
        rec.item_biases_.loc[before[1].index], before[1], atol=1e-6
    )
    assert len(rec.item_vectors_) == len(before[0]) + 2


@pytest.mark.parametrize("n_components", [3, 10])
def test_a_warm_start_keeps_the_space_of_users(make, catalog, X, n_components):
    """Users who are added would turn its axes, or change their number."""
    rng = np.random.default_rng(0)
    ids = np.arange(100, 120)
    users = pd.DataFrame(rng.normal(size=(len(ids), 12)), ids)
    users = users.add_prefix("image__").rename_axis("user_id").reset_index()
    known = users.user_id.isin(X.user_id) | (users.user_id == 119)
    assert known.sum() == 10
    rec = make(
        catalog,
        user_catalog=ItemCatalog(users[known], key="user_id"),
        regularization__n_components=n_components,
        warm_start=True,
    )
    before = rec.fit(X).user_vectors_
    rec.add_users(users[~known])
    added = rec.user_vectors_
    after = rec.set_params(training__max_epochs=0).fit(X).user_vectors_
    assert set(after.index) == set(users.user_id)
    for vectors in (before, added):
        np.testing.assert_allclose(
            after.loc[vectors.index], vectors, rtol=1e-4, atol=1e-6
        )
    rec.set_params(user_catalog=ItemCatalog(users.iloc[:, :-1], key="user_id"))
    with pytest.raises(ValueError, match="in user_catalog, this one has"):
        rec.fit(X)


def test_a_warm_start_needs_the_same_shape(make, catalog, X):
    rec = make(catalog, warm_start=True).fit(X)
    with pytest.raises(ValueError, match="fusion, n_factors"):
        rec.set_params(n_factors=9).fit(X)
    with pytest.raises(ValueError, match="fusion, n_factors"):
        rec.set_params(n_factors=6, fusion="transformer").fit(X)


def test_a_clone_is_cold(make, catalog, X):
    rec = make(catalog, warm_start=True).fit(X)
    assert_same_model(clone(rec).fit(X), make(catalog).fit(X))


def test_pretrained_brings_fusion_and_no_ids(make, catalog, X, tmp_path):
    """From a folder as from a frozen model, even where the ids are the same."""
    source = make(catalog, training__max_epochs=10).fit(X)
    source.save(tmp_path / "source")
    models = [
        make(catalog, training__max_epochs=0, pretrained=pretrained).fit(X)
        for pretrained in (
            str(tmp_path / "source"),
            tmp_path / "source",
            FrozenEstimator(source),
        )
    ]
    for rec in models:
        theirs = dict(source.model_.networks[0].named_parameters())
        for name, parameter in rec.model_.networks[0].named_parameters():
            is_same = torch.equal(parameter, theirs[name])
            assert is_same == (not name.startswith("item_")), name
        assert_same_model(rec, models[0])
    assert_same_model(clone(models[2]).fit(X), models[0])


def test_pretrained_must_be_fitted_and_alike(make, catalog, items, X):
    source = make(catalog).fit(X)
    with pytest.raises(ValueError, match="FrozenEstimator"):
        make(catalog, pretrained=clone(source)).fit(X)
    with pytest.raises(FileNotFoundError, match="no saved recommender"):
        make(catalog, pretrained="nowhere").fit(X)
    fewer = ItemCatalog(items.drop(columns=["audio__2"]))
    with pytest.raises(ValueError, match=r"'audio': 3.*'audio': 2"):
        make(fewer, pretrained=FrozenEstimator(source)).fit(X)


# -- feedback with training ----------------------------------------------------------


def test_feedback_can_train(make, catalog, X):
    rows = X[IDS]
    old, new = rows.iloc[:-12], rows.iloc[-12:]
    folded = make(catalog).fit(old).partial_fit(new)
    trained = make(catalog, training__partial_fit_epochs=5).fit(old)
    before = trained.item_vectors_
    trained.partial_fit(new)
    assert not np.allclose(trained.item_vectors_, before, atol=1e-5)
    pd.testing.assert_frame_equal(folded.item_vectors_, before)
    loved = new.iloc[0]
    pair = pd.DataFrame([loved])
    rise = trained.predict(pair) - trained.predict(pair.assign(user_id=0))
    assert np.isfinite(rise).all()
    assert len(trained.loss_curve_) == 3 + 5


def test_old_interactions_are_replayed(make, catalog, X, monkeypatch):
    """As many old examples as new ones are trained on."""
    taken = []
    run = _loop.Trainer.run

    def spy(self):
        taken.append(self.batcher.examples)
        return run(self)

    rows = X[IDS].reset_index(drop=True)
    rec = make(catalog, training__partial_fit_epochs=1).fit(rows.iloc[:-10])
    monkeypatch.setattr(_loop.Trainer, "run", spy)
    rec.partial_fit(rows.iloc[-10:])
    pairs = pd.DataFrame(
        {
            "user_id": rec.user_index_[taken[0].users],
            "item_id": rec.item_index_[taken[0].items],
        }
    )
    assert len(pairs) == 20
    assert not pairs.duplicated().any()
    assert len(pairs.merge(rows.iloc[-10:])) == 10


def test_load_needs_no_source(make, catalog, X, tmp_path):
    source = make(catalog).fit(X)
    rec = make(catalog, pretrained=FrozenEstimator(source)).fit(X)
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model", catalog)
    assert loaded.pretrained is None
    pd.testing.assert_frame_equal(loaded.recommend(), rec.recommend())


@pytest.mark.parametrize("other", [2, 4, 12, None])
def test_a_later_fit_refuses_another_number_of_components(make, catalog, X, other):
    content = np.random.default_rng(0).normal(size=(len(catalog), 12))
    items = pd.DataFrame(content, catalog.ids).add_prefix("text__")
    catalog = ItemCatalog(items.rename_axis("item_id").reset_index())
    rec = make(catalog, regularization__n_components=3, warm_start=True).fit(X)
    known = FrozenEstimator(deepcopy(rec))
    rec.fit(X)  # the same
    rec.set_params(regularization__n_components=other)
    new = make(catalog, regularization__n_components=other, pretrained=known)
    for later in (rec, new):
        with pytest.raises(ValueError, match=f"n_components={other}, but the earlier"):
            later.fit(X)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"fusion": "gated"}, {"fusion": "concat"}),
        ({"fusion": "attention"}, {"fusion": "concat"}),
        ({"user_tower": "attention"}, {"user_tower": "mean"}),
        ({"user_tower": "sequence"}, {"user_tower": "mean"}),
    ],
)
def test_a_later_fit_refuses_other_parts_either_way(make, catalog, X, one, other):
    for before, after in ((one, other), (other, one)):
        rec = make(catalog, warm_start=True, **before).fit(X)
        known = FrozenEstimator(deepcopy(rec))
        for later in (
            rec.set_params(**after),
            make(catalog, pretrained=known, **after),
        ):
            with pytest.raises(ValueError, match="in the earlier fit: fusion"):
                later.fit(X)
