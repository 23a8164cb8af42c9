from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml

from skmmrec.feature_store import (
    OnlineRecommender,
    delete_ids,
    publish,
    read_vectors,
)

from .conftest import make_recommender
from .test_fold_in import history_model


def expected(recommender, user, k, exclude_seen=True):
    """Top k by brute force: pairs of item and score."""
    vectors = recommender.vectors
    scores = vectors.items.astype(float) @ vectors.users.loc[user].astype(float)
    if exclude_seen:
        scores = scores.drop(vectors.seen[user])
    return scores.sort_values(ascending=False, kind="stable")[:k]


@pytest.mark.parametrize("item_id", [int, str])
@pytest.mark.parametrize("user_id", [int, str])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommendations_are_the_exact_top_k(repo, user_id, item_id, exclude_seen):
    recommender = make_recommender(user_id=user_id, item_id=item_id)
    publish(recommender, repo)
    users = [user_id(n) for n in (105, 100, 111)]
    table = OnlineRecommender(repo).recommend(users, k=6, exclude_seen=exclude_seen)
    assert table.columns.tolist() == ["user_id", "item_id", "rank", "score"]
    assert table["user_id"].tolist() == [u for u in users for _ in range(6)]
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6] * 3
    assert table["score"].dtype == np.float32
    for user, rows in table.groupby("user_id"):
        best = expected(recommender, user, 6, exclude_seen)
        assert rows["item_id"].tolist() == best.index.tolist()
        np.testing.assert_allclose(rows["score"], best, rtol=1e-6, atol=1e-6)


def test_ids_keep_their_type(repo):
    publish(make_recommender(user_id=int), repo)
    table = OnlineRecommender(repo).recommend([100])
    assert table["user_id"].dtype == table["item_id"].dtype == np.int64


def test_a_single_id_is_a_list_of_one(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    for one in (4, np.int64(4)):
        pd.testing.assert_frame_equal(online.recommend(one), online.recommend([4]))
        assert online.recommend(0, items=one)["item_id"].tolist() == [4]
        pd.testing.assert_frame_equal(
            online.recommend_from_history(one), online.recommend_from_history([4])
        )
    assert online.recall(4) == 1.0
    online.add_items(500, [[1.0, 2.0, 3.0]])
    assert read_vectors(repo, "item", 500)[1].tolist() == [True]
    delete_ids(repo, items=500)
    assert read_vectors(repo, "item", 500)[1].tolist() == [False]


def test_a_single_text_is_no_list_of_letters(repo):
    publish(make_recommender(item_id=str), repo)
    online = OnlineRecommender(repo)
    table = online.recommend("100", items="10", exclude_seen=False)
    assert table["item_id"].tolist() == ["10"]


def test_k_beyond_the_catalogue_gives_all_unseen_items(repo, recommender):
    publish(recommender, repo)
    assert len(OnlineRecommender(repo).recommend(["100"], k=1000)) == 27


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "3"])
def test_a_length_that_is_none_is_refused(repo, recommender, k):
    publish(recommender, repo)
    online = OnlineRecommender(repo)
    error = ValueError if k in (0, -1) else TypeError
    for ask in (
        partial(online.recommend, "100"),
        partial(online.recommend_from_history, [1]),
        partial(online.similar_items, 1),
        partial(online.recall, ["100"]),
    ):
        with pytest.raises(error, match="k must be a"):
            ask(k=k)


def test_unknown_users(repo, recommender):
    publish(recommender, repo)
    with pytest.raises(KeyError, match="for 1 of 2 users, such as 'nobody'"):
        OnlineRecommender(repo).recommend(["100", "nobody"])
    skipped = OnlineRecommender(repo, unknown="skip").recommend(["nobody", "100"])
    assert set(skipped["user_id"]) == {"100"}
    nothing = OnlineRecommender(repo, unknown="skip").recommend(["nobody"])
    assert nothing.empty
    assert nothing.columns.tolist() == ["user_id", "item_id", "rank", "score"]
    popular = OnlineRecommender(repo, unknown="popular").recommend(["nobody"], k=4)
    bias = recommender.vectors.items.iloc[:, -1].sort_values(ascending=False)[:4]
    assert popular["item_id"].tolist() == bias.index.tolist()
    with pytest.raises(ValueError, match="unknown must be one of"):
        OnlineRecommender(repo, unknown="guess")


def test_a_running_recommender_follows_a_new_model(repo, recommender):
    publish(recommender, repo)
    online = OnlineRecommender(repo)
    assert online.model_version == "v1"
    online.recommend(["100"])
    newer = make_recommender(seed=5, version="v2")
    publish(newer, repo)
    assert online.model_version == "v2"
    best = expected(newer, "100", 5)
    assert online.recommend(["100"], k=5)["item_id"].tolist() == best.index.tolist()


def test_nothing_published_yet(repo):
    with pytest.raises(LookupError, match="nothing is published"):
        OnlineRecommender(repo).recommend(["100"])


@pytest.mark.parametrize(
    ("stock", "ours"),
    [("sqlite", "ExactSqliteOnlineStore"), ("redis", "ExactRedisOnlineStore")],
)
def test_feasts_own_online_stores_are_refused(repo, stock, ours):
    pytest.importorskip(stock.replace("sqlite", "sqlite3"))
    settings = repo / "feature_store.yaml"
    text = yaml.safe_load(settings.read_text())
    text["online_store"] = {"type": stock}
    settings.write_text(yaml.safe_dump(text))
    with pytest.raises(TypeError, match=f"type '{stock}' serves .*{ours}` in feat"):
        OnlineRecommender(repo)


def test_whole_floats_are_ids_and_others_are_named(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    pd.testing.assert_frame_equal(
        online.recommend(pd.Series([4.0, 1.0])), online.recommend([4, 1])
    )
    assert online.record(np.float64(77), 4.0)
    assert online.feedback()[["user_id", "item_id"]].to_numpy().tolist() == [[77, 4]]
    for bad, words in [
        (3.5, "is 3.5 in row 1"),
        (np.inf, "is infinite in row 1"),
        (None, "is missing .* in row 1"),
        (pd.NA, "is missing .* in row 1"),
        ("4", "is of type int64 in this store.*got str in row 1: '4'"),
    ]:
        for call in (
            online.recommend,
            lambda ids: online.recommend([1], items=ids),
            online.recommend_from_history,
            lambda ids: delete_ids(repo, users=ids),
            lambda ids: delete_ids(repo, items=ids),
            lambda ids: read_vectors(repo, "user", ids),
        ):
            with pytest.raises(ValueError, match=words):
                call([1, bad])
        for pair in ((bad, 1), (1, bad)):
            with pytest.raises(ValueError, match=words.replace("row 1", "row 0")):
                online.record(*pair)
    assert read_vectors(repo, "user", [1])[1].all()
    assert len(online.feedback()) == 1
