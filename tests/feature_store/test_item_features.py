"""Further features and vectors of items: what is published, and what is refused."""

import decimal
import json
from keyword import kwlist, softkwlist

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skmmrec import ItemCatalog
from skmmrec.catalog import Blocks
from skmmrec.feature_store import (
    OnlineRecommender,
    open_store,
    publish,
    rollback,
    verify,
)
from skmmrec.feature_store._item_features import item_columns, vector_columns
from skmmrec.feature_store.backends.base import filter_names, parse_filter
from skmmrec.recommender import ContentRecommender

from .conftest import make_recommender

IDS = list(range(30))


def one(values, **options):
    """Return the column that a feature of the first items becomes."""
    table = pd.DataFrame({"f": pd.Series(values, **options)})
    [column] = item_columns(table, IDS)
    return column.kind, column.values[: len(values)]


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "stored"),
    [
        ([1, 2], "int8", "int64", [1, 2]),
        ([1, 2], "uint64", "int64", [1, 2]),
        ([1, None], "Int64", "int64", [1, None]),
        ([1, None], object, "int64", [1, None]),
        ([1, None], float, "float64", [1.0, None]),
        ([0.5, None], "Float32", "float64", [0.5, None]),
        ([0.5, 1.0], pd.ArrowDtype(pa.float64()), "float64", [0.5, 1.0]),
        ([True, False], bool, "bool", [True, False]),
        ([True, None], "boolean", "bool", [True, None]),
        ([True, None], object, "bool", [True, None]),
        (["a", None], object, "string", ["a", None]),
        (["a", None], "string", "string", ["a", None]),
        (["a", None], "string[pyarrow]", "string", ["a", None]),
        (["a", None], "category", "string", ["a", None]),
        ([3, None], "category", "int64", [3, None]),
        (
            ["a", None],
            pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
            "string",
            ["a", None],
        ),
        ([None, None], object, "string", [None, None]),
    ],
)
def test_kinds_follow_the_column(values, dtype, kind, stored):
    assert one(values, dtype=dtype) == (kind, stored)


@pytest.mark.parametrize(
    "values",
    [
        pd.to_datetime(["2026-01-01"]),
        pd.to_timedelta([3]),
        [["a"]],
        [{"a": 1}],
        [1, "a"],
        [1, True],
        [b"a"],
        [1j],
        [decimal.Decimal(3)],
    ],
)
def test_other_columns_are_refused_by_name(values):
    with pytest.raises(TypeError, match="features: f must hold numbers"):
        one(values)


def test_of_times_the_error_says_what_to_make():
    with pytest.raises(TypeError, match="such as a time to hours since"):
        one(pd.to_datetime(["2026-03-01"]))


def test_row_numbers_are_not_taken_for_ids_that_are_in_a_column(repo, recommender):
    table = pd.DataFrame({"price": np.arange(30.0), "sku": IDS[::-1]})
    for given in ({"features": table}, {"vectors": {"words": table}}):
        with pytest.raises(ValueError, match=r"ids in 'sku': .*set_index\('sku'\)"):
            publish(recommender, repo, **given)
    by_id = table.set_index("sku")
    publish(recommender, repo, features=by_id)
    assert verify(recommender, repo, features=by_id).ok


def test_ids_that_are_row_numbers_may_have_a_feature_of_ranks():
    ranks = pd.DataFrame({"rank": IDS[::-1]})
    for table in (ranks.rename_axis("item_id"), ranks.assign(rank=IDS), ranks[:20]):
        [column] = item_columns(table, IDS)
        expected = table["rank"].tolist()
        assert column.values == expected + [None] * (len(IDS) - len(expected))


