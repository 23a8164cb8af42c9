"""Vectors that are pushed to what is served."""

import numpy as np
import pandas as pd
import pytest

from skmmrec.feature_store import OnlineRecommender, open_store, publish, verify

from .conftest import make_recommender


def _item(version, vector):
    return pd.DataFrame(
        {
            "item_id": [3],
            "item_vector": [vector],
            "item_model_version": [version],
            "item_popularity": [1],
            "item_category": ["new"],
            "event_timestamp": [pd.Timestamp.now(tz="UTC")],
        }
    )


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_refused_by_name(repo, recommender, value):
    publish(recommender, repo)
    store = open_store(repo)
    with pytest.raises(ValueError, match="item_vector of 3 must be finite"):
        store.push("item_embeddings_push", _item("v1", [value] * 5))
    assert verify(recommender, repo).ok
    # What is of another model is left out, whatever it has.
    store.push("item_embeddings_push", _item("v0", [value] * 5))
    assert verify(recommender, repo).ok


def test_users_pushed_by_a_clock_ahead_go_with_their_publication(repo):
    """Two publications may have the same version, and other rows."""
    publish(make_recommender(seed=1), repo)
    store, online = open_store(repo), OnlineRecommender(repo)
    pushed = _item("v1", [9.0] * 5)
    pushed["event_timestamp"] += pd.Timedelta(hours=1)
    store.push("item_embeddings_push", pushed)
    best = online.recommend(["100"], 30, exclude_seen=False).set_index("item_id")
    vector = make_recommender(seed=1).vectors.users.loc["100"]
    np.testing.assert_allclose(best["score"][3], 9 * vector.sum(), rtol=1e-5, atol=1e-5)
    second = make_recommender(seed=2)
    publish(second, repo)
    assert verify(second, repo).ok
