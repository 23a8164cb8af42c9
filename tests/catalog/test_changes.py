"""A catalogue that grows and shrinks while others use it."""

import multiprocessing
import os
import pickle
from threading import Thread
from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmmrec import ItemCatalog
from skmmrec.catalog import Blocks


class LetterEncoder(TransformerMixin, BaseEstimator):
    """Counts letters, and remembers each text that it was shown."""

    shown: ClassVar[list[str]] = []

    def fit(self, X, y=None):
        self.n_features_in_ = 1
        return self

    def transform(self, X):
        texts = np.asarray(X, dtype=object).ravel()
        self.shown.extend(texts)
        rows = [
            [t.count("a") + 1, t.count("b")] if t == t else [np.nan] * 2 for t in texts
        ]
        return np.array(rows, dtype=np.float32)

    def get_feature_names_out(self, input_features=None):
        return np.array(["a", "b"], dtype=object)


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "item_id": ["i0", "i1", "i2"],
            "title": ["aab", "bb", "a"],
            "brand": pd.Categorical(["x", "y", "x"]),
            "price": [1, 2, 6],
        }
    )


@pytest.fixture
def more():
    return pd.DataFrame(
        {"price": [3.5], "title": ["abab"], "brand": ["y"], "item_id": ["i9"]}
    )


@pytest.fixture
def catalog(table):
    LetterEncoder.shown.clear()
    encoder = make_column_transformer(
        (LetterEncoder(), ["title"]),
        (OneHotEncoder(handle_unknown="ignore"), ["brand"]),
        (StandardScaler(), ["price"]),
    )
    return ItemCatalog(table, encoder)


def check_whole(catalog):
    """Ids, table and vectors go together."""
    assert len(catalog) == len(catalog.items) == len(catalog.blocks)
    assert catalog.ids.tolist() == catalog.items[catalog.key].tolist()
    assert catalog.ids.is_unique


def test_appended_items_are_encoded_once_by_the_encoder_as_it_is(catalog, table, more):
    before, fitted = catalog.blocks, catalog.encoder_
    assert catalog.append(more) is catalog
    check_whole(catalog)
    assert catalog.encoder_ is fitted
    assert LetterEncoder.shown == [*table.title, "abab"]
    for name, block in catalog.blocks.values.items():
        np.testing.assert_array_equal(block[:3], before.values[name])
    price = (3.5 - table.price.mean()) / table.price.std(ddof=0)
    np.testing.assert_allclose(
        catalog.blocks.values["price"][3], price, rtol=1e-6, atol=1e-6
    )
    assert catalog.items.price.tolist() == [1, 2, 6, 3.5]
    assert catalog.items.brand.tolist() == ["x", "y", "x", "y"]
    again = clone(catalog)
    assert again is catalog


def test_the_callers_table_stays_what_it_was(catalog, table, more):
    copies = table.copy(), more.copy()
    catalog.append(more).drop("i0")
    pd.testing.assert_frame_equal(table, copies[0])
    pd.testing.assert_frame_equal(more, copies[1])


def test_a_table_of_polars_is_appended(table):
    vectors = pd.DataFrame({"item_id": [1, 2], "text__0": [0.5, 1.5]})
    catalog = ItemCatalog(pl.from_pandas(vectors))
    catalog.append(pl.DataFrame({"item_id": [5], "text__0": [2.5]}))
    check_whole(catalog)
    assert catalog.blocks.values["text"].ravel().tolist() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    "column",
    [
        ["x", None, "y"],
        pd.Series(["x", None, "y"], dtype="string"),
        pd.Series(["x", None, "y"], dtype="category"),
        [1, 2, 3],
        pd.Series([1, None, 3], dtype="Int64"),
        [1.5, np.nan, 2.5],
        [True, False, True],
        pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
        [None, None, None],
        [[1, 2], None, {"a": 1}],
    ],
    ids=lambda column: str(getattr(column, "dtype", column)),
)
def test_absent_columns_are_missing_and_present_ones_whole(column):
    table = pd.DataFrame({"item_id": [3, 1, 2], "text__0": [1.0, 2.0, 3.0]})
    table["more"] = column
    catalog = ItemCatalog(table)
    one, other = table.iloc[:1].assign(item_id=7), table.iloc[:1].assign(item_id=8)
    catalog.append(one).append(other.drop(columns="more"))
    check_whole(catalog)
    known = catalog.items["more"]
    for row in range(3):
        if isinstance(table["more"][row], list | dict) or not pd.isna(
            table["more"][row]
        ):
            assert known[row] == table["more"][row]
    if not isinstance(known[3], list) and not pd.isna(known[0]):
        assert known[3] == known[0]
    assert pd.isna(known[4])


