"""Ids as the store reads them: right, or an error that names column and row."""

import enum
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import (
    FeastFeatures,
    OnlineRecommender,
    delete_ids,
    publish,
    read_vectors,
)
from skmmrec.feature_store._batches import serving_batches
from skmmrec.feature_store._ids import places_in, refuse_missing, store_ids
from skmmrec.feature_store.backends.base import POPULARITY
from skmmrec.recommender import ServingVectors

from .conftest import make_recommender

LIMIT = 2**63
whole = st.integers(-LIMIT, LIMIT - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def as_series(dtype):
    return lambda ids: pd.Series(ids, dtype=dtype)


CONTAINERS = {
    "list": list,
    "objects": lambda ids: np.array([*ids, None], dtype=object)[:-1],
    "Series of objects": as_series(object),
    "polars": lambda ids: pl.Series(ids, dtype=pl.Int64),
    "int64": as_series("int64"),
    "Int64": as_series("Int64"),
    "pyarrow": as_series("int64[pyarrow]"),
    "category": as_series("category"),
    "Index": pd.Index,
}


@settings(max_examples=60)
@given(ids=st.lists(whole, min_size=1, max_size=6), kind=st.sampled_from([*CONTAINERS]))
def test_whole_numbers_stay_what_they_are(ids, kind):
    read = store_ids(CONTAINERS[kind](ids), "int64", "item_id")
    assert read == ids
    assert {type(value) for value in read} == {int}


@settings(max_examples=60)
@given(
    ids=st.lists(st.none() | whole, min_size=1, max_size=6),
    kind=st.sampled_from(["list", "objects", "Series of objects", "Int64", "pyarrow"]),
)
def test_missing_numbers_are_told_apart(ids, kind):
    assert store_ids(CONTAINERS[kind](ids), "int64", "item_id") == ids


@settings(max_examples=60)
@given(ids=st.lists(st.none() | texts, min_size=1, max_size=6))
@pytest.mark.parametrize("dtype", [object, "string", "string[pyarrow]", "category"])
def test_texts_stay_what_they_are(ids, dtype):
    assert store_ids(pd.Series(ids, dtype=dtype), "string", "user_id") == ids
    assert store_ids(ids, "string", "user_id") == ids


@settings(max_examples=100)
@given(number=st.floats(), dtype=st.sampled_from(["float16", "float32", "float64"]))
def test_a_float_is_the_id_that_it_holds_or_an_error(number, dtype):
    with np.errstate(over="ignore"):
        number = np.array([1.0, number]).astype(dtype)[1]
    column = np.array([1.0, number], dtype=dtype)
    exact = {"float16": 2**11, "float32": 2**24, "float64": 2**53}[dtype]
    for values in (column, pd.Series(column), [1.0, column[1]]):
        if np.isnan(number):
            assert store_ids(values, "int64", "item_id") == [1, None]
        elif np.isfinite(number) and number == int(number) and abs(number) < exact:
            assert store_ids(values, "int64", "item_id") == [1, int(number)]
        else:
            with pytest.raises(ValueError, match=r"item_id .*in row 1"):
                store_ids(values, "int64", "item_id")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3.5, "item_id is 3.5 in row 1, but ids are whole numbers"),
        (float("inf"), "item_id is infinite in row 1"),
        (Decimal("3.5"), "item_id is 3.5 in row 1"),
        (Fraction(7, 2), "item_id is 7/2 in row 1"),
        (2**63, "item_id in row 1 does not fit into 64 bits"),
        (-(2**63) - 1, "item_id in row 1 does not fit into 64 bits"),
        (2.0**60, "a float of 8 bytes, which cannot tell such ids apart"),
        ("3", "item_id is of type int64 in this store.*got str in row 1: '3'"),
        (b"3", "got bytes in row 1"),
        (pd.Timestamp("2026-01-01"), "got Timestamp in row 1"),
        ([3], "got list in row 1"),
        (3 + 0j, "got complex in row 1"),
    ],
)
def test_what_is_no_number_is_named_by_its_row(value, words):
    with pytest.raises(ValueError, match=words):
        store_ids([1, value], "int64", "item_id")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "user_id is of type string in this store.*got int in row 1: 3"),
        (3.0, "got float in row 1"),
        (b"a", "got bytes in row 1"),
        ("\ud800", "user_id in row 1 cannot be encoded in UTF-8"),
    ],
)
def test_what_is_no_text_is_named_by_its_row(value, words):
    with pytest.raises(ValueError, match=words):
        store_ids(["a", value], "string", "user_id")


def test_numbers_of_other_types_are_whole_numbers():
    values = [Decimal(3), Fraction(4), np.int8(5), np.uint64(6), True, np.float32(7)]
    assert store_ids(values, "int64", "item_id") == [3, 4, 5, 6, 1, 7]
    for dtype in ("uint8", "int32", "uint32", "uint64", "bool", "Float64", "boolean"):
        assert store_ids(pd.Series([1, 0], dtype=dtype), "int64", "item_id") == [1, 0]
    assert store_ids([], "int64", "item_id") == []


def test_missing_ids_are_refused_by_their_row():
    for absent in (None, np.nan, pd.NA, pd.NaT):
        with pytest.raises(ValueError, match=r"user_id is missing .* row 2 \(1 such"):
            refuse_missing(
                store_ids(["a", "b", absent], "string", "user_id"), "user_id"
            )
    assert refuse_missing([1, 2], "item_id") == [1, 2]


