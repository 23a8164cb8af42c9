"""Tables of which a step touches few rows cost what is touched, and learn the same."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.interactions import History
from skmmrec.recommender import EarlyStopping, MeanTower, Propagation
from skmmrec.recommender.training import _loop, _touched
from skmmrec.recommender.training._assembly import make_batcher, make_loss, make_options
from skmmrec.recommender.training._batches import Batcher
from skmmrec.recommender.training._problem import Examples
from skmmrec.runtime import Generators
from tests.recommender.test_fit import assert_same_model
from tests.recommender.training.test_step import counts_operations

BOTH = frozenset({"items", "users"})


@pytest.fixture
def lazily(monkeypatch):
    """Make every fit update its tables row by row, or none."""

    def lazily(choice=BOTH):
        def choose(loss, batcher, batch_size):
            users = len(loss.network.user_embedding) > 0
            return choice if users else choice - {"users"}

        monkeypatch.setattr(_loop, "choose_lazy", choose)

    return lazily


SETTINGS = {
    "nothing": {},
    "small batches": {"training__batch_size": 5},
    "user embeddings": {"user_tower": MeanTower(user_embedding=True)},
    "early stopping": {"early_stopping": EarlyStopping(n_iter_no_change=9)},
    "by loss": {"early_stopping": EarlyStopping(metric="loss", n_iter_no_change=9)},
    "clipped": {"training__clip_norm": 1e-3},
    "graph": {"propagation": Propagation(n_neighbors=2)},
    "no prior": {"regularization__id_l2": 0.0},
    "ids hidden": {"regularization__id_dropout": 0.5},
    "two networks": {"n_members": 2},
    "alone": {"regularization__modality_balance": 0.5},
    "late": {"fusion": "late"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_learns_the_same_row_by_row(make, catalog, X, lazily, name):
    rec = make(catalog, **{"training__max_epochs": 6, **SETTINGS[name]})
    lazily(frozenset())
    whole = rec.fit(X).item_vectors_.to_numpy()
    untrained = rec.set_params(training__max_epochs=0, early_stopping=None).fit(X)
    start = untrained.item_vectors_.to_numpy()
    rec = make(catalog, **{"training__max_epochs": 6, **SETTINGS[name]})
    lazily()
    found = rec.fit(X).item_vectors_.to_numpy()
    assert np.linalg.norm(found - whole) < 0.06 * np.linalg.norm(whole - start)


def test_several_tasks_learn_the_same_row_by_row(make, catalog, X, y, lazily):
    Y = np.column_stack([y, np.where(np.arange(len(y)) % 3, y > 0, np.nan)])
    rec = make(catalog, objective=["mse", "bce"], training__max_epochs=6)
    lazily(frozenset())
    whole = rec.fit(X, Y).predict(X)
    lazily()
    np.testing.assert_allclose(rec.fit(X, Y).predict(X), whole, rtol=0.02, atol=0.01)


def test_half_precision_learns_the_same_row_by_row(make, catalog, X, lazily):
    rec = make(catalog, training__precision="bfloat16", training__max_epochs=6)
    lazily(frozenset())
    whole = rec.fit(X).predict(X)
    lazily()
    np.testing.assert_allclose(rec.fit(X).predict(X), whole, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("choice", [BOTH, {"items"}, {"users"}])
def test_a_seed_gives_the_same_bits(make, catalog, X, lazily, choice):
    lazily(frozenset(choice))
    rec = make(catalog, user_tower=MeanTower(user_embedding=True))
    assert_same_model(rec.fit(X), make(catalog).set_params(**rec.get_params()).fit(X))


@pytest.mark.parametrize("early_stopping", [None, EarlyStopping(n_iter_no_change=9)])
def test_a_killed_fit_goes_on_to_the_same_bits(
    make, catalog, X, lazily, tmp_path, monkeypatch, early_stopping
):
    lazily()
    params = {
        "training__max_epochs": 6,
        "training__batch_size": 7,
        "user_tower": MeanTower(user_embedding=True),
        "early_stopping": early_stopping,
    }
    straight = make(catalog, **params).fit(X)
    kill_after_an_epoch(make(catalog, **params), X, tmp_path, monkeypatch)
    resumed = make(catalog, training__checkpoint_dir=tmp_path, **params).fit(X)
    assert_same_model(straight, resumed)


def kill_after_an_epoch(rec, X, folder, monkeypatch):
    save = _loop.Trainer._save

    def save_and_die(self):
        save(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(_loop.Trainer, "_save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            rec.set_params(training__checkpoint_dir=folder).fit(X)


def test_a_checkpoint_of_whole_tables_is_told_and_left(
    make, catalog, X, lazily, tmp_path, monkeypatch
):
    """As one that several processes have left behind."""
    lazily(frozenset())
    kill_after_an_epoch(make(catalog), X, tmp_path, monkeypatch)
    lazily()
    with pytest.warns(UserWarning, match="starting anew"):
        rec = make(catalog, training__checkpoint_dir=tmp_path).fit(X)
    assert_same_model(rec, make(catalog).fit(X))


def test_feedback_leaves_the_others_as_they_are(make, catalog, X, lazily):
    """Those who are in no batch of a `partial_fit` keep what they have learned."""
    lazily()
    rec = make(catalog, training__partial_fit_epochs=1, training__n_negatives=1)
    rec.fit(X)
    before = rec.model_.networks[0].item_embedding.detach().clone()
    rec.partial_fit(X.head(1))
    after = rec.model_.networks[0].item_embedding.detach()
    same = (before == after).all(dim=1)
    assert same.any()
    assert not same.all()


def trainer_of(rec, X):
    problem, plan, generators = rec.model_.problem(), rec._plan(), Generators(0)
    network, history = rec.model_.networks[0], problem.history
    batcher = make_batcher(problem, plan, generators, history, problem.examples)
    loss = make_loss(network, problem, plan, generators, 1.0)
    options = make_options(network, problem, plan, len(problem.examples), 0.1)
    return _loop.Trainer(loss, batcher, options)


# -- cost ----------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that is made, and how many operations."""

    numel = n_operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.n_operations += 1
        made = out if isinstance(out, list | tuple) else [out]
        known = {t.untyped_storage().data_ptr() for t in tensors_in(args)}
        for tensor in tensors_in(made):
            if tensor.untyped_storage().data_ptr() not in known:
                self.numel = max(self.numel, tensor.numel())
        return out


