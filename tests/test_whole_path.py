"""From a catalogue to recommendations that come out of the Feast store."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.feature_store import OnlineRecommender, publish, read_vectors, verify
from skmmrec.recommender import Training

ROOT = Path(__file__).parents[1]


def small(items):
    return MultimodalFusionRecommender(
        ItemCatalog(items),
        n_factors=6,
        training=Training(max_epochs=3, n_negatives=8),
        random_state=0,
    )


@pytest.fixture(scope="module")
def recommender(items, X):
    return small(items).fit(X)


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
    np.testing.assert_allclose(served.score, ranked.score, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        served.score,
        recommender.predict(served[["user_id", "item_id"]]),
        rtol=1e-5,
        atol=1e-5,
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


def test_dislikes_leave_new_users_and_feedback_alone(items, ratings, X, tmp_path):
    model = small(items).fit(X, ratings.rating - 2)
    folder = shutil.copytree(
        ROOT / "feature_repo", tmp_path / "repo", ignore=shutil.ignore_patterns("data")
    )
    publish(model, folder)
    online = OnlineRecommender(folder)
    assert len(online.recommend_from_history(["i03", "i04"], k=3)) == 3
    assert online.record(7, "i03")
    folded = model.partial_fit(pd.DataFrame({"user_id": [7], "item_id": ["i03"]}))
    np.testing.assert_allclose(
        online.recommend([7], k=5).score,
        folded.recommend([7], k=5).score,
        rtol=1e-5,
        atol=1e-5,
    )