@pytest.mark.parametrize("empty", [[None] * 30, [np.nan] * 30])
def test_a_feature_without_values_stays_of_its_kind(repo, recommender, empty):
    """As of a night on which its source failed."""
    publish(recommender, repo, features=pd.DataFrame({"price": [7]}, [4]))
    path = repo / "data" / "item_embeddings.parquet"
    kind = pq.read_schema(path).field("price").type
    later = make_recommender(version="v2")
    publish(later, repo, features=pd.DataFrame({"price": empty}))
    assert pq.read_schema(path).field("price").type == kind
    with pytest.raises(ValueError, match="no item of model version 'v2' has a value"):
        OnlineRecommender(repo).recommend("100", where="price < 3")
    settings = json.loads((repo / "data" / "embeddings.json").read_text())
    assert settings["item_features"] == {"price": "int64"}


def test_numbers_and_texts_that_cannot_be_stored_are_refused():
    for values, message in (
        ([np.inf], "infinite"),
        (np.array([2**63], "uint64"), r"2\*\*63"),
        (["\ud800"], "UTF-8"),
    ):
        with pytest.raises(ValueError, match=f"features: f holds .*{message}"):
            one(values)


@pytest.mark.parametrize(
    "name",
    [
        *["", "a b", "1a", "_a", "a-b", "ü", "in", "not", "True", 3, ("a", "b")],
        *[
            "item_id",
            "user_id",
            "item_vector",
            "item_category",
            "user_seen_items",
            "Item_ID",
        ],
        *["words_vector", "event_timestamp", "distance"],
    ],
)
def test_names_that_no_feature_can_have_are_refused(name):
    table = pd.DataFrame({0: [1.0]})
    table.columns = pd.Index([name], dtype=object, tupleize_cols=False)
    with pytest.raises(ValueError, match="features has the name"):
        item_columns(table, IDS)


@pytest.mark.parametrize("name", [*kwlist, *softkwlist, "print", "klass"])
def test_a_condition_can_name_each_feature_that_is_published(name):
    try:
        item_columns(pd.DataFrame({name: [1.0]}), IDS)
    except ValueError:
        assert name in kwlist or name == "_"
    else:
        assert [*filter_names(parse_filter(f"{name} == 1"))] == [name]


@pytest.mark.parametrize("argument", ["features", "vectors"])
@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([1, 1], "item 1 more than once"),
        ([1, 99], r"item 99, .*\(1 such ids\); its index .* of these items alone"),
    ],
)
def test_ids_that_repeat_or_are_unknown_are_refused(
    repo, recommender, argument, index, message
):
    table = pd.DataFrame({"price": [1.0, 2.0]}, index)
    given = {"vectors": {"words": table}, "features": table}[argument]
    with pytest.raises(ValueError, match=message):
        publish(recommender, repo, **{argument: given})
    assert not (repo / "data").exists()


def test_tables_of_another_type_are_refused(repo, recommender):
    for given in ({"price": [1]}, [1], pd.Series([1])):
        with pytest.raises(TypeError, match="features must be a DataFrame"):
            publish(recommender, repo, features=given)
    for make, kind in ((pl.DataFrame, "polars.DataFrame"), (pa.table, "pyarrow.Table")):
        with pytest.raises(TypeError, match=f"of pandas, indexed by .*, got {kind}$"):
            publish(recommender, repo, features=make({"price": [1]}))
    table = pd.DataFrame({"a": [1], "b": [2]}, [3])
    table.columns = ["a", "a"]
    with pytest.raises(ValueError, match="column 'a' more than once"):
        publish(recommender, repo, features=table)
    table.columns = ["a", "A"]
    with pytest.raises(ValueError, match="'A' and 'a', which differ in case alone"):
        publish(recommender, repo, features=table)
    with pytest.raises(TypeError, match="vectors must be a mapping"):
        publish(recommender, repo, vectors=table)
    for given in (np.eye(3), pd.DataFrame({"a": ["x"]}, [3]), pd.DataFrame(index=[3])):
        with pytest.raises(TypeError, match=r"vectors\['words'\] must"):
            publish(recommender, repo, vectors={"words": given})
    with pytest.raises(ValueError, match=r"vectors\['words'\] of item 3 is not finite"):
        publish(
            recommender, repo, vectors={"words": pd.DataFrame({"a": [np.nan]}, [3])}
        )
    with pytest.raises(ValueError, match="vectors has the name 'item'"):
        publish(recommender, repo, vectors={"item": table})
    assert not (repo / "data").exists()


