"""What filters, similar items and Feast's search must do on every engine."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from feast.filter_models import ComparisonFilter, CompoundFilter

from skmmrec.feature_store import (
    OnlineRecommender,
    open_store,
    publish,
    read_vectors,
    rollback,
    verify,
)

from .conftest import make_recommender
from .test_online import expected

N = 30


def features():
    """Features of all kinds, each of some items only."""
    rng = np.random.default_rng(3)
    items = np.arange(N)
    return pd.DataFrame(
        {
            "price": np.where(items % 5, rng.integers(1, 60, N), np.nan),
            "stock": items,
            "available": pd.array(items % 2 == 0, "boolean").copy(),
            "language": pd.Categorical(np.where(items % 3, "de", "en")),
        },
        index=items,
    ).drop(index=[28, 29])


def vectors():
    """Two further vectors: of all items but some, and of a few items."""
    rng = np.random.default_rng(4)
    return {
        "words": pd.DataFrame(rng.normal(size=(N - 4, 6)), index=range(2, N - 2)),
        "picture": pd.DataFrame(rng.normal(size=(9, 3)), index=range(8, 17)),
    }


def cosines(name, model, content=None, item=None):
    """Return the cosines of one vector by item id, in float64."""
    tables = {"item": model.vectors.items.iloc[:, :-1], **vectors()}
    table = tables[name].astype(np.float32).astype(np.float64)
    query = table.loc[item].to_numpy() if content is None else np.asarray(content)
    norms = np.linalg.norm(table.to_numpy(), axis=1) * np.linalg.norm(query)
    return table.to_numpy() @ query / pd.Series(norms, table.index)


def best(scores, k):
    return scores.sort_values(ascending=False, kind="stable").index[:k].tolist()


def publish_all(model, repo):
    publish(model, repo, features=features(), vectors=vectors())


class SearchContract:
    """Tests of a repository; a subclass gives the fixture `place`."""

    @pytest.fixture
    def published(self, place, recommender):
        publish_all(recommender, place)
        return place

    def test_conditions_choose_the_items(self, published, recommender):
        online, table = OnlineRecommender(published), features()
        ranked = expected(recommender, "100", N).index
        for where, rows in {
            "price < 30": table.price < 30,
            "not price < 30": table.price >= 30,
            "price < 30 and language in ['de', 'fr']": (table.price < 30)
            & (table.language == "de"),
            "available or stock >= 20": table.available | (table.stock >= 20),
            "language != 'de'": table.language != "de",
            "item_id in [3, 4, 99]": table.index.isin([3, 4]),
            "10 <= stock < 20 and popularity >= 0": table.stock.between(10, 19),
        }.items():
            chosen = [i for i in ranked if i in table.index[np.asarray(rows, bool)]]
            assert online.recommend("100", N, where=where)["item_id"].tolist() == chosen

    def test_feasts_filters_say_the_same(self, published):
        online = OnlineRecommender(published)
        parts = [
            ComparisonFilter(type="lt", key="price", value=30),
            ComparisonFilter(type="nin", key="language", value=["en"]),
        ]
        where = CompoundFilter(type="and", filters=parts)
        found = online.recommend("100", N, where=where)
        text = "price < 30 and language not in ['en']"
        pd.testing.assert_frame_equal(found, online.recommend("100", N, where=text))
        assert len(found)

    def test_similar_items_are_those_nearest(self, published, recommender):
        online = OnlineRecommender(published)
        found = online.similar_items([8, 21], k=5)
        for item, part in found.groupby("query", sort=False):
            scores = cosines("item", recommender, item=item).drop(item)
            assert part["item_id"].tolist() == best(scores, 5)
            np.testing.assert_allclose(
                part["score"], scores[part["item_id"]], rtol=1e-5, atol=1e-6
            )
        assert found["rank"].tolist() == [1, 2, 3, 4, 5] * 2

    @pytest.mark.parametrize("item", [3, 10])
    def test_vectors_are_weighted_when_asked(self, published, recommender, item):
        weights = {"item": 1, "words": 0.5, "picture": 2.5}
        names = ["item", "words"] + ["picture"] * (item == 10)
        parts = [cosines(name, recommender, item=item) for name in names]
        given = pd.DataFrame(dict(zip(names, parts, strict=True)))
        counted = given.notna().mul(pd.Series(weights)[names]).sum(axis=1)
        mean = given.mul(pd.Series(weights)[names]).sum(axis=1).div(counted).drop(item)
        table = OnlineRecommender(published).similar_items(item, weights=weights, k=N)
        assert table["item_id"].tolist() == best(mean, N)
        np.testing.assert_allclose(
            table["score"], mean[table["item_id"]], rtol=1e-5, atol=1e-6
        )

    def test_content_asks_by_some_vectors(self, published, recommender):
        online, query = OnlineRecommender(published), np.arange(6) - 2.5
        table = online.similar_items(content={"words": [query]}, k=4)
        scores = cosines("words", recommender, query)
        assert table["item_id"].tolist() == best(scores, 4)
        limited = online.similar_items(
            content={"words": [query]}, k=9, where="stock < 9", items=range(4, 99)
        )
        assert limited["item_id"].tolist() == best(scores.loc[4:8], 9)

    def test_added_items_have_features_and_vectors(self, published):
        online = OnlineRecommender(published)
        online.add_items(
            [70, 71],
            np.ones((2, 4)),
            features=pd.DataFrame({"price": [3, 4], "language": "fr"}, [71, 70]),
            content={"words": np.eye(2, 6), "picture": pd.DataFrame([[1] * 3], [70])},
        )
        found = online.recommend("100", N, where="language == 'fr' and price > 3")
        assert found["item_id"].tolist() == [70]
        for name, row, item in (
            ("words", np.eye(2, 6)[1], 71),
            ("picture", [9] * 3, 70),
        ):
            table = online.similar_items(content={name: [row]}, k=1)
            assert table["item_id"].tolist() == [item]
        answer = open_store(published).get_online_features(
            ["item_embeddings:price", "item_embeddings:words_vector"],
            [{"item_id": 71}],
        )
        assert answer.to_dict()["price"] == [3.0]

    def test_what_is_pushed_is_filtered_by(self, published, recommender):
        online, store = OnlineRecommender(published), open_store(published)
        assert online.recommend("100", N, where="price == 1234").empty
        answer = store.get_online_features(
            [f"item_embeddings:{f.name}" for f in _view(store).features],
            [{"item_id": 4}],
        ).to_df()
        row = answer.assign(price=1234.0, event_timestamp=datetime.now(UTC))
        store.push("item_embeddings_push", row)
        assert online.recommend("100", N, where="price == 1234")[
            "item_id"
        ].tolist() == [4]

    def test_what_is_pushed_without_vectors_or_features_has_none(self, published):
        """Whatever was published of the item before."""
        online, store = OnlineRecommender(published), open_store(published)
        rows = store.get_online_features(
            [f"item_embeddings:{f.name}" for f in _view(store).features],
            [{"item_id": item} for item in (4, 10)],
        ).to_df()
        rows["words_vector"] = [None, rows["words_vector"][1]]
        rows["picture_vector"] = None
        rows = rows.assign(price=np.nan, event_timestamp=datetime.now(UTC))
        store.push("item_embeddings_push", rows)
        assert online.recommend("100", N, where="price > 0 and item_id == 4").empty
        content = {"words": np.ones((1, 6)), "picture": np.ones((1, 3))}
        by_words = online.similar_items(
            content=content, weights={"words": 1, "picture": 0}
        )
        assert set(by_words["item_id"]).isdisjoint({4})
        by_both = online.similar_items(content=content, k=99)
        assert sorted(by_both["item_id"]) == [2, 3, *range(5, N - 2)]
        with pytest.raises(KeyError, match="no vector picture of item_id 10"):
            online.similar_items(10, weights={"picture": 1})

    def test_a_user_who_is_pushed_without_a_vector_has_none(self, published):
        store = open_store(published)
        view = store.get_feature_view("user_embeddings")
        rows = store.get_online_features(
            [f"user_embeddings:{f.name}" for f in view.features],
            [{"user_id": "100"}, {"user_id": "101"}],
        ).to_df()
        rows["user_vector"] = [None, rows["user_vector"][1]]
        rows["event_timestamp"] = datetime.now(UTC)
        store.push("user_embeddings_push", rows)
        found = read_vectors(published, "user", ["100", "101"])[1]
        assert found.tolist() == [False, True]
        with pytest.raises(KeyError, match="no vector of model version 'v1'"):
            OnlineRecommender(published).recommend("100")

    def test_features_are_those_of_the_served_publication(self, published, recommender):
        online = OnlineRecommender(published)
        before = online.recommend("100", N, where="price < 30")
        texts = pd.DataFrame({"price": ["low", "high"] * 15})
        publish(make_recommender(version="v2"), published, features=texts)
        assert len(online.recommend("100", N, where="price == 'low'"))
        with pytest.raises(ValueError, match="price holds texts"):
            online.recommend("100", where="price < 30")
        with pytest.raises(ValueError, match="has a value of stock"):
            online.recommend("100", where="stock < 30")
        with pytest.raises(ValueError, match="published without the vectors 'words'"):
            online.similar_items(3, weights={"words": 1})
        rollback(published, "v1")
        assert verify(recommender, published, features=features(), vectors=vectors()).ok
        again = online.recommend("100", N, where="price < 30")
        pd.testing.assert_frame_equal(again, before)
        assert len(online.similar_items(3, weights={"words": 1}, k=3)) == 3

    def test_verify_compares_what_it_is_given(self, published, recommender):
        assert verify(published).ok
        assert verify(recommender, published).ok
        assert verify(recommender, published, features=features()).ok
        other = features().assign(price=1.0)
        changed = verify(recommender, published, features=other).changed
        assert changed == [("item_id", item) for item in range(N)][: len(changed)]
        moved = vectors()
        moved["words"] = -moved["words"]
        changed = verify(recommender, published, vectors=moved).changed
        assert changed == [("item_id", item) for item in range(2, N - 2)]

    def test_feast_searches_with_filters(self, published, recommender):
        store = open_store(published)
        query = recommender.vectors.users.loc["100"].to_numpy()
        answer = store.retrieve_online_documents_v2(
            ["item_embeddings:price", "item_embeddings:language"],
            top_k=4,
            query=query.tolist(),
            filters=ComparisonFilter(type="lt", key="price", value=30),
        ).to_dict()
        table = features()
        scores = recommender.vectors.items @ query
        chosen = best(scores[table.index[table.price < 30]], 4)
        assert answer["item_id"] == sorted(chosen)
        assert answer["price"] == table.price[sorted(chosen)].tolist()
        np.testing.assert_allclose(
            answer["distance"], -scores[sorted(chosen)], rtol=1e-5, atol=1e-6
        )

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"top_k": 0}, "top_k must be"),
            ({"top_k": -3}, "top_k must be"),
            ({"top_k": None}, "top_k must be"),
            ({"query": [1.0, 2.0]}, "the query has 2 numbers, item_vector"),
            ({"query": [1.0, 2.0, 3.0, 4.0, np.nan]}, "finite"),
            ({"features": ["item_embeddings:colour"]}, "no feature 'colour'"),
            (
                {"filters": ComparisonFilter(type="eq", key="colour", value=1)},
                "there is no feature 'colour' to filter by",
            ),
            (
                {"filters": ComparisonFilter(type="eq", key="price", value="low")},
                "price holds numbers",
            ),
            ({"query": None, "query_string": "words"}, "names no text_encoder"),
        ],
    )
    def test_feast_refuses_other_searches(self, published, given, message):
        asked = {"features": ["item_embeddings:price"], "query": [1.0] * 5, "top_k": 2}
        with pytest.raises(ValueError, match=message) as caught:
            open_store(published).retrieve_online_documents_v2(**{**asked, **given})
        assert caught.value.http_status_code() == 422


def _view(store):
    return store.get_feature_view("item_embeddings")
