"""On a CUDA device: the contract, and the lists of the CPU.

Skipped where there is none.
"""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from skmmrec import MultimodalFusionRecommender
from skmmrec.fusion import get_fusion_names
from skmmrec.recommender import MatrixFactorizationRecommender
from skmmrec.retrieval import _products, _search
from skmmrec.testing import RecommenderTests

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def every_search_on_the_device(monkeypatch):
    """However few users and items there are."""
    monkeypatch.setattr(_search, "FEW_QUERIES", 0)
    monkeypatch.setattr(_search, "SHARE", 0)


class TestOnCuda(RecommenderTests):
    @pytest.fixture(params=["softmax", "mse"])
    def recommender(self, request):
        return MultimodalFusionRecommender(
            n_factors=3, objective=request.param, device="cuda", random_state=1
        ).set_params(training__max_epochs=1, regularization__n_components=2)

    @pytest.mark.filterwarnings("ignore:no interaction has y above 0:UserWarning")
    def test_it_passes_the_checks_of_scikit_learn(self, recommender):
        super().test_it_passes_the_checks_of_scikit_learn(
            recommender.set_params(regularization=None)
        )


def same_lists(recommender, **options):
    """Lists on the device, once they are seen to be those of the CPU."""
    device = recommender.device
    tables = []
    for place in ("cpu", device):
        recommender.set_params(device=place)
        tables.append(recommender.recommend(**options))
    pd.testing.assert_frame_equal(*tables)
    return tables[1]


@pytest.mark.parametrize("fusion", get_fusion_names())
def test_every_fusion(make, catalog, X, y, fusion):
    recommender = make(catalog, fusion=fusion, device="cuda").fit(X, y)
    assert np.isfinite(same_lists(recommender, k=5).score).all()


@pytest.mark.parametrize("tower", ["mean", "attention", "sequence"])
def test_every_tower(make, catalog, X, y, tower):
    recommender = make(catalog, user_tower=tower, device="cuda").fit(X, y)
    assert np.isfinite(same_lists(recommender, k=5).score).all()


@pytest.mark.parametrize("objective", ["softmax", "bpr", "bce", "mse"])
def test_every_objective(make, catalog, X, y, objective):
    recommender = make(catalog, objective=objective, device="cuda").fit(X, y)
    for options in ({"k": 3}, {"k": 99, "exclude_seen": False}):
        table = same_lists(recommender, **options)
        predicted = recommender.predict(table[["user_id", "item_id"]])
        np.testing.assert_array_equal(table.score, predicted)


@pytest.mark.parametrize("query", [["i00", "i05"], "content"])
def test_similar_items(make, catalog, items, X, y, query):
    recommender = make(catalog, device="cuda").fit(X, y)
    if isinstance(query, str):
        query = items.drop(columns="item_id")
    on_cuda = recommender.similar_items(query, k=4)
    on_cpu = recommender.set_params(device="cpu").similar_items(query, k=4)
    pd.testing.assert_frame_equal(on_cuda, on_cpu)


def test_candidates_and_new_users(make, catalog, X, y):
    recommender = make(catalog, device="cuda").fit(X, y)
    table = same_lists(recommender, users=[101, 1], items=["i03", "i09"], k=9)
    assert set(table.item_id) <= {"i03", "i09"}


def test_feedback_and_new_items(make, catalog, X, y):
    recommender = make(catalog, device="cuda").fit(X.head(30), y.head(30))
    recommender.partial_fit(X.tail(len(X) - 30), y.tail(len(X) - 30))
    same_lists(recommender, k=99)
    judged = recommender.score(X.tail(3).assign(user_id=1))
    assert judged == recommender.set_params(device="cpu").score(
        X.tail(3).assign(user_id=1)
    )


def test_new_items_of_a_catalogue(make, items, X, y):
    from skmmrec import ItemCatalog

    known = items.item_id.isin(X.item_id[:20])
    rows = X.item_id.isin(items.item_id[known])
    recommender = make(ItemCatalog(items[known]), device="cuda").fit(X[rows], y[rows])
    recommender.add_items(items[~known])
    table = same_lists(recommender, k=99, exclude_seen=False)
    assert set(table.item_id) == set(items.item_id)


def test_seeds_are_kept_to_the_bit(make, catalog, X, y):
    fits = [make(catalog, device="cuda").fit(X, y) for _ in range(2)]
    np.testing.assert_array_equal(*(fit.item_vectors_ for fit in fits))
    np.testing.assert_array_equal(*(fit.user_vectors_ for fit in fits))


def test_a_pickle_and_a_folder_need_no_gpu(make, catalog, X, y, tmp_path, monkeypatch):
    recommender = make(catalog, device="cuda").fit(X, y)
    expected = recommender.recommend(k=5)
    recommender.save(tmp_path / "model")
    data = pickle.dumps(recommender)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    for copy in (pickle.loads(data), loaded):
        pd.testing.assert_frame_equal(copy.recommend(k=5), expected)


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("kind", ["drawn", "twins", "zero"])
def test_many_users_and_items(kind, tf32, monkeypatch):
    """Several blocks in flight, and the caller's TF32."""
    monkeypatch.undo()
    rng = np.random.default_rng(0)
    items = rng.normal(size=(5000, 48)).astype(np.float32)
    if kind != "drawn":
        items = items[rng.integers(0, 900, 5000)] * np.float32(kind == "twins")
    queries = rng.normal(size=(700, 48)).astype(np.float32)
    biases = rng.normal(size=5000).round(1).astype(np.float32)
    monkeypatch.setattr(_products, "DEVICE_SCORES", 100 * 5000)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        lists = [
            _search.ExactSearch(items, biases, torch.device(place)).search(queries, 20)
            for place in ("cuda", "cpu")
        ]
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(*(found.positions for found in lists))
    np.testing.assert_array_equal(*(found.scores for found in lists))


def test_a_block_does_not_wait(monkeypatch):
    """Torch tells of each call that waits for the device."""
    items = np.random.default_rng(0).normal(size=(5000, 48)).astype(np.float32)
    biases = np.zeros(5000, np.float32)
    products = _products.DeviceProducts(items, biases, 99.0, 18, torch.device("cuda"))
    products.start(items[:64], None)()
    torch.cuda.set_sync_debug_mode("error")
    try:
        finish = products.start(items[:64], None)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert finish().columns.shape == (64, 18)


def test_factors_alone(X):
    recommender = MatrixFactorizationRecommender(4, device="cuda", random_state=0)
    same_lists(recommender.fit(X), k=99)