@pytest.mark.parametrize(
    "index",
    [
        ["x", "x", "y"],
        [2, 0, 2],
        pd.MultiIndex.from_tuples([("x", 1), ("y", 1), ("x", 1)]),
        pd.DatetimeIndex(["2026-01-02", "2026-01-01", "2026-01-02"]),
    ],
)
def test_the_index_of_the_table_says_nothing(index):
    items = pd.DataFrame({"item_id": [1, 2, 3], "a__0": [1.0, 2, 3], "b__0": 1.0})
    more = pd.DataFrame({"item_id": [4, 5, 6], "a__0": [4.0, 5, 6]})
    plain = ItemCatalog(items).append(more)
    catalog = ItemCatalog(items.set_axis(index)).append(more.set_axis(index))
    pd.testing.assert_frame_equal(catalog.items, plain.items)
    np.testing.assert_array_equal(catalog.blocks.mask, plain.blocks.mask)


def test_what_cannot_be_appended_changes_nothing(catalog, table, more):
    catalog.blocks  # noqa: B018 - encode
    state = {**vars(catalog)}
    empty = more.assign(title=np.nan, price=np.nan, brand="z")
    for bad, words in [
        (table.head(1), r"item 'i0' \(row 0\) is known already"),
        (pd.concat([more, more]), "'i9' in row 1 occurs in an earlier row"),
        (
            more.assign(item_id=5),
            "item_id 5 is a number, but the known ids are strings",
        ),
        (more.assign(colour="red"), "those of the catalogue are"),
        (more.drop(columns="item_id"), "no column 'item_id'"),
        (more.iloc[:0], "items is empty"),
        (empty, r"'i9' \(row 0\) has no modality"),
    ]:
        with pytest.raises(ValueError, match=words):
            catalog.append(bad)
        assert {**vars(catalog)} == state
    wrong = catalog.blocks.take(slice(2))
    with pytest.raises(ValueError, match="blocks must hold 1 items"):
        catalog.append(more, wrong)
    for ids, words in [
        ("i7", r"item_id 'i7' \(row 0\) is unknown \(1 such rows\)"),
        (["i0", "i7"], r"'i7' \(row 1\)"),
        (["i0", None], "item_id is missing .* row 1"),
        (4, "is a number"),
    ]:
        with pytest.raises(ValueError, match=words):
            catalog.drop(ids)
        assert {**vars(catalog)} == state


def test_vectors_of_some_modalities_are_enough(catalog, more):
    blocks = catalog.encode(more.drop(columns="item_id"))
    only = Blocks({"letter": blocks.values["letter"]}, blocks.mask[:, :1])
    catalog.append(more, only)
    assert catalog.blocks.modalities == blocks.modalities
    assert catalog.blocks.mask[3].tolist() == [True, False, False]
    assert not catalog.blocks.values["brand"][3].any()


def test_ids_keep_their_type():
    vectors = pd.DataFrame({"item_id": [1, 2], "text__0": [0.5, 1.5]})
    catalog = ItemCatalog(vectors)
    catalog.append(pd.DataFrame({"item_id": [3.0], "text__0": [0.5]}))
    assert catalog.ids.dtype == np.int64
    with pytest.raises(ValueError, match=r"item_id 3.5 \(row 0\) is no int64"):
        catalog.append(pd.DataFrame({"item_id": [3.5], "text__0": [0.5]}))
    assert catalog.ids.tolist() == [1, 2, 3]


def test_dropped_items_are_gone(catalog, more):
    catalog.append(more)
    blocks = catalog.blocks
    catalog.drop(["i1", "i9", "i1"])
    check_whole(catalog)
    assert catalog.ids.tolist() == ["i0", "i2"]
    for name, block in catalog.blocks.values.items():
        np.testing.assert_array_equal(block, blocks.values[name][[0, 2]])
    catalog.append(more)
    check_whole(catalog)
    assert catalog.ids.tolist() == ["i0", "i2", "i9"]


def test_what_was_never_encoded_is_dropped_before(catalog):
    catalog.drop("i1")
    check_whole(catalog)
    assert LetterEncoder.shown == ["aab", "a"]


def test_all_items_can_go_and_others_come(catalog, more):
    catalog.blocks  # noqa: B018 - encode
    catalog.drop(catalog.ids)
    check_whole(catalog)
    catalog.append(more)
    check_whole(catalog)
    assert catalog.ids.tolist() == ["i9"]


def test_a_snapshot_does_not_change(catalog, more):
    now = catalog.snapshot()
    ids, blocks = now.ids, now.blocks
    assert blocks is catalog.blocks
    catalog.append(more).drop("i0")
    check_whole(now)
    assert now.ids is ids
    assert now.blocks is blocks