def test_vectors_become_float32_of_those_who_have_them():
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, 0.25]}, [7, 3])
    [column] = vector_columns({"words": table}, IDS)
    assert column.name == "words_vector"
    assert [row for row, value in enumerate(column.values) if value is not None] == [
        3,
        7,
    ]
    np.testing.assert_array_equal(column.values[3], np.array([2, 0.25], np.float32))
    assert column.values[7].dtype == np.float32


def test_features_stay_registered_and_are_empty_without_values(repo, recommender):
    table = pd.DataFrame({"price": [3.5], "stock": [2]}, [4])
    publish(recommender, repo, features=table)
    publish(make_recommender(version="v2"), repo)
    answer = open_store(repo).get_online_features(
        ["item_embeddings:price", "item_embeddings:stock"], [{"item_id": 4}]
    )
    assert answer.to_dict()["price"] == [None]
    offline = pq.read_table(repo / "data" / "item_embeddings.parquet").to_pandas()
    prices = offline[offline.item_id == 4].set_index("item_model_version").price
    assert prices["v1"] == 3.5
    assert np.isnan(prices["v2"])
    settings = json.loads((repo / "data" / "embeddings.json").read_text())
    assert settings["item_features"] == {"price": "float64", "stock": "int64"}


def test_columns_that_only_the_file_has_stay(repo, recommender):
    """As of a later version, or by hand: they are of the past, as rows are."""
    publish(recommender, repo)
    path = repo / "data" / "item_embeddings.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("mine", pa.array(range(len(table)))), path)
    publish(make_recommender(version="v2"), repo)
    rollback(repo)
    offline = pq.read_table(path).to_pandas()
    offline = offline.sort_values("event_timestamp", kind="stable")
    n = len(table)
    assert offline["mine"][:n].tolist() == list(range(n))
    assert len(offline) == 3 * n
    assert offline["mine"][n:].isna().all()


def test_a_feature_may_become_of_another_kind(repo, recommender):
    publish(recommender, repo, features=pd.DataFrame({"price": [3.5]}, [4]))
    texts = pd.DataFrame({"price": ["low"]}, [4])
    later = make_recommender(version="v2")
    publish(later, repo, features=texts)
    assert verify(later, repo, features=texts).ok
    path = repo / "data" / "item_embeddings.parquet"
    assert pa.types.is_string(pq.read_schema(path).field("price").type)


def test_a_model_is_published_again_for_other_features(repo, recommender):
    """The rows of the same model with other features are another publication."""
    for price in (3.0, 4.0):
        table = pd.DataFrame({"price": [price], "v": [0]}, [4])
        words = {"words": pd.DataFrame([[price] * 900], [4])}
        publish(recommender, repo, features=table, vectors=words)
        assert verify(recommender, repo, features=table, vectors=words).ok
        found = OnlineRecommender(repo).recommend("100", where=f"price == {price}")
        assert found["item_id"].tolist() == [4]


def test_vectors_of_another_length_replace_those_before(repo, recommender):
    for dim in (3, 5):
        publish(recommender, repo, vectors={"words": pd.DataFrame([[1.0] * dim], [4])})
        online = OnlineRecommender(repo)
        found = online.similar_items(content={"words": np.ones((1, dim))})
        assert found["item_id"].tolist() == [4]
        with pytest.raises(ValueError, match=r"content\['words'\] must have shape"):
            online.similar_items(content={"words": np.ones((1, dim + 1))})