def tensors_in(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def sparse(n_items, n_users=200, n_likes=5):
    rng = np.random.default_rng(0)
    items = rng.choice(n_items, (n_users, n_likes))
    items[:, 0] = np.arange(n_users) % 10
    users = np.repeat(np.arange(n_users), n_likes)
    table = pd.DataFrame(rng.normal(size=(n_items, 2))).add_prefix("text__")
    table.insert(0, "item_id", np.arange(n_items))
    X = pd.DataFrame({"user_id": users, "item_id": items.ravel()})
    return table, X.drop_duplicates()


def step_of(n_items, make):
    items, X = sparse(n_items)
    params = {"training__max_epochs": 1, "user_tower__user_embedding": True}
    rec = make(ItemCatalog(items), training__batch_size=16, **params).fit(X)
    trainer = trainer_of(rec, X)
    trainer.loss.train()
    batch = trainer.batcher.batch(np.arange(16))
    with Largest() as largest:
        for _ in range(2):
            rows = trainer.optimizer.read(*trainer.loss.places(batch))
            trainer.optimizer.clear()
            trainer.loss(batch, rows=rows).backward()
            trainer.optimizer.step()
    return largest.numel, largest.n_operations / 2


def test_a_step_makes_nothing_of_the_size_of_a_table(make, lazily):
    lazily()
    small, few = step_of(2000, make)
    large, many = step_of(8000, make)
    assert large < 1.5 * small
    assert many == few
    lazily(frozenset())
    assert step_of(8000, make)[0] == 8000 * 6


@counts_operations
def test_updating_row_by_row_takes_few_operations(make, lazily):
    lazily(frozenset())
    whole = step_of(1000, make)[1]
    lazily()
    # A table of items, one of users and one of biases: gathered, caught up, put back.
    assert step_of(1000, make)[1] < whole + 110


# -- the choice ----------------------------------------------------------------------


@pytest.mark.parametrize("n_items", [50, 3000])
@pytest.mark.parametrize("batch_size", [1, 20, 300])
@pytest.mark.parametrize("max_history", [None, 3])
def test_the_rows_of_a_batch_are_foreseen(n_items, batch_size, max_history):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 15, 200)
    users = np.repeat(np.arange(200), lengths)
    weights = 1 / np.arange(1, n_items + 1)
    drawn = rng.choice(n_items, len(users), p=weights / weights.sum())
    history = History(np.concatenate([[0], np.cumsum(lengths)]), drawn, n_items)
    n = len(users)
    before = np.arange(n) - history.offsets[users]
    ones = np.ones((n, 1), np.float32)
    examples = Examples(
        users, drawn, ones, ones > 0, ones[:, 0], before, np.ones(n, bool)
    )
    batcher = Batcher(
        history,
        examples,
        10,
        own_negatives=True,
        by_popularity=True,
        generator=torch.Generator().manual_seed(0),
        max_history=max_history,
    )
    batches = [batcher.batch(rng.permutation(n)[:batch_size]) for _ in range(60)]
    items, n_users = _touched.expect_touched(batcher, batch_size)
    mean = np.mean([len(batch.needed) for batch in batches])
    assert items == pytest.approx(mean, rel=0.25, abs=1)
    mean = np.mean([len(batch.users) for batch in batches])
    assert n_users == pytest.approx(mean, rel=0.1, abs=0.5)