@settings(max_examples=25)
@given(steps=st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 9))), max_size=8))
def test_any_changes_leave_what_is_expected(steps):
    vectors = {n: [n + 1.0, n / 2] for n in range(11)}

    def table(ids):
        rows = [[n, *vectors[n]] for n in ids]
        return pd.DataFrame(rows, columns=["item_id", "text__0", "text__1"])

    catalog, expected = ItemCatalog(table([10])), [10]
    for grows, ids in steps:
        if grows:
            new = [n for n in ids if n not in expected]
            expected += new
            if new:
                catalog.append(table(new))
        else:
            gone = [n for n in ids if n in expected]
            expected = [n for n in expected if n not in gone]
            catalog.drop(gone)
        assert catalog.ids.tolist() == expected
        assert catalog.items.item_id.tolist() == expected
        np.testing.assert_array_equal(
            catalog.blocks.values["text"], [vectors[n] for n in expected]
        )
        check_whole(pickle.loads(pickle.dumps(catalog)))


def test_threads_see_all_of_a_change_or_nothing():
    vectors = pd.DataFrame({"item_id": range(50), "text__0": np.arange(50) + 1.0})
    catalog, seen, errors = ItemCatalog(vectors), [], []

    def read():
        try:
            while not seen:
                now = catalog.snapshot()
                check_whole(now)
                expected = now.ids.to_numpy() + 1.0
                np.testing.assert_array_equal(now.blocks.values["text"][:, 0], expected)
        except BaseException as error:
            errors.append(error)

    def write(start):
        try:
            for n in range(start, start + 40):
                table = pd.DataFrame({"item_id": [n], "text__0": [n + 1.0]})
                catalog.append(table)
                catalog.drop([n - start]) if start == 1000 else None
        except BaseException as error:
            errors.append(error)

    readers = [Thread(target=read) for _ in range(2)]
    writers = [Thread(target=write, args=(start,)) for start in (1000, 2000)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    seen.append(True)
    for thread in readers:
        thread.join()
    assert not errors
    added = {*range(1000, 1040), *range(2000, 2040), *range(40, 50)}
    assert set(catalog.ids) == added
    check_whole(catalog)


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_child_does_not_wait_for_a_change_of_its_parent():
    vectors = pd.DataFrame({"item_id": [1], "text__0": [1.0]})
    catalog = ItemCatalog(vectors)
    context = multiprocessing.get_context("fork")
    result = context.SimpleQueue()

    def grow():
        catalog.append(pd.DataFrame({"item_id": [2], "text__0": [2.0]}))
        result.put(catalog.ids.tolist())

    held = Thread(target=catalog.lock.__enter__)
    held.start()
    held.join()
    child = context.Process(target=grow)
    child.start()
    child.join(60)
    alive = child.is_alive()
    child.kill()
    assert not alive
    assert result.get() == [1, 2]


def test_a_key_that_the_encoder_reads_is_content_of_appended_items():
    items = pd.DataFrame({"title": ["aab", "bb"], "price": [1.0, 2.0]})
    encoder = ColumnTransformer(
        [("words", LetterEncoder(), ["title"]), ("price", "passthrough", ["price"])]
    )
    catalog = ItemCatalog(items, encoder, key="title")
    catalog.append(pd.DataFrame({"title": ["abab"], "price": [3.0]}))
    catalog.append(pd.DataFrame({"title": ["bab"]}))
    np.testing.assert_array_equal(catalog.blocks.mask.T, [[1] * 4, [1, 1, 1, 0]])
    np.testing.assert_array_equal(catalog.blocks.values["words"][2:], [[3, 2], [2, 2]])
    alone = catalog.encode(pd.DataFrame({"title": ["abab"]}))
    np.testing.assert_array_equal(alone.values["words"], [[3, 2]])
    prices = ItemCatalog(items.rename(columns={"title": "item_id"}), key="item_id")
    with pytest.raises(ValueError, match="no content"):
        prices.encode(pd.DataFrame({"item_id": ["abab"]}))


def test_whole_floats_do_not_round_the_keys_that_are_there():
    ids = [2**60 + 1, 2**60 + 2]
    catalog = ItemCatalog(pd.DataFrame({"sku": ids, "price__0": [1.0, 2.0]}), key="sku")
    catalog.append(pd.DataFrame({"sku": [7.0], "price__0": [3.0]}))
    check_whole(catalog)
    again = ItemCatalog(catalog.items, key="sku")
    assert again.ids.tolist() == catalog.ids.tolist() == [*ids, 7]