def test_added_features_fit_those_published(repo, recommender):
    table = pd.DataFrame({"price": [3.5], "stock": [2], "lang": ["de"]}, [4])
    words = {"words": pd.DataFrame([[1.0, 2.0]], [4])}
    publish(recommender, repo, features=table, vectors=words)
    online = OnlineRecommender(repo)
    for given, error, message in (
        ({"features": pd.DataFrame({"x": [1]}, [50])}, ValueError, "without the feat"),
        (
            {"features": pd.DataFrame({"stock": [1.5]}, [50])},
            ValueError,
            "stock was pu",
        ),
        ({"features": pd.DataFrame({"lang": [1]}, [50])}, ValueError, "lang was pub"),
        ({"features": pd.DataFrame({"lang": ["a"]}, [4])}, ValueError, "has item 4"),
        ({"features": {"lang": "de"}}, TypeError, "features must be"),
        ({"content": {"words": np.ones((1, 3))}}, ValueError, "3 columns; .* with 2"),
        ({"content": {"sound": np.ones((1, 3))}}, ValueError, "without such vectors"),
        ({"content": {"words": np.ones((2, 2))}}, ValueError, r"shape \(1, dim\)"),
        ({"content": np.ones((1, 2))}, TypeError, "content must be a mapping"),
    ):
        with pytest.raises(error, match=message):
            online.add_items([50], np.ones((1, 4)), **given)
    assert 50 not in online.recommend("100", 99)["item_id"].tolist()
    online.add_items([50], np.ones((1, 4)), features=pd.DataFrame({"price": [7]}, [50]))
    assert online.recommend("100", where="price == 7")["item_id"].tolist() == [50]
    publish(make_recommender(version="v2"), repo)
    with pytest.raises(ValueError, match="has a value of price"):
        online.add_items(
            [51], np.ones((1, 4)), features=pd.DataFrame({"price": [1]}, [51])
        )
    with pytest.raises(ValueError, match="published without the vectors 'words'"):
        online.add_items([51], np.ones((1, 4)), content={"words": np.ones((1, 2))})


def test_an_item_that_is_added_again_keeps_its_features(repo, recommender):
    publish(recommender, repo, features=pd.DataFrame({"price": [7.0]}, [4]))
    online = OnlineRecommender(repo)
    online.add_items([4], np.ones((1, 4)))
    assert online.recommend("100", where="price == 7")["item_id"].tolist() == [4]


@pytest.fixture
def catalog(items):
    table = items.assign(price__0=np.arange(len(items), dtype=float))
    return ItemCatalog(table)


def test_a_catalogue_gives_the_vectors_of_its_modalities(repo, catalog, X):
    model = ContentRecommender(catalog).fit(X)
    publish(model, repo, vectors=catalog)
    assert verify(model, repo, vectors=catalog).ok
    online, names = OnlineRecommender(repo), list(catalog.ids)
    blocks = catalog.blocks.take(slice(1, 2))  # the item without a text
    weights = {"text": 0.2, "image": 0.8}
    by_item = online.similar_items(names[1], weights=weights, k=4)
    by_content = online.similar_items(
        content=blocks, weights={**weights, "audio": 0}, k=5
    )
    assert by_content["item_id"][0] == names[1]
    assert by_content["item_id"][1:].tolist() == by_item["item_id"].tolist()
    only_image = online.similar_items(names[1], weights={"image": 3}, k=4)
    assert only_image["score"][0] <= 1
    with pytest.raises(KeyError, match="no vector text of item_id 'i01'"):
        online.similar_items(names[1], weights={"text": 1})
    with pytest.raises(ValueError, match="there are no vectors 'price'"):
        online.similar_items(names[1], weights={"price": 1})


