"""Fits change nothing that belongs to the whole process, and see nothing of it."""

import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import nn
from torch.nn import functional as F

from skmmrec import MultimodalFusionRecommender
from skmmrec.fusion import ConcatFusion, get_fusion_names
from skmmrec.recommender import (
    EarlyStopping,
    ImplicitALSRecommender,
    MatrixFactorizationRecommender,
    Propagation,
    Training,
)

TRAINING = Training(max_epochs=3, batch_size=16)


class Restless(ConcatFusion):
    """Draws while it is made and in each step, by all kinds of functions."""

    def __init__(self, widths, dim):
        super().__init__(widths, dim)
        self.dropout = nn.Dropout(0.3)
        self.attention = nn.MultiheadAttention(dim, 1, dropout=0.2, batch_first=True)
        self.start = nn.Parameter(nn.init.trunc_normal_(torch.empty(dim)))

    def combine(self, tokens, mask):
        mixed, _ = self.attention(tokens, tokens, tokens)
        vectors = super().combine(self.dropout(tokens + 0.1 * mixed), mask)
        if self.training:
            vectors = F.dropout(vectors, 0.1) + 0.01 * torch.randn_like(vectors)
            vectors = vectors * (torch.rand(len(vectors), 1) > 0.1)
        return vectors + 0.01 * self.start * mask.any(1, keepdim=True)


def fusion_recommender(catalog, seed, **params):
    return MultimodalFusionRecommender(
        catalog, n_factors=8, training=TRAINING, random_state=seed, **params
    )


KINDS = {
    **{
        name: lambda catalog, seed, name=name: fusion_recommender(
            catalog, seed, fusion=name
        )
        for name in get_fusion_names()
    },
    "a fusion of one's own": lambda catalog, seed: fusion_recommender(
        catalog, seed, fusion=Restless
    ),
    "a sequence tower, members and early stopping": lambda catalog, seed: (
        fusion_recommender(
            catalog,
            seed,
            user_tower="sequence",
            n_members=2,
            early_stopping=EarlyStopping(validation_fraction=0.3),
        )
    ),
    "factors": lambda _, seed: MatrixFactorizationRecommender(
        8, training=TRAINING, random_state=seed
    ),
    "ALS": lambda _, seed: ImplicitALSRecommender(4, n_iterations=1, random_state=seed),
}


def scores_of(rec, X):
    ids = X[["user_id", "item_id"]]
    return rec.fit(ids).recommend(k=20).score.to_numpy()


def global_state():
    """All that fits must leave alone, in a form that can be compared."""
    numbers = np.random.get_state()  # noqa: NPY002 - the global one is what it is about
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": (numbers[1].tolist(), *numbers[2:]),
        "random": random.getstate(),
        "threads": torch.get_num_threads(),
        "type": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
    }


@pytest.fixture(scope="module", autouse=True)
def libraries(catalog, X):
    """Let torch import what it imports on first use; sympy changes warnings then."""
    fusion_recommender(catalog, 0, fusion=Restless).fit(X)


@contextmanager
def nothing_changes():
    random.seed(3)
    torch.manual_seed(3)
    before = global_state()
    yield
    assert global_state() == before


@contextmanager
def another_thread_draws():
    """Draw in another thread all the time; it must get what it would get alone."""
    is_over, started, drawn = threading.Event(), threading.Event(), []

    def draw():
        while not is_over.is_set() or len(drawn) < 20:
            drawn.append(torch.rand(8))
            drawn.append(nn.Linear(2, 2).weight.detach())
            started.set()
            is_over.wait(0.0005)

    torch.manual_seed(11)
    thread = threading.Thread(target=draw)
    thread.start()
    started.wait()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    torch.manual_seed(11)
    for number, values in enumerate(drawn):
        expected = nn.Linear(2, 2).weight if number % 2 else torch.rand(8)
        assert torch.equal(values, expected.detach()), number


