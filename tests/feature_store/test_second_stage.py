"""A second stage with features of a store: as they were in training, now in serving."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer

from skmmrec.feature_store import FeastFeatures, OnlineRecommender, publish
from skmmrec.ranking import CandidateRanker
from skmmrec.recommender import PopularityRecommender

from .conftest import make_recommender, reads_with_duckdb

DAYS = pd.to_datetime(["2026-03-01", "2026-03-10", "2026-03-27"], utc=True)


@pytest.fixture
def models(repo):
    """One model a day, each published as of its day."""
    made = [make_recommender(seed=n, version=f"v{n}") for n in range(3)]
    for model, day in zip(made, DAYS, strict=True):
        publish(model, repo, timestamp=day)
    return made


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "user_id": [str(user) for user in rng.integers(100, 112, 240)],
            "item_id": rng.integers(0, 30, 240),
            "timestamp": DAYS[0]
            + pd.to_timedelta(np.sort(rng.integers(1, 29 * 24, 240)), unit="h"),
        }
    )
    return rows.drop_duplicates(["user_id", "item_id"], ignore_index=True)


def make(repo):
    features = make_column_transformer(
        (
            FeastFeatures(repo, ["item_embeddings:item_vector"], timestamp="timestamp"),
            ["item_id", "timestamp"],
        )
    )
    return CandidateRanker(
        PopularityRecommender(),
        "scikit-learn",
        features=features,
        context=["timestamp"],
        only_if_better=False,
        random_state=0,
    )


@reads_with_duckdb
def test_training_reads_what_was_and_serving_what_is(repo, models, X, monkeypatch):
    given, transform = [], FeastFeatures.transform

    def noted(self, X):
        given.append((X, transform(self, X)))
        return given[-1][1]

    monkeypatch.setattr(FeastFeatures, "transform", noted)
    ranker = make(str(repo)).fit(X)
    asked, vectors = given[-1]
    model = np.searchsorted(DAYS.tz_localize(None), asked["timestamp"], "right") - 1
    assert len(set(model)) > 1
    expected = [
        models[m].vectors.items.loc[i]
        for m, i in zip(model, asked["item_id"], strict=True)
    ]
    np.testing.assert_allclose(vectors, expected, atol=1e-6, rtol=1e-6)

    lists = OnlineRecommender(repo).recommend(["100", "105"], k=20)
    table = ranker.rerank(lists, k=5)
    assert table["user_id"].tolist() == ["100"] * 5 + ["105"] * 5
    assert set(table["item_id"]) <= set(lists["item_id"])
    assert table.attrs == lists.attrs
    asked, vectors = given[-1]
    now = models[2].vectors.items.loc[asked["item_id"]]
    np.testing.assert_allclose(vectors, now, atol=1e-6, rtol=1e-6)

    ranker.rerank(lists, {"timestamp": "2026-03-12T00:00:00Z"})
    asked, vectors = given[-1]
    then = models[1].vectors.items.loc[asked["item_id"]]
    np.testing.assert_allclose(vectors, then, atol=1e-6, rtol=1e-6)


@reads_with_duckdb
def test_a_saved_ranker_is_served_without_its_first_stage(repo, models, X, tmp_path):
    pytest.importorskip("skops")
    ranker = make(str(repo)).fit(X)
    ranker.save(tmp_path / "ranker", recommender=False)
    lists = OnlineRecommender(repo).recommend(["100", "105"], k=20)
    back = CandidateRanker.load(tmp_path / "ranker")
    pd.testing.assert_frame_equal(back.rerank(lists), ranker.rerank(lists))