def test_texts_among_missing_values_of_a_list_stay_missing():
    features = FeastFeatures("nowhere", ["item_embeddings:item_vector"])
    features.id_types_, features.join_keys_ = {"item_id": "string"}, ["item_id"]
    features.request_columns_ = []
    ids = features._rows([["a"], [np.nan], [None]])["item_id"]
    assert ids[0] == "a"
    assert not {"nan", "None"} & set(ids)
    with pytest.raises(ValueError, match="got int in row 1"):
        features._rows([["a"], [1]])


def _bad_publications():
    bad = {"user_id": lambda i: f"\ud800{i}", "item_id": lambda i: f"{i}\udfff"}
    for name, make in bad.items():
        yield name, make_recommender(**{"item_id": str, name: make})
    yield "the model version", make_recommender(version="v\ud800")
    seen = make_recommender(item_id=str)
    seen.vectors.seen.iloc[3] = ["\ud800"]
    yield "seen: item_id", seen


@pytest.mark.parametrize(("name", "recommender"), list(_bad_publications()))
def test_half_a_character_is_refused_before_anything_is_written(
    repo, name, recommender
):
    # Of ids, those that pandas takes for one are told first.
    is_told = rf"{name} '.*\\ud.*' cannot be encoded in U|{name}.*\\ud"
    with pytest.raises(ValueError, match=is_told):
        publish(recommender, repo)
    assert not (repo / "data").exists()


def test_half_a_character_is_refused_in_requests(repo):
    publish(make_recommender(item_id=str), repo)
    online, half = OnlineRecommender(repo), "\ud800"
    for name, ask in {
        "user_id in row 0": lambda: online.recommend(half),
        "item_id in row 1": lambda: online.recommend("101", items=["1", half]),
        "user_id in row 0 ": lambda: online.record(half, "1"),
        "item_id in row 0": lambda: online.record("101", half),
        "item_id in row 0 ": lambda: online.add_items([half], [[1.0, 2.0, 3.0, 4.0]]),
        "item_id in row 1 ": lambda: online.similar_items(["1", half]),
        "categories: the cat": lambda: publish(
            make_recommender(item_id=str), repo, categories={"1": half}
        ),
    }.items():
        with pytest.raises(ValueError, match=name) as error:
            ask()
        assert not isinstance(error.value, UnicodeError)
    assert len(online.feedback()) == 0


Shop = enum.Enum("Shop", {"ANN": "100", "LAMP": "7", "RED": "red"}, type=str)


def test_members_of_an_enum_are_the_texts_that_they_are(repo):
    """And not their names, which nobody has published."""
    recommender = make_recommender(item_id=str)
    recommender.vectors.seen.iloc[0] = [Shop.LAMP]
    features = pd.DataFrame({"colour": [Shop.RED, "blue"]}, ["7", "8"])
    publish(recommender, repo, categories={Shop.LAMP: Shop.RED}, features=features)
    online = OnlineRecommender(repo)
    assert "7" not in online.recommend(Shop.ANN, k=99)["item_id"].tolist()
    for wanted in ("red", Shop.RED):
        table = online.recommend("101", category=wanted, exclude_seen=False)
        assert table["item_id"].tolist() == ["7"]
    table = online.recommend("101", where="colour == 'red'", exclude_seen=False)
    assert table["item_id"].tolist() == ["7"]
    assert read_vectors(repo, "item", [Shop.LAMP])[1].all()
    online.record(Shop.ANN, Shop.LAMP)
    [event] = online.feedback()[["user_id", "item_id"]].to_numpy().tolist()
    assert event == ["100", "7"]
    delete_ids(repo, users=[Shop.ANN])
    assert not read_vectors(repo, "user", ["100"])[1].any()


@pytest.mark.parametrize("kind", [int, str])
def test_places_are_those_of_a_search_one_by_one(kind):
    rng = np.random.default_rng(0)
    ids = [kind(n) for n in rng.permutation(np.arange(0, 60, 2))]
    lists = [[kind(n) for n in rng.integers(0, 60, n)] for n in (3, 0, 50, 1)]
    places, lengths = places_in(lists, ids)
    assert lengths.tolist() == [3, 0, 50, 1]
    flat = [item for each in lists for item in each]
    assert places.tolist() == [ids.index(i) if i in ids else -1 for i in flat]
    assert places_in([], ids)[0].tolist() == []
    assert places_in([[], []], ids)[1].tolist() == [0, 0]


@pytest.mark.parametrize("kind", [int, str])
def test_an_item_is_as_popular_as_users_have_met_it(kind):
    rng = np.random.default_rng(1)
    items = sorted(kind(n) for n in range(12))
    seen = [[kind(n) for n in rng.integers(0, 20, size)] for size in (9, 0, 30, 5)]
    vectors = ServingVectors(
        pd.DataFrame(rng.normal(size=(4, 3)), index=range(4)),
        pd.DataFrame(rng.normal(size=(12, 3)), index=items),
        pd.Series(seen, index=range(4)),
        "v1",
    )
    _, batch = serving_batches(vectors)
    counts = {c.name: c.values for c in batch.columns}[POPULARITY]
    expected = [sum(item in met for met in seen) for item in batch.ids]
    assert (batch.ids, counts) == (items, expected)
