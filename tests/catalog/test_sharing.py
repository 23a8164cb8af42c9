"""However many threads, processes and copies use a catalogue, it is encoded once."""

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

from skmmrec import ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.recommender import Training
from tests.forks import forking

N_ITEMS, N_USERS = 30, 20


class LoggingEncoder(TransformerMixin, BaseEstimator):
    """Counts letters, and appends a line to a file for each text."""

    def __init__(self, log, width=3, seconds=0.0):
        self.log = log
        self.width = width
        self.seconds = seconds

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        time.sleep(self.seconds)
        texts = X.iloc[:, 0]
        with open(self.log, "a") as file:
            file.writelines("x\n" for _ in texts)
        counts = np.array([[len(t), t.count("a") + 1.0, t.count("b")] for t in texts])
        return np.tile(counts, self.width // 3)

    def get_feature_names_out(self, input_features=None):
        return np.array([f"c{n}" for n in range(self.width)], dtype=object)


class Unreadable(LoggingEncoder):
    def transform(self, X):
        super().transform(X)
        raise ValueError("this text cannot be read")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def times_encoded(log):
    return len(log.read_text().splitlines()) / N_ITEMS if log.exists() else 0


def catalog_of(log, kind=LoggingEncoder, key="item_id", n=N_ITEMS, **params):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abc"), 9)) for _ in range(n)]
    encoder = ColumnTransformer([("text", kind(str(log), **params), ["words"])])
    return ItemCatalog(pd.DataFrame({key: range(n), "words": words}), encoder, key=key)


def interactions():
    rng = np.random.default_rng(1)
    items = [rng.choice(N_ITEMS, 6, replace=False) for _ in range(N_USERS)]
    users = np.repeat(np.arange(N_USERS), 6)
    return pd.DataFrame({"user_id": users, "item_id": np.concatenate(items)})


def recommender(catalog, **params):
    return MultimodalFusionRecommender(
        catalog, n_factors=4, random_state=0, training=Training(max_epochs=1), **params
    )


def search(rec, **params):
    fusions = {"fusion": ["concat", "gated"]}
    return GridSearchCV(rec, fusions, cv=KFold(2), error_score="raise", **params)


def test_a_pickle_is_encoded(log):
    copied = pickle.loads(pickle.dumps(catalog_of(log)))
    assert times_encoded(log) == 1
    assert copied.blocks.widths == {"text": 3}
    np.testing.assert_array_equal(
        copied.encode(copied.items[["words"]].head(2)).values["text"],
        copied.blocks.values["text"][:2],
    )
    again = pickle.loads(pickle.dumps(copied))
    assert len(again.blocks) == N_ITEMS
    assert times_encoded(log) == 1 + 2 / N_ITEMS


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_encodes_nothing(log, copied):
    catalog = catalog_of(log)
    other = copied(catalog)
    assert times_encoded(log) == 0
    other.derived[b"key"] = np.ones(1)
    assert (b"key" in catalog.derived) == (copied is copy.copy)
    assert len(other.blocks) == N_ITEMS
    assert len(copied(other).blocks) == N_ITEMS
    assert times_encoded(log) == 1


def test_what_cannot_be_encoded_is_said_where_it_is_fitted(log):
    rec = recommender(catalog_of(log, Unreadable))
    for _ in range(3):
        copied = pickle.loads(pickle.dumps(rec))
    assert times_encoded(log) == 1
    with pytest.raises(ValueError, match="this text cannot be read"):
        copied.fit(interactions())


def test_threads_that_ask_at_once_encode_once(log):
    catalog, ready = catalog_of(log, seconds=0.2), threading.Barrier(4)

    def ask(_):
        ready.wait()
        return catalog.blocks

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert times_encoded(log) == 1
    assert all(blocks is found[0] for blocks in found)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize(
    "backend",
    [pytest.param("loky", marks=pytest.mark.slow), "multiprocessing", "threading"],
)
def test_a_parallel_search_encodes_once(log, tmp_path, backend):
    """Items and users, in a search that is the first to touch the catalogues."""
    users = catalog_of(tmp_path / "users", key="user_id", n=N_USERS)
    rec = recommender(catalog_of(log), user_catalog=users)
    with parallel_config(backend=backend), forking():
        found = search(rec, n_jobs=2).fit(interactions())
    assert times_encoded(log) == 1
    assert len((tmp_path / "users").read_text().splitlines()) == N_USERS
    alone = search(rec).fit(interactions())
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"],
        alone.cv_results_["mean_test_score"],
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.slow
def test_large_vectors_reach_the_processes_as_memory_maps(log):
    """joblib maps arrays above its limit, which then can only be read."""
    catalog = catalog_of(log, width=900)
    with parallel_config(backend="loky", max_nbytes=1000):
        scores = cross_validate(
            recommender(catalog),
            interactions(),
            cv=KFold(3),
            n_jobs=2,
            return_estimator=True,
            error_score="raise",
        )
    assert times_encoded(log) == 1
    assert np.isfinite(scores["test_score"]).all()
    for rec in scores["estimator"]:
        assert len(rec.recommend([0], k=2)) == 2


def test_a_pickle_has_no_weights():
    table = pd.DataFrame({"item_id": range(3), "words": ["a b", "b c", "c d"]})
    words = TextEncoder("package:all-MiniLM-L6-v2")
    catalog = ItemCatalog(table, ColumnTransformer([("text", words, "words")]))
    size = len(pickle.dumps(catalog))
    assert catalog.blocks.widths == {"text": 384}
    assert size < 50_000