@pytest.mark.parametrize(
    ("n_items", "expected"), [(1000, set()), (4000, {"items"}), (10_000, {"items"})]
)
def test_tables_are_lazy_where_a_batch_touches_an_eighth(
    make, monkeypatch, n_items, expected
):
    """About 290 rows are touched, ten of them by nearly every user."""
    monkeypatch.setitem(_touched.LEAST, "cpu", 1)
    items, X = sparse(n_items)
    rec = make(ItemCatalog(items), training__max_epochs=1, training__batch_size=100)
    trainer = trainer_of(rec.fit(X), X)
    assert set(trainer.optimizer.lazy) == expected
    touched = _touched.expect_touched(trainer.batcher, 100)[0]
    assert (n_items >= 8 * touched) == bool(expected)


def test_users_are_counted_apart(make, monkeypatch):
    monkeypatch.setitem(_touched.LEAST, "cpu", 1)
    items, X = sparse(20)
    params = {"training__max_epochs": 1, "user_tower__user_embedding": True}
    rec = make(ItemCatalog(items), training__batch_size=10, **params).fit(X)
    assert set(trainer_of(rec, X).optimizer.lazy) == {"users"}


def test_small_tables_are_updated_as_a_whole(make):
    items, X = sparse(10_000)
    rec = make(ItemCatalog(items), training__max_epochs=1, training__batch_size=10)
    assert not trainer_of(rec.fit(X), X).optimizer.lazy


def test_neighbours_are_touched_too(make, monkeypatch):
    monkeypatch.setitem(_touched.LEAST, "cpu", 1)
    items, X = sparse(4000)
    rec = make(
        ItemCatalog(items),
        propagation=Propagation(n_neighbors=10),
        training__max_epochs=1,
        training__batch_size=100,
    )
    assert not trainer_of(rec.fit(X), X).optimizer.lazy


def test_a_devices_own_table_is_asked_for_before_anything_else(make, catalog, X):
    """Devices without a fused Adam update whole tables."""
    rec = MultimodalFusionRecommender(catalog, random_state=0).fit(X)
    trainer = trainer_of(rec, X)
    trainer.loss.network.to("meta")
    assert _touched.choose_lazy(trainer.loss, trainer.batcher, 10) == frozenset()
