"""Categories, popularity and services of model versions."""

import numpy as np
import pandas as pd
import pytest

from skmmrec.feature_store import OnlineRecommender, open_store, publish, verify

from .conftest import make_recommender
from .test_fold_in import history_model
from .test_online import expected


@pytest.fixture
def categories():
    return pd.Series({i: "rock" if i % 3 else "jazz" for i in range(29)})


def test_only_items_of_a_category_are_recommended(repo, recommender, categories):
    publish(recommender, repo, categories=categories)
    online = OnlineRecommender(repo)
    best = expected(recommender, "100", 30).index
    many = [*map(str, range(1000)), "jazz"]
    for wanted in ("jazz", ["jazz"], ["rock", "jazz"], "folk", [], many):
        names = [wanted] if isinstance(wanted, str) else wanted
        known = [i for i in best if categories.get(i) in names]
        table = online.recommend(["100"], k=30, category=wanted)
        assert table["item_id"].tolist() == known
    both = online.recommend(["100"], k=30, category="jazz", items=[3, 4, 6])
    assert set(both["item_id"]) <= {3, 6}
    assert verify(recommender, repo, categories=categories).ok


def test_categories_follow_the_model(repo, recommender, categories):
    publish(recommender, repo, categories=categories)
    online = OnlineRecommender(repo)
    online.recommend(["100"], category="jazz")
    publish(make_recommender(seed=1), repo, categories=categories * 2)
    table = online.recommend(["100"], k=3, category="jazzjazz")
    assert len(table) == 3
    publish(make_recommender(seed=2), repo)
    with pytest.raises(ValueError, match="has a category"):
        online.recommend(["100"], category="jazz")


def test_a_history_is_filtered_by_category_too(repo, categories):
    publish(history_model(), repo, categories=categories[:25])
    table = OnlineRecommender(repo).recommend_from_history([1], k=30, category="jazz")
    assert set(table["item_id"]) == {i for i in range(25) if i % 3 == 0}


def test_repeated_categories_are_refused(repo, recommender, categories):
    twice = pd.concat([categories, categories[3:4]])
    with pytest.raises(ValueError, match="categories has item 3 more than once"):
        publish(recommender, repo, categories=twice)


def test_categories_may_be_a_mapping(repo, recommender, categories):
    given = {np.int64(item): name for item, name in categories.items()}
    publish(recommender, repo, categories={**given, 5: None})
    table = OnlineRecommender(repo).recommend("100", k=30, category="jazz")
    known = [i for i in expected(recommender, "100", 30).index if i % 3 == 0]
    assert table["item_id"].tolist() == known
    assert verify(recommender, repo, categories=categories.drop(5)).ok


@pytest.mark.parametrize("bad", [["rock"] * 30, np.array(["rock"] * 30), "rock", 7])
def test_categories_of_another_type_are_refused(repo, recommender, bad):
    with pytest.raises(TypeError, match="categories must be a mapping or a Series"):
        publish(recommender, repo, categories=bad)
    with pytest.raises(TypeError, match="got list for item 3"):
        publish(recommender, repo, categories={3: ["rock", "jazz"]})
    assert not (repo / "data").exists()


@pytest.mark.parametrize("item_id", [int, str])
def test_categories_of_unknown_items_are_refused(repo, item_id):
    model = make_recommender(item_id=item_id)
    wrong = pd.Series(["rock"] * 30, index=range(1000, 1030))
    with pytest.raises(ValueError, match=r"categories has item 1000, .* \(30 such ids"):
        publish(model, repo, categories=wrong)
    one = {**dict.fromkeys(model.vectors.items.index, "rock"), "new": "rock"}
    with pytest.raises(ValueError, match=r"categories has item 'new', .* \(1 such ids"):
        publish(model, repo, categories=one)
    assert not (repo / "data").exists()


@pytest.mark.parametrize("dtype", [object, "Int64", float])
def test_categories_may_be_numbers(repo, recommender, dtype):
    numbers = pd.Series([1, 2, None] * 10, dtype=dtype)
    publish(recommender, repo, categories=numbers)
    online = OnlineRecommender(repo)
    best = expected(recommender, "100", 30).index
    for wanted in (1, "1", [1], ["1"], np.array([1]), np.int64(1), 1.0, {1}):
        table = online.recommend("100", k=30, category=wanted)
        assert table["item_id"].tolist() == [i for i in best if i % 3 == 0]
    both = online.recommend("100", k=30, category=[1, "2"])
    assert both["item_id"].tolist() == [i for i in best if i % 3 < 2]
    assert online.recommend("100", category=3).empty
    assert verify(recommender, repo, categories=numbers).ok


def test_added_items_may_have_categories(repo, categories):
    publish(history_model(), repo, categories=categories[:25])
    online = OnlineRecommender(repo)
    online.add_items([50, 51], np.ones((2, 3)), categories={51: "jazz"})
    found = online.recommend(0, k=99, category="jazz")["item_id"]
    assert 51 in found.values
    assert 50 not in found.values
    with pytest.raises(
        ValueError, match="categories has item 3, which is none of the 1"
    ):
        online.add_items([52], np.ones((1, 3)), categories={3: "jazz"})
    publish(history_model(), repo)
    with pytest.raises(ValueError, match="has a category"):
        online.add_items([52], np.ones((1, 3)), categories={52: "jazz"})
    assert 52 not in online.recommend(0, k=99)["item_id"].values


def test_popularity_is_stored(repo, recommender):
    publish(recommender, repo)
    answer = open_store(repo).get_online_features(
        features=["item_embeddings:item_popularity"],
        entity_rows=[{"item_id": item} for item in range(30)],
    )
    counts = recommender.vectors.seen.explode().value_counts()
    wanted = counts.reindex(range(30), fill_value=0).tolist()
    assert answer.to_dict()["item_popularity"] == wanted


def test_each_model_version_has_a_feature_service(repo):
    for n in range(12):
        publish(make_recommender(n_users=2, n_items=4, version=f"v{n}"), repo)
    store = open_store(repo)
    service = store.get_feature_service("model_v11")
    assert service.tags == {"model_version": "v11"}
    names = {view.name for view in service.feature_view_projections}
    assert names == {"user_embeddings", "item_embeddings"}
    answer = store.get_online_features(
        features=service, entity_rows=[{"user_id": "100", "item_id": 3}]
    ).to_dict()
    assert answer["item_model_version"] == ["v11"]


def test_a_disliked_item_leaves_later_steps_exact(repo):
    model = history_model(exponent=0.7)
    publish(model, repo)
    online = OnlineRecommender(repo)
    seen = model.vectors.seen[3]
    disliked, liked = (i for i in range(25) if i not in seen and i < 9), None
    disliked = next(disliked)
    liked = next(i for i in range(24, 0, -1) if i not in seen)
    assert not online.record(3, disliked, y=0.0)
    assert online.record(3, liked)
    table = online.recommend([3], k=99)
    same = online.recommend_from_history([*seen, liked], k=99)
    same = same[same["item_id"] != disliked]
    assert table["item_id"].tolist() == same["item_id"].tolist()
    np.testing.assert_allclose(table["score"], same["score"], rtol=1e-5, atol=1e-5)
