"""Places for new items in lists from the store, as the recommender keeps them."""

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.feature_store import OnlineRecommender, publish

NEW = ["i20", "i21", "i22", "i23"]
OPTIONS = [
    {"fresh": 1},
    {"fresh": 0.3, "k": 8},
    {"fresh": 1.0, "k": 6},
    {"fresh": 2, "k": 40, "exclude_seen": False},
    {"fresh": 2, "k": 4, "items": ["i01", "i02", "i03", "i21", "i07"]},
    {"fresh": 2, "k": 4, "items": ["i01", "i02", "i03"]},
    {"fresh": 0.5, "fresh_met": 3},
    # Most users have met one of these, or both, and nothing is left.
    {"fresh": 1, "fresh_met": 9, "items": ["i01", "i02"]},
]


@pytest.fixture
def items():
    vectors = np.random.default_rng(0).normal(size=(24, 4))
    table = pd.DataFrame(vectors, columns=[f"text__{n}" for n in range(4)])
    table.insert(0, "item_id", [f"i{n:02}" for n in range(24)])
    return table


def fit(items):
    """Nobody has met the last four items, which come last by themselves."""
    rng = np.random.default_rng(1)
    pairs = [(f"u{rng.integers(9)}", f"i{n % 20:02}") for n in range(90)]
    X = pd.DataFrame(pairs, columns=["user_id", "item_id"]).drop_duplicates()
    rec = MultimodalFusionRecommender(
        ItemCatalog(items), n_factors=4, cold_popularity=1e-6, random_state=0
    )
    return rec.set_params(training__max_epochs=2).fit(X)


def same(served, own):
    pd.testing.assert_frame_equal(served, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_lists_are_those_of_the_recommender(repo, items, options):
    rec = fit(items)
    publish(rec, repo)
    own = rec.recommend(**options)
    same(OnlineRecommender(repo).recommend(rec.user_index_, **options), own)


def test_by_themselves_new_items_do_not_come(repo, items):
    rec = fit(items)
    publish(rec, repo)
    assert not rec.recommend(k=8)["item_id"].isin(NEW).any()
    online = OnlineRecommender(repo)
    shown = online.recommend(rec.user_index_, k=8, fresh=0.25)
    assert shown["rank"][shown["item_id"].isin(NEW)].tolist() == [2, 6] * 9


def test_added_items_are_new(repo, items):
    rec = fit(items[:20])
    publish(rec, repo)
    rec.add_items(items[20:])
    online = OnlineRecommender(repo)
    online.add_items(NEW, rec.item_vectors_.loc[NEW], rec.item_biases_[NEW])
    own = rec.recommend(k=5, fresh=2)
    same(online.recommend(rec.user_index_, k=5, fresh=2), own)
    assert own["rank"][own["item_id"].isin(NEW)].tolist() == [2, 4] * 9


def test_what_is_recorded_counts_when_it_is_published(repo, items):
    rec = fit(items)
    publish(rec, repo)
    online = OnlineRecommender(repo)
    assert online.record("u0", "i20")
    shown = online.recommend(["u0", "u1"], k=4, fresh=1.0)
    others = [set(part) for _, part in shown.groupby("user_id")["item_id"]]
    assert others == [{"i21", "i22", "i23"} | (others[0] - set(NEW)), set(NEW)]
    events = online.feedback()
    rec.partial_fit(events[["user_id", "item_id"]])
    publish(rec, repo, feedback=events)
    same(
        online.recommend(rec.user_index_, k=4, fresh=1.0),
        rec.recommend(k=4, fresh=1.0),
    )
    assert "i20" not in set(online.recommend(["u1"], k=3, fresh=1.0)["item_id"])


def test_a_history_gets_new_items_too(repo, items):
    rec = fit(items)
    publish(rec, repo)
    met = ["i00", "i05", "i11"]
    rec.partial_fit(pd.DataFrame({"user_id": "ann", "item_id": met}))
    online = OnlineRecommender(repo)
    own = rec.recommend(["ann"], k=6, fresh=0.5).drop(columns="user_id")
    served = online.recommend_from_history(met, k=6, fresh=0.5)
    assert served["item_id"].tolist() == own["item_id"].tolist()
    assert served["rank"][served["item_id"].isin(NEW)].tolist() == [1, 3, 5]


def test_conditions_choose_among_new_items_too(repo, items):
    rec = fit(items)
    price = pd.DataFrame({"price": np.arange(24)}, rec.item_index_)
    publish(rec, repo, features=price)
    online = OnlineRecommender(repo)
    shown = online.recommend(["u0"], k=6, fresh=3, where="price < 22")
    new = shown["item_id"].isin(NEW)
    assert set(shown["item_id"][new]) == {"i20", "i21"}
    assert shown["rank"][new].tolist() == [1, 3]
    assert shown["rank"].tolist() == [1, 2, 3, 4, 5, 6]


def test_what_no_list_has_is_refused(repo, items):
    publish(fit(items), repo)
    online = OnlineRecommender(repo)
    with pytest.raises(ValueError, match="from 0 to k=3, got 4"):
        online.recommend(["u0"], k=3, fresh=4)
    with pytest.raises(ValueError, match="has no effect without fresh"):
        online.recommend_from_history(["i00"], fresh_met=1)
