"""What the page asks of a store; only `record` writes to it."""

import warnings

import numpy as np
import pandas as pd
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # feast imports much that is deprecated
    import feast  # noqa: F401

from skmmrec.app._store import Store
from skmmrec.feature_store import (
    OnlineRecommender,
    init_repo,
    publish,
    recommend_after,
    stored_history,
    stored_ids,
    stored_names,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:fetch_arrow_table:DeprecationWarning"  # ibis calls what duckdb deprecated
)


@pytest.fixture(scope="module")
def repo(rec, catalog, table, tmp_path_factory):
    repo = init_repo(tmp_path_factory.mktemp("store") / "repo")
    features = table.set_index("item_id")[["price"]]
    publish(rec, repo, features=features, vectors=catalog)
    return repo


@pytest.fixture
def own_repo(rec, tmp_path):
    """A store of its own, to write to."""
    repo = init_repo(tmp_path / "repo")
    publish(rec, repo)
    return repo


def test_ids_histories_and_names_are_those_published(repo, rec, catalog):
    online = OnlineRecommender(repo)
    assert stored_ids(online, "user") == sorted(rec.user_index_)
    assert stored_ids(online, "item") == sorted(rec.item_index_)
    user = rec.user_index_[3]
    assert sorted(stored_history(online, user)) == sorted(
        rec.item_index_[rec.seen_.of(3)]
    )
    assert stored_history(online, "nobody") == []
    names = stored_names(online)
    assert "price" in names.features
    assert {"popularity", "category"} <= set(names.features)
    assert sorted(names.vectors) == sorted(catalog.blocks.modalities)


def test_a_list_after_likes_is_that_after_a_record(own_repo, rec):
    online = OnlineRecommender(own_repo, unknown="popular")
    for user in (rec.user_index_[3], "a new user"):
        before = online.recommend([user], k=24)
        liked = before["item_id"].tolist()[2:4]
        told = recommend_after(online, user, liked, 24)
        assert online.recommend([user], k=24).equals(before)
        assert len(online.feedback()) == 0 or user == "a new user"
        for item in liked:
            online.record(user, item)
        now = online.recommend([user], k=24).drop(columns="user_id")
        assert told["item_id"].tolist() == now["item_id"].tolist()
        assert np.allclose(told["score"], now["score"], rtol=1e-5, atol=1e-6)


def test_likes_that_move_nothing_are_refused(items, X, tmp_path):
    from skmmrec import ItemCatalog, MultimodalFusionRecommender
    from skmmrec.recommender import AttentionTower, Training

    rec = MultimodalFusionRecommender(
        ItemCatalog(items),
        user_tower=AttentionTower(),
        training=Training(max_epochs=2),
        random_state=0,
    ).fit(X)
    repo = init_repo(tmp_path / "repo")
    publish(rec, repo)
    store = Store(repo, "repo")
    user = store.user_ids[0]
    with pytest.raises(ValueError, match="after the next fit"):
        store.after(user, store.recommend(user, 1)["item_id"])
    assert store.as_user("7") == 7
    with pytest.raises(ValueError, match="whole numbers"):
        store.as_user("seven")


def test_an_unknown_item_is_named(repo):
    with pytest.raises(KeyError, match="no-such"):
        recommend_after(OnlineRecommender(repo), "u", ["no-such"])


def test_lists_conditions_and_neighbours(repo, rec):
    store, user = Store(repo, "repo"), rec.user_index_[3]
    assert store.recommend(user, 5)["item_id"].tolist() == (
        rec.recommend([user], k=5)["item_id"].tolist()
    )
    cheap = store.recommend(user, 20, "price < 10")["item_id"].tolist()
    assert 0 < len(cheap) < 20
    with pytest.raises(ValueError, match="nothing_like_it"):
        store.recommend(user, 5, "nothing_like_it < 3")
    moved = store.after(user, cheap[:1])
    assert set(moved.recommend(user, 20, "price < 10")["item_id"]) <= set(cheap[1:])
    item = rec.item_index_[0]
    assert store.similar(item, 4)["item_id"].tolist() == (
        rec.similar_items([item], k=4)["item_id"].tolist()
    )
    assert store.recommend("nobody", 5)["rank"].tolist() == [1, 2, 3, 4, 5]
    assert store.knows(user)
    assert not store.knows("nobody")


def test_reasons_name_what_is_most_like_it(repo, rec):
    store, user = Store(repo, "repo"), rec.user_index_[3]
    items = store.recommend(user, 3)["item_id"].tolist()
    everything = [*items, *store.history(user)]
    titles = pd.Series([f"T {i}" for i in everything], everything)
    for reason in store.reasons(user, items, titles):
        assert reason.sentence.startswith("Most like “T item-")
        assert not reason.shares
    assert store.reasons("nobody", items, titles)[0].sentence == "Many others chose it."
    assert store.reasons(user, [], titles) == []


def test_a_store_with_a_catalogue_is_searched_by_content(repo, catalog, table):
    store = Store(repo, "repo", catalog)
    assert store.inputs == {"words": "description", "picture": "image"}
    row = table.iloc[5]
    found = store.similar_content({"words": row["description"]}, 3)
    assert found["item_id"][0] == row["item_id"]


def test_what_a_store_lacks_is_said(repo, own_repo, catalog):
    without = Store(repo, "repo")
    assert without.inputs == {}
    assert "catalog=" in without.lacks
    with pytest.raises(ValueError, match="encoders"):
        without.similar_content({"words": "sea"}, 3)
    assert "vectors=catalog" in Store(own_repo, "repo", catalog).lacks


def test_a_like_is_written_only_by_record(own_repo, rec):
    store = Store(own_repo, "repo")
    item = store.recommend("a new user", 1)["item_id"][0]
    store.after("a new user", [item])
    assert len(store.online.feedback()) == 0
    assert "a new user" not in store.user_ids
    store.record("a new user", item)
    assert store.online.feedback()["item_id"].tolist() == [item]
    assert "a new user" in store.user_ids
    assert store.history("a new user") == [item]
    assert "1 events" in store.describe()
    assert store.figures()["served"].tolist() == [True]


def test_a_like_of_a_known_user_reads_no_ids_anew(own_repo, rec):
    store = Store(own_repo, "repo")
    users, user = store.user_ids, rec.user_index_[0]
    store.record(user, store.recommend(user, 1)["item_id"][0])
    assert store.user_ids is users


def test_an_empty_store_is_refused(tmp_path):
    with pytest.raises(LookupError, match="nothing is published"):
        Store(init_repo(tmp_path / "repo"), "repo")
