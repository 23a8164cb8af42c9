"""Whole fits on GPUs that are only pretended: those of the host, up to rounding."""

import numpy as np
import pandas as pd
import pytest
import torch

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import EarlyStopping, Propagation, SequenceTower, Training
from skmmrec.recommender.network import _algebra
from skmmrec.recommender.training import _likes_judge, _memory_trial, _training, _trial
from skmmrec.retrieval import _search
from skmmrec.runtime import Generators, _randomness
from tests.pretended import pretended_gpus

N_ITEMS, N_USERS = 24, 40


def table():
    rng = np.random.default_rng(0)
    items = pd.DataFrame(rng.normal(size=(N_ITEMS, 4)).astype(np.float32))
    items.columns = ["image__0", "image__1", "text__0", "text__1"]
    items.insert(0, "item_id", np.arange(N_ITEMS))
    likes = rng.random((N_USERS, N_ITEMS)).argsort(axis=1)[:, :8]
    users = np.repeat(np.arange(N_USERS), 8)
    X = pd.DataFrame({"user_id": users, "item_id": likes.ravel(), "timestamp": users})
    return items, X, rng.integers(1, 6, len(X)).astype(float)


@pytest.fixture
def two_generators(monkeypatch):
    """Let a fit on the host draw from two generators, as one on a GPU does."""

    class Two(Generators):
        def __init__(self, seed, device=None):
            self.host = torch.Generator()
            self.device = torch.Generator("cpu" if device is None else device)
            self.seed(seed)

        def lent(self):
            return _randomness.DrawFrom(self.host)

    monkeypatch.setattr(_training, "Generators", Two)
    # However few users and items there are, lists are made on the device.
    monkeypatch.setattr(_search, "FEW_QUERIES", 0)
    monkeypatch.setattr(_search, "SHARE", 0)


def lived(device, answers=None, max_epochs=1, **params):
    """Fit, take in items and interactions, and recommend; returns all vectors."""
    items, X, ratings = table()
    known = X.item_id < N_ITEMS - 4
    recommender = MultimodalFusionRecommender(
        ItemCatalog(items.head(N_ITEMS - 4)),
        n_factors=4,
        device=device,
        random_state=0,
        **params,
        training=Training(
            max_epochs=max_epochs,
            batch_size=128,
            partial_fit_epochs=1,
            precision="float32",
            cuda_graphs=False,
        ),
    )
    recommender.fit(X[known], ratings[known] if answers else None)
    recommender.add_items(items.tail(4))
    recommender.partial_fit(X[~known], ratings[~known] if answers else None)
    lists = recommender.recommend(k=5)
    vectors = recommender.item_vectors_, recommender.user_vectors_
    return [np.asarray(part) for part in (*vectors, lists.score, lists.item_id)]


CASES = {
    "sequence": {
        "user_tower": SequenceTower(n_layers=1),
        "propagation": Propagation(share=0.3),
    },
    "ratings": {"objective": "mse", "answers": True, "early_stopping": EarlyStopping()},
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_gpu_gives_what_the_host_gives(name, two_generators):
    """On another GPU than the first, with the items and the feedback that follow."""
    expected = lived("cpu", **CASES[name])
    with pretended_gpus():
        found = lived("cuda:1", **CASES[name])
    for one, other in zip(found[:-1], expected[:-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found[-1], expected[-1])


def test_a_trial_on_a_gpu_chooses_what_one_on_the_host_chooses(
    two_generators, monkeypatch
):
    """How much the items' prior and a memory of them count."""
    where = []

    def accelerator(device):
        where.append(_algebra.accelerator(device))
        return where[-1]

    monkeypatch.setattr(_likes_judge, "accelerator", accelerator)
    monkeypatch.setattr(_trial, "MIN_TRIED", 100)
    monkeypatch.setattr(_memory_trial, "MIN_USERS", 5)
    epochs = _trial.MIN_TRIAL_EPOCHS + 1
    expected = lived("cpu", max_epochs=epochs)
    with pretended_gpus():
        found = lived("cuda:1", max_epochs=epochs)
    assert set(where[: len(where) // 2]) == {None}
    assert set(where[len(where) // 2 :]) == {torch.device("cuda", 1)}
    for one, other in zip(found[:-1], expected[:-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def in_order():
    """Likes of items on a ring, of which each is mostly followed by the next."""
    n_users, n_likes, n_items = 220, 12, 40
    rng = np.random.default_rng(0)
    leaps = rng.integers(2, n_items, (n_users, n_likes))
    steps = np.where(rng.random((n_users, n_likes)) < 0.85, 1, leaps)
    items = steps.cumsum(axis=1) % n_items
    X = pd.DataFrame({"user_id": np.repeat(np.arange(n_users), n_likes)})
    X["item_id"], X["timestamp"] = items.ravel(), np.tile(np.arange(n_likes), n_users)
    return X.drop_duplicates(["user_id", "item_id"])


def test_what_comes_next_is_learned_on_a_gpu_as_on_the_host(two_generators):
    """The half-life that a trial chooses, and the memory, are the same."""

    def fitted(device):
        training = Training(
            max_epochs=3, batch_size=128, precision="float32", cuda_graphs=False
        )
        recommender = MultimodalFusionRecommender(
            n_factors=4, device=device, random_state=0, training=training
        )
        return recommender.fit(in_order())

    expected = fitted("cpu")
    assert expected.choices_["half_life"].reason.startswith("by NDCG@20 of likes held")
    assert expected.half_life_ is not None
    assert expected.choices_["memory"].value > 0
    with pretended_gpus():
        found = fitted("cuda:1")
    assert found.half_life_ == expected.half_life_
    for one, other in (
        (found.memory_.matrix.toarray(), expected.memory_.matrix.toarray()),
        (found.user_vectors_, expected.user_vectors_),
        (found.recommend(k=5).score, expected.recommend(k=5).score),
    ):
        differences = np.abs(np.asarray(one) - np.asarray(other))
        # But for neighbours that are equally near, of which either may be taken.
        assert np.quantile(differences, 0.9) < 1e-4


def test_apples_gpus_are_asked_for_no_float64():
    with pretended_gpus():
        found = lived("mps:0", **CASES["ratings"])
    assert all(np.isfinite(part).all() for part in found)
