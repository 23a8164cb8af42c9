"""What ran in a parent also runs in its forked child, with the same result."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV, KFold

from skmmrec import ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.encoders import EmbeddingCache
from skmmrec.recommender import MatrixFactorizationRecommender, Training
from skmmrec.runtime import ForkSafeLock, cached_property, n_cores, shared_model
from tests.forks import forking, in_child, needs_fork, quietly, use_cores

pytestmark = [needs_fork, quietly]

TRAINING = Training(max_epochs=2)


@pytest.fixture(autouse=True)
def two_cores():
    """A parent that has used OpenMP, whatever the machine has."""
    cores = torch.get_num_threads()
    torch.set_num_threads(2)
    use_cores()
    yield
    torch.set_num_threads(cores)


def same_in_child(function):
    expected = function()
    use_cores()
    for _ in range(2):
        np.testing.assert_allclose(in_child(function), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def catalog(items):
    return ItemCatalog(items)


def recommender(catalog, **params):
    return MultimodalFusionRecommender(
        catalog, n_factors=8, training=TRAINING, random_state=0, **params
    )


@pytest.mark.parametrize("fusion", ["gated", "transformer"])
def test_fit(catalog, X, fusion):
    rec = recommender(catalog, fusion=fusion)
    same_in_child(lambda: rec.fit(X).recommend(k=20).score.to_numpy())


def test_fit_of_factors(X):
    rec = MatrixFactorizationRecommender(8, training=TRAINING, random_state=0)
    ids = X[["user_id", "item_id"]]
    same_in_child(lambda: rec.fit(ids).recommend(k=20).score.to_numpy())


def test_large_steps():
    """So many numbers in a step that training takes several cores in the parent."""
    rng = np.random.default_rng(0)
    users, n_items = 6000, 50
    X = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(users), 2),
            "item_id": rng.integers(n_items, size=2 * users),
        }
    )
    rec = MatrixFactorizationRecommender(
        64, training=Training(max_epochs=1, batch_size=12_000), random_state=0
    )
    same_in_child(lambda: rec.fit(X).recommend([0, 1], k=5).score.to_numpy())


def test_what_was_fitted_in_the_parent(catalog, X, tmp_path):
    rec = recommender(catalog).fit(X)
    rec.save(tmp_path / "model")
    kind = MultimodalFusionRecommender
    ids = X[["user_id", "item_id"]]
    same_in_child(lambda: rec.predict(ids))
    same_in_child(lambda: rec.transform(ids))
    same_in_child(lambda: rec.recommend(k=5).score.to_numpy())
    same_in_child(lambda: rec.similar_items(X.item_id[:2], k=5).score.to_numpy())
    same_in_child(lambda: kind.load(tmp_path / "model").predict(ids))


def test_encoding(tmp_path):
    encoder = TextEncoder("package:all-MiniLM-L6-v2", cache=tmp_path).fit(["a"])
    texts = [f"{'a b c ' * 30}{number}" for number in range(40)]
    expected = encoder.transform(texts[:20])
    use_cores()
    found = in_child(lambda: encoder.transform(texts))
    np.testing.assert_allclose(found[:20], expected, rtol=1e-4, atol=1e-5)
    again = encoder.set_params(cache=None).transform(texts)
    np.testing.assert_allclose(found, again, rtol=1e-4, atol=1e-5)


def test_a_model_that_is_loaded_in_the_child(monkeypatch):
    new = TextEncoder("package:all-MiniLM-L6-v2")
    same_in_child(lambda: new.fit_transform(["one text"] * 3))


def test_a_search_in_forked_processes(catalog, X):
    rec = recommender(catalog)
    grid = {"fusion": ["concat", "gated"]}

    def scores(n_jobs):
        search = GridSearchCV(rec, grid, cv=KFold(2), n_jobs=n_jobs)
        return search.fit(X).cv_results_["mean_test_score"]

    expected = scores(None)
    use_cores()
    with parallel_config(backend="multiprocessing"), forking():
        np.testing.assert_allclose(scores(2), expected, rtol=1e-5, atol=1e-5)


def test_the_parent_keeps_its_cores(catalog, X):
    in_child(lambda: recommender(catalog).fit(X).predict(X).sum())
    assert torch.get_num_threads() == 2


def test_a_child_that_uses_torch_by_itself_is_left_alone(catalog, X):
    assert in_child(torch.get_num_threads) == 2
    assert in_child(n_cores) == 1

    def in_another_thread():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(n_cores).result()

    assert in_child(in_another_thread) == 2


# -- locks that another thread of the parent holds -----------------------------------


class Held:
    """Another thread that is in the middle of something while this one forks."""

    def __init__(self):
        self.is_held, self.may_end = threading.Event(), threading.Event()

    def wait(self, *args, **kwargs):
        self.is_held.set()
        self.may_end.wait()
        return Held

    def __call__(self, function):
        self.thread = threading.Thread(target=function)
        self.thread.start()
        self.is_held.wait()

    def end(self):
        self.may_end.set()
        self.thread.join()


@pytest.fixture
def held():
    held = Held()
    yield held
    held.end()


def test_a_lock(held):
    lock = ForkSafeLock()

    def hold():
        with lock:
            held.wait()

    def take():
        with lock, lock:
            return "taken"

    held(hold)
    assert in_child(take) == "taken"


def test_a_lock_of_the_forking_thread(held):
    lock = ForkSafeLock()

    def is_free_elsewhere():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lock._lock.acquire, blocking=False).result()

    with lock:
        assert not in_child(is_free_elsewhere)
    held(lambda: held.wait())


def test_a_model_that_is_being_loaded(held):
    held(lambda: shared_model("slow", held.wait))
    assert in_child(lambda: shared_model("fast", lambda: Held).__name__) == "Held"


class Slow:
    def __init__(self, wait):
        self.wait = wait

    @cached_property
    def value(self):
        return self.wait()


def test_a_property_that_is_being_computed(held):
    held(lambda: Slow(held.wait).value)
    assert in_child(lambda: Slow(lambda: 3).value) == 3


def test_a_catalogue_that_is_being_encoded(items, X, held, monkeypatch):
    catalog = ItemCatalog(items)
    encode = ItemCatalog._fit_encode

    def slowly(self):
        if threading.current_thread() is not threading.main_thread():
            held.wait()
        return encode(self)

    monkeypatch.setattr(ItemCatalog, "_fit_encode", slowly)
    held(lambda: catalog.blocks)
    assert in_child(lambda: len(catalog.blocks)) == len(catalog)


def test_a_cache_that_is_in_use(held, tmp_path):
    cache = EmbeddingCache(tmp_path)

    def hold():
        with cache._lock:
            held.wait()

    held(hold)
    key = {b"key": np.ones(2, np.float32)}
    assert in_child(lambda: cache.put(key) or list(cache.get([b"key"]))) == [b"key"]
