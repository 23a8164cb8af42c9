"""A fitted recommender and what the store makes of it."""

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.feature_store import OnlineRecommender, publish, verify
from skmmrec.recommender import Training


@pytest.fixture
def items():
    vectors = np.random.default_rng(0).normal(size=(24, 4))
    table = pd.DataFrame(vectors, columns=[f"text__{n}" for n in range(4)])
    table.insert(0, "item_id", [f"i{n:02}" for n in range(24)])
    return table


@pytest.fixture
def fit(items):
    def fit(objective="softmax"):
        rng = np.random.default_rng(1)
        pairs = [(f"u{n % 9}", f"i{rng.integers(20):02}") for n in range(90)]
        X = pd.DataFrame(pairs, columns=["user_id", "item_id"]).drop_duplicates()
        stars = rng.integers(1, 6, len(X)).astype(float)
        y = {"mse": stars, "bce": (stars > 3).astype(float)}.get(objective)
        rec = MultimodalFusionRecommender(
            ItemCatalog(items[:20]),
            n_factors=4,
            objective=objective,
            random_state=0,
            training=Training(max_epochs=2),
        )
        return rec.fit(X, y)

    return fit


@pytest.mark.parametrize("objective", ["softmax", "mse", "bce"])
def test_the_store_orders_items_as_the_recommender_does(repo, fit, objective):
    rec = fit(objective)
    publish(rec, repo)
    served = OnlineRecommender(repo).recommend(rec.user_index_, k=20)
    own = rec.recommend(k=20)
    assert served["item_id"].tolist() == own["item_id"].tolist()
    is_own_score = np.allclose(served["score"], own["score"], atol=1e-4)
    assert is_own_score == (objective == "softmax")


def test_the_store_orders_items_whose_chances_are_all_one(repo, fit):
    rec = fit("bce")
    rec.model_.item_vectors = rec.model_.item_vectors * np.float32(1000)
    publish(rec, repo)
    served = OnlineRecommender(repo).recommend(rec.user_index_, k=20)
    own = rec.recommend(k=20)
    assert own["score"].nunique() < len(own) / 2
    assert served["item_id"].tolist() == own["item_id"].tolist()


def test_added_items_stand_where_the_recommender_puts_them(repo, fit, items):
    rec = fit()
    publish(rec, repo)
    online, new = OnlineRecommender(repo), items["item_id"][20:].tolist()
    rec.add_items(items[20:])
    online.add_items(new, rec.item_vectors_.loc[new], rec.item_biases_[new])
    served, own = online.recommend(rec.user_index_, k=24), rec.recommend(k=24)
    assert served["item_id"].tolist() == own["item_id"].tolist()
    np.testing.assert_allclose(served["score"], own["score"], rtol=1e-4, atol=1e-5)


def test_events_outlive_a_publication_in_the_recommender(repo, fit):
    rec = fit()
    publish(rec, repo)
    online = OnlineRecommender(repo)
    online.record("new", "i03")
    events = online.feedback()
    online.record("late", "i04")
    rec.partial_fit(events.drop(columns="y"), events["y"])
    publish(rec, repo, feedback=events)
    assert verify(rec, repo).ok
    assert "i03" not in online.recommend("new", k=20)["item_id"].tolist()
    assert online.feedback()["user_id"].tolist() == ["late"]
    with pytest.raises(KeyError, match="'late'"):
        online.recommend("late")


def test_a_stranger_is_served_by_the_biases_alone(repo, fit):
    """Not by the vector that the recommender has for users without a history."""
    rec = fit()
    publish(rec, repo)
    served = OnlineRecommender(repo, unknown="popular").recommend("nobody", k=20)
    biases = rec.item_biases_.loc[served["item_id"]]
    np.testing.assert_allclose(served["score"], biases, rtol=1e-6, atol=1e-6)
    assert (np.diff(biases) <= 0).all()