def test_similar_items_are_those_of_the_recommender(repo, catalog, X):
    model = ContentRecommender(catalog).fit(X)
    publish(model, repo)
    online = OnlineRecommender(repo)
    ids = list(model.model_.data.items)
    pd.testing.assert_frame_equal(
        online.similar_items(ids, k=6), model.similar_items(ids, k=6), check_dtype=False
    )
    content = model.transform(X[:3])
    wanted = model.similar_items(catalog.items.iloc[[2]], k=5)
    vector = model.item_vectors_.loc[[catalog.ids[2]]]
    found = online.similar_items(content=vector, k=5)
    assert found["item_id"].tolist() == wanted["item_id"].tolist()
    assert len(online.similar_items(content=content, k=2)) == 6


def test_a_raw_or_unreadable_upload_is_refused_in_a_line(repo, recommender):
    publish(recommender, repo)
    online = OnlineRecommender(repo)
    raw = pd.DataFrame({"image": [bytes(range(256)) * 100]})
    with pytest.raises(ValueError, match=r"catalog\.encode") as refused:
        online.similar_items(content=raw)
    assert len(str(refused.value)) < 300
    unread = Blocks({"image": np.zeros((1, 4))}, np.array([[False]]))
    with pytest.raises(ValueError, match=r"of its 1 rows.* could not be read"):
        online.similar_items(content=unread)


def test_questions_that_cannot_be_asked_are_refused(repo, recommender):
    publish(recommender, repo, vectors={"words": pd.DataFrame([[1.0, 2.0]], [4])})
    online, four = OnlineRecommender(repo), np.ones((1, 4))
    for given, error, message in (
        ({}, TypeError, "needs query"),
        ({"query": 3, "content": four}, TypeError, "not both"),
        (
            {"content": pd.DataFrame({"image": ["upload.png"]})},
            ValueError,
            "'item'.* no table of numbers.*catalog.encode",
        ),
        ({"content": {"words": [[1.0], [1.0, 2.0]]}}, ValueError, "'words'.*no table"),
        ({"query": [99]}, KeyError, "99"),
        ({"query": ["a"]}, TypeError, "item_id"),
        ({"query": 3, "k": 0}, ValueError, "k"),
        ({"query": 3, "where": "price < 3"}, ValueError, "no feature 'price'"),
        ({"query": 3, "where": 3}, TypeError, "a filter must be"),
        ({"query": 3, "weights": {"x": 1}}, ValueError, "no vectors 'x'.*item.*words"),
        ({"query": 3, "weights": {3: 1}}, ValueError, "no vectors 3"),
        ({"query": 3, "weights": {}}, ValueError, "one above 0"),
        ({"query": 3, "weights": {"item": 0}}, ValueError, "one above 0"),
        ({"query": 3, "weights": {"item": -1}}, ValueError, "0 or more"),
        ({"query": 3, "weights": {"item": np.nan}}, ValueError, "0 or more"),
        ({"query": 3, "weights": {"item": True}}, TypeError, "must be a number"),
        ({"query": 3, "weights": {"item": "1"}}, TypeError, "must be a number"),
        ({"query": 3, "weights": [1]}, TypeError, "must be a mapping"),
        (
            {"query": 3, "weights": {"words": 1}},
            KeyError,
            "no vector words of item_id 3",
        ),
        ({"content": np.ones((1, 5))}, ValueError, r"shape \(n, 4\)"),
        ({"content": np.ones((1, 1, 4))}, ValueError, r"shape \(n, dim\)"),
        ({"content": [[1, np.inf, 0, 0]]}, ValueError, "not finite in row 0"),
        ({"content": [[np.nan] * 4]}, ValueError, "no vector item in row 0"),
        ({"content": {}}, ValueError, "no vectors"),
        (
            {"content": {"item": four, "words": np.ones((2, 2))}},
            ValueError,
            "as many rows",
        ),
        (
            {"content": {"item": four}, "weights": {"words": 1}},
            ValueError,
            "content has 'item', of which",
        ),
        (
            {"content": {"item": four}, "weights": {"words": 1, "item": 0}},
            ValueError,
            "none of which has a weight",
        ),
    ):
        with pytest.raises(error, match=message):
            online.similar_items(given.pop("query", None), **given)