@pytest.mark.parametrize("kind", KINDS)
def test_fits_in_threads_are_those_alone(catalog, X, kind):
    make = KINDS[kind]
    seeds = [0, 1, 0, 2]
    alone = {seed: scores_of(make(catalog, seed), X) for seed in set(seeds)}
    with another_thread_draws(), ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda seed: scores_of(make(catalog, seed), X), seeds))
    for seed, scores in zip(seeds, found, strict=True):
        np.testing.assert_allclose(scores, alone[seed], rtol=1e-6, atol=1e-6)
    assert not np.allclose(alone[0], alone[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_was_drawn_before_makes_no_difference(catalog, X, kind):
    found = []
    for seed in (0, 99):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        found.append(scores_of(KINDS[kind](catalog, 5), X))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_process_changes(catalog, X, kind):
    rec = KINDS[kind](catalog, 0)
    with nothing_changes():
        rec.fit(X[["user_id", "item_id"]])
        rec.recommend(k=2)


def test_nothing_changes_by_feedback_and_vectors(catalog, X):
    rec = fusion_recommender(catalog, 0)
    rec.set_params(training=Training(max_epochs=1, partial_fit_epochs=2))
    ids = X[["user_id", "item_id"]]
    with nothing_changes():
        rec.fit(ids).partial_fit(ids.head(3).assign(user_id=7))
        rec.transform(ids)
        rec.predict(ids)
        rec.similar_items(X.item_id[:1], k=2)


class Broken(ConcatFusion):
    """Fails at one of the places where code of the caller runs."""

    place = "forward"

    def __init__(self, widths, dim):
        super().__init__(widths, dim)
        if self.place == "constructor":
            raise RuntimeError("broken")

    def combine(self, tokens, mask):
        torch.rand(1)
        if self.training:
            raise RuntimeError("broken")
        return super().combine(tokens, mask)


class BrokenFromTheStart(Broken):
    place = "constructor"


@pytest.mark.parametrize("fusion", [Broken, BrokenFromTheStart])
def test_nothing_changes_by_a_fit_that_raises(catalog, X, fusion):
    with nothing_changes(), pytest.raises(RuntimeError, match="broken"):
        fusion_recommender(catalog, 0, fusion=fusion).fit(X)
    with nothing_changes():
        fusion_recommender(catalog, 0).fit(X)


class CountsThreads(ConcatFusion):
    """Asks in each step how many cores a thread gets that is new to torch."""

    found: list = []  # noqa: RUF012 - filled by the fit

    def combine(self, tokens, mask):
        if self.training:
            with ThreadPoolExecutor(1) as new:
                self.found.append(new.submit(torch.get_num_threads).result())
        return super().combine(tokens, mask)


def test_threads_that_start_during_a_fit_get_all_cores(catalog, X):
    cores = torch.get_num_threads()
    torch.set_num_threads(3)
    CountsThreads.found.clear()
    try:
        fusion_recommender(catalog, 0, fusion=CountsThreads).fit(X)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(cores)
    assert set(CountsThreads.found) == {3}


@pytest.mark.slow
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=2, max_size=4),
    fusion=st.sampled_from([*get_fusion_names(), Restless]),
    tower=st.sampled_from(["mean", "attention", "sequence"]),
    regularization=st.fixed_dictionaries(
        {
            "regularization__dropout": st.sampled_from([0.0, 0.5]),
            "regularization__alignment": st.sampled_from([0.0, 0.5]),
            "regularization__history_dropout": st.sampled_from([0.0, 0.5]),
        }
    ),
)
def test_any_fits_in_threads(make, catalog, X, seeds, fusion, tower, regularization):
    def fit(seed):
        rec = make(
            catalog,
            fusion=fusion,
            user_tower=tower,
            random_state=seed,
            **regularization,
        )
        return scores_of(rec, X)

    alone = [fit(seed) for seed in seeds]
    with another_thread_draws(), ThreadPoolExecutor(len(seeds)) as pool:
        for scores, expected in zip(pool.map(fit, seeds), alone, strict=True):
            np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)


@contextmanager
def double_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


MODES = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "double": double_by_default,
    "device": lambda: torch.device("meta"),
}
UNDER_MODES = {
    **KINDS,
    "bfloat16, with a graph": lambda catalog, seed: MultimodalFusionRecommender(
        catalog,
        n_factors=8,
        propagation=Propagation(),
        training=Training(max_epochs=3, batch_size=16, precision="bfloat16"),
        random_state=seed,
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", UNDER_MODES)
def test_modes_of_the_caller_make_no_difference(catalog, X, kind, mode):
    ids = X[["user_id", "item_id"]]
    if kind == "a fusion of one's own" and mode in ("double", "device"):
        pytest.skip("what a class of the caller's makes is its own affair")
    outside = UNDER_MODES[kind](catalog, 0).fit(ids)
    with MODES[mode](), nothing_changes():
        inside = UNDER_MODES[kind](catalog, 0).fit(ids)
        found = inside.recommend(k=3).score
    expected = outside.recommend(k=3).score
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_the_caller_at_load_and_feedback(catalog, X, mode, tmp_path):
    ids = X[["user_id", "item_id"]]
    rec = fusion_recommender(catalog, 0)
    rec.set_params(training=Training(max_epochs=1, partial_fit_epochs=2))
    rec.fit(ids).save(tmp_path / "model")
    few = ids.head(3).assign(user_id=7)
    with MODES[mode]():
        loaded = MultimodalFusionRecommender.load(tmp_path / "model")
        loaded.partial_fit(few).forget([7])
    rec.partial_fit(few).forget([7])
    np.testing.assert_allclose(
        loaded.predict(ids), rec.predict(ids), rtol=1e-5, atol=1e-5
    )
