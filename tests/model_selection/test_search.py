"""A whole search encodes every item once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skmmrec import ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.encoders._text import SentenceModel
from skmmrec.metrics import get_scorer
from skmmrec.model_selection import LeaveLastOut, recommend
from skmmrec.recommender import Training


class CountingEncoder(TransformerMixin, BaseEstimator):
    """Counts letters, and writes down each text that it is asked to encode."""

    def __init__(self, log):
        self.log = log

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        texts = X["description"].tolist()
        with Path(self.log).open("a") as file:
            file.writelines(f"{text}\n" for text in texts)
        letters = "etaoinshrdlu"
        return np.array([[t.count(c) + 0.5 for c in letters] for t in texts])

    def get_feature_names_out(self, input_features=None):
        return np.array([f"letter{n}" for n in range(12)])


@pytest.fixture(scope="module")
def data():
    return make_multimodal_interactions(
        40, 30, modalities=["text"], n_interactions_per_user=8, random_state=0
    )


def search(data, log, n_jobs=None):
    encoder = ColumnTransformer([("text", CountingEncoder(str(log)), ["description"])])
    catalog = ItemCatalog(data.item_table, encoder)
    return GridSearchCV(
        MultimodalFusionRecommender(
            catalog, n_factors=8, random_state=0, training=Training(max_epochs=1)
        ),
        {"fusion": ["concat", "gated", "attention"]},
        cv=LeaveLastOut(n_splits=2),
        scoring=get_scorer("ndcg@10"),
        n_jobs=n_jobs,
    )


def test_every_item_is_encoded_once(data, tmp_path):
    log = tmp_path / "log"
    grid = search(data, log).fit(data.interactions[["user_id", "item_id", "timestamp"]])
    assert sorted(log.read_text().splitlines()) == sorted(data.item_table.description)
    assert len(recommend(grid, data.users.user_id[:2], k=3)) == 6


@pytest.mark.slow
def test_parallel_searches_take_the_vectors_along(data, tmp_path):
    X = data.interactions[["user_id", "item_id"]]
    alone = search(data, tmp_path / "alone").fit(X)
    log = tmp_path / "log"
    grid = search(data, log, n_jobs=2)
    assert len(grid.estimator.catalog.blocks) == 30
    grid.fit(X)
    assert len(log.read_text().splitlines()) == 30
    pd.testing.assert_series_equal(
        pd.Series(grid.cv_results_["mean_test_score"]),
        pd.Series(alone.cv_results_["mean_test_score"]),
    )


def test_a_pipeline_over_one_flat_table(data, tmp_path):
    X = data.interactions.merge(data.item_table, on="item_id")
    encode = ColumnTransformer(
        [
            ("ids", "passthrough", ["user_id", "item_id"]),
            ("text", CountingEncoder(str(tmp_path / "log")), ["description"]),
        ]
    ).set_output(transform="pandas")
    recommender = MultimodalFusionRecommender(
        n_factors=8, random_state=0, training=Training(max_epochs=1)
    )
    grid = GridSearchCV(
        Pipeline([("encode", encode), ("recommend", recommender)]),
        {"recommend__fusion": ["concat", "gated"]},
        cv=LeaveLastOut(),
        scoring={"ndcg": get_scorer("ndcg@10"), "recall": get_scorer("recall@20")},
        refit="ndcg",
    ).fit(X, X.rating - 2)
    assert np.isfinite(grid.cv_results_["mean_test_recall"]).all()
    table = recommend(grid, data.users.user_id[:2], k=3)
    assert table["rank"].tolist() == [1, 2, 3, 1, 2, 3]
    met = X.item_id[X.user_id == "user-0001"]
    assert not table.item_id[table.user_id == "user-0001"].isin(met).any()


def test_a_cache_keeps_a_pipeline_from_encoding_twice(data, tmp_path, monkeypatch):
    """Each fold and candidate fits an encoder of its own; the model is asked once."""
    model = TextEncoder("package:all-MiniLM-L6-v2")
    model.fit_transform(["loaded, and kept: loading it again would encode a text"])
    encoded = []
    encode_once = SentenceModel.encode

    def count(self, contents):
        encoded.extend(contents)
        return encode_once(self, contents)

    monkeypatch.setattr(SentenceModel, "encode", count)
    X = data.interactions[["user_id", "item_id"]].merge(data.item_table, on="item_id")
    words = TextEncoder("package:all-MiniLM-L6-v2", cache=str(tmp_path / "vectors.db"))
    encode = ColumnTransformer(
        [("ids", "passthrough", ["user_id", "item_id"]), ("text", words, "description")]
    ).set_output(transform="pandas")
    recommender = MultimodalFusionRecommender(
        n_factors=8, random_state=0, training=Training(max_epochs=1)
    )
    GridSearchCV(
        Pipeline([("encode", encode), ("recommend", recommender)]),
        {"recommend__fusion": ["concat", "gated"]},
        cv=LeaveLastOut(n_splits=2),
        scoring=get_scorer("ndcg@10"),
    ).fit(X)
    assert len(encoded) == X.description.nunique()
