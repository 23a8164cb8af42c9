"""From a catalogue to recommendations that come out of the Feast store."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.feature_store import OnlineRecommender, publish, read_vectors, verify

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def recommender(items, X):
    small = {"n_factors": 6, "max_epochs": 3, "n_negatives": 8, "random_state": 0}
    return MultimodalFusionRecommender(ItemCatalog(items), **small).fit(X)


@pytest.fixture(scope="module")
def repo(recommender, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "feature_repo"
    shutil.copytree(
        ROOT / "feature_repo", folder, ignore=shutil.ignore_patterns("data")
    )
    publish(recommender, folder)
    return folder


def test_the_store_recommends_what_the_model_recommends(recommender, repo):
    served = OnlineRecommender(repo).recommend(recommender.user_index_, k=5)
    ranked = recommender.recommend(k=5)
    pd.testing.assert_frame_equal(
        served.drop(columns="score"), ranked.drop(columns="score"), check_dtype=False
    )
    np.testing.assert_allclose(served.score, ranked.score, rtol=1e-5)
    np.testing.assert_allclose(
        served.score, recommender.predict(served[["user_id", "item_id"]]), rtol=1e-5
    )


def test_vectors_come_back_bit_for_bit(recommender, repo):
    vectors = recommender.serving_vectors()
    for entity, table in [("user", vectors.users), ("item", vectors.items)]:
        read, found = read_vectors(repo, entity, table.index[::-1])
        assert found.all()
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, table.to_numpy()[::-1])


def test_what_is_served_is_what_the_model_computes(recommender, repo):
    assert verify(recommender, repo).ok
    assert (
        OnlineRecommender(repo).model_version == recommender.serving_vectors().version
    )
