"""What is no table of interactions, and no list of ids, is refused with advice."""

import enum
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.sparse import coo_array, csr_matrix, dok_array
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.interactions import (
    as_list,
    check_ids,
    check_times,
    read_answers,
    read_weights,
)
from skmmrec.metrics import evaluate_ranking
from skmmrec.model_selection import LeaveLastOut, RandomHoldoutPerUser, TimeSplit
from skmmrec.recommender import EASERecommender, ItemKNNRecommender, Training

TABLE = pd.DataFrame(
    {"user_id": np.repeat([3, 4, 5], 3), "item_id": list("abcabdbcd"), "timestamp": 0}
).assign(timestamp=range(9))
MATRIX = coo_array((np.ones(9), (TABLE.user_id, pd.factorize(TABLE.item_id)[0])))


class Named:
    """A table of a library of its own, which NumPy reads without its names."""

    columns = "item_id", "user_id", "timestamp"

    def __array__(self, dtype=None, copy=None):
        return TABLE[[*self.columns]].to_numpy(dtype)

    def __len__(self):
        return len(TABLE)


class Lazy(Named):
    """One of Dask's kind."""

    def compute(self):
        return TABLE


# -- tables ---------------------------------------------------------------------------

NO_TABLES = {
    "coo": (MATRIX, r"a sparse matrix of shape \(6, 4\), .* y=pairs.data"),
    "csr": (csr_matrix(MATRIX), "a sparse matrix"),
    "dok": (dok_array(MATRIX), "a sparse matrix"),
    "dict": (TABLE.to_dict("list"), "got dict: give pandas.DataFrame of it"),
    "dicts": (TABLE.to_dict("records"), "got list: give pandas.DataFrame of it"),
    "records": (TABLE.to_records(index=False), "give pandas.DataFrame of it"),
    "lazy": (pl.from_pandas(TABLE).lazy(), r"got LazyFrame: give what its collect\(\)"),
    "reader": (pa.Table.from_pandas(TABLE).to_reader(), r"its read_all\(\) returns"),
    "spark": (type("Lazy", (), {"toPandas": None})(), r"its toPandas\(\) returns"),
    "stream": (iter(TABLE.to_numpy().tolist()), r"give pandas.DataFrame\(list"),
    "names": (Named(), "got Named: give a DataFrame of pandas"),
    "dask": (Lazy(), r"got Lazy: give what its compute\(\) returns"),
    "path": ("events.csv", "by pandas.read_csv"),
    "number": (3, "got int: give a table"),
}
READERS = {
    "fit": ItemKNNRecommender().fit,
    "score": ItemKNNRecommender().fit(TABLE).score,
    "by time": lambda X: next(TimeSplit().split(X)),
    "by user": lambda X: next(LeaveLastOut().split(X)),
    "at random": lambda X: next(RandomHoldoutPerUser().split(X)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", NO_TABLES)
def test_what_is_no_table_is_refused_with_advice(name, reader):
    given, message = NO_TABLES[name]
    with pytest.raises(TypeError, match=f"X .*{message}"):
        READERS[reader](given)


def test_sparse_content_is_refused_with_the_option_that_keeps_it_dense():
    table = TABLE.assign(item_id=pd.factorize(TABLE.item_id)[0], word=list("abcabdbcd"))
    parts = [
        ("ids", "passthrough", ["user_id", "item_id"]),
        ("words", OneHotEncoder(), ["word"]),
    ]
    rec = MultimodalFusionRecommender(training=Training(max_epochs=1), random_state=0)
    model = make_pipeline(ColumnTransformer(parts, sparse_threshold=1), rec)
    with pytest.raises(TypeError, match=r"ColumnTransformer .* sparse_threshold=0"):
        model.fit(table)
    model.set_params(columntransformer__sparse_threshold=0).fit(table)


@pytest.mark.parametrize("reader", READERS)
def test_a_relation_of_duckdb_is_refused_with_advice(reader):
    duckdb = pytest.importorskip("duckdb")  # which comes with Feast
    relation = duckdb.from_arrow(pa.Table.from_pandas(TABLE))
    with pytest.raises(TypeError, match=r"got DuckDBPyRelation: give .* fetchdf\(\)"):
        READERS[reader](relation)


@pytest.mark.filterwarnings("ignore:.* relevant rows were seen in fit")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("names", [["user_id", "item_id"], ["item_id"], ["timestamp"]])
def test_ids_and_times_in_the_index_are_refused_with_advice(names, reader):
    table = TABLE.set_index(names)
    unread = {"by time": {"user_id", "item_id"}, "at random": {"item_id", "timestamp"}}
    if not set(names) <= unread.get(reader, set()):
        with pytest.raises(ValueError, match=f"{names[0]}.*in its index.*reset_index"):
            READERS[reader](table)
    READERS[reader](table.reset_index()[TABLE.columns])
    READERS[reader](TABLE.set_index(names, drop=False))


@pytest.mark.parametrize("names", [["user_id"], ["item_id", "user_id"], ["timestamp"]])
@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatch])
def test_a_table_of_arrow_has_the_columns_that_were_an_index(names, kind):
    table = kind.from_pandas(TABLE.set_index(names))
    assert table.schema.names[-1] == names[-1]
    rec = ItemKNNRecommender()
    expected = rec.fit(TABLE).recommend(k=2)
    pd.testing.assert_frame_equal(rec.fit(table).recommend(k=2), expected)
    rows = kind.from_pandas(TABLE.set_axis(range(3, 12)))  # an index without a name
    pd.testing.assert_frame_equal(rec.fit(rows).recommend(k=2), expected)


def test_types_that_pandas_cannot_read_again_are_read_by_their_values():
    words = pd.arrays.ArrowExtensionArray(
        pa.chunked_array([pa.array(list(TABLE.item_id)).dictionary_encode()])
    )
    table = pa.Table.from_pandas(TABLE.assign(item_id=words))
    with pytest.raises((TypeError, ValueError)):
        table.to_pandas()
    rec = ItemKNNRecommender()
    expected = rec.fit(TABLE).recommend(k=2)
    pd.testing.assert_frame_equal(rec.fit(table).recommend(k=2), expected)


@pytest.mark.parametrize("reader", READERS)
def test_names_of_several_levels_are_refused(reader):
    levels = pd.MultiIndex.from_product([TABLE.columns, ["first"]])
    with pytest.raises(ValueError, match=r"X has names of columns in 2 levels, .*axis"):
        READERS[reader](TABLE.set_axis(levels, axis=1))
    one_level = pd.MultiIndex.from_arrays([TABLE.columns])
    with pytest.raises(ValueError, match=r"X has names of columns in 1 level, .*axis"):
        READERS[reader](TABLE.set_axis(one_level, axis=1))
    with pytest.raises(ValueError, match=r"items has names of columns in 2 levels"):
        ItemCatalog(TABLE.set_axis(levels, axis=1), key=("item_id", "first"))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["user_id", "item_id", "timestamp"])
@pytest.mark.parametrize("kind", [pd.DataFrame, pa.Table])
def test_two_columns_of_one_name_are_refused(reader, name, kind):
    """None of them counts more than the other."""
    table = pd.concat([TABLE, TABLE[[name]][::-1].reset_index(drop=True)], axis=1)
    if kind is pa.Table:
        columns = [pa.array(table.iloc[:, n]) for n in range(table.shape[1])]
        table = pa.Table.from_arrays(columns, names=list(table.columns))
    with pytest.raises(ValueError, match=f"X has several columns named '{name}'"):
        READERS[reader](table)


@pytest.mark.filterwarnings("ignore:.* relevant rows were seen in fit")
@pytest.mark.filterwarnings("ignore:LeaveLastOut. . of . test rows repeat")
@pytest.mark.parametrize("reader", READERS)
def test_tensors_are_read_as_arrays(reader):
    pairs = TABLE.assign(item_id=pd.factorize(TABLE.item_id)[0]).to_numpy()[:, :2]
    if reader == "score":
        model = ItemKNNRecommender().fit(pairs)
        assert model.score(torch.tensor(pairs)) == model.score(pairs)
        return
    found, expected = READERS[reader](torch.tensor(pairs)), READERS[reader](pairs)
    if reader == "fit":
        assert found.recommend(k=2).equals(expected.recommend(k=2))
    elif reader != "at random":
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", [list, tuple])
def test_a_row_of_another_length_is_named(reader, kind):
    rows = kind([[3, 4], [5, 6], [7], [8, 9, 10]])
    with pytest.raises(ValueError, match="X has 2 values in row 0 and 1 in row 2: all"):
        READERS[reader](rows)


def test_an_index_may_have_a_name_of_its_own():
    rec = EASERecommender(user_key="customer")
    table = TABLE.rename(columns={"user_id": "customer"})
    expected = rec.fit(table).recommend(k=1)
    named = table.rename_axis("row")
    pd.testing.assert_frame_equal(rec.fit(named).recommend(k=1), expected)
    with pytest.raises(ValueError, match=r"'customer' in its index"):
        rec.fit(table.set_index("customer"))


def test_what_the_advice_makes_of_a_matrix_is_read():
    pairs = csr_matrix(MATRIX).tocoo()
    X, y = np.column_stack([pairs.row, pairs.col]), pairs.data
    rec = ItemKNNRecommender().fit(X, y)
    expected = ItemKNNRecommender().fit(TABLE.drop(columns="timestamp"))
    assert rec.user_index_.tolist() == expected.user_index_.tolist()
    np.testing.assert_allclose(
        rec.recommend(k=1).score, expected.recommend(k=1).score, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("name", ["dict", "lazy", "reader", "spark", "names", "dask"])
def test_it_is_said_for_tables_of_items_and_of_what_is_relevant(name):
    given, message = NO_TABLES[name]
    with pytest.raises(TypeError, match=f"items must be a DataFrame, .*{message}"):
        ItemCatalog(given)
    with pytest.raises(TypeError, match=f"relevant must be .*{message}"):
        evaluate_ranking(TABLE, given)


# -- lists of ids ---------------------------------------------------------------------

IDS = [3, 5, 4]


@pytest.mark.parametrize(
    "kind",
    [
        list, tuple, np.array, pd.Series, pd.Index, pl.Series, pa.array, torch.tensor,
        lambda ids: torch.tensor(ids, dtype=torch.float64, requires_grad=True),
        lambda ids: np.array(ids, ">i2")[::-1][::-1],
    ],
)  # fmt: skip
def test_columns_of_all_libraries_are_lists(kind):
    assert check_ids(as_list(kind(IDS), "users"), "users").tolist() == IDS


@pytest.mark.parametrize(
    "single", [4, np.int8(4), np.array(4), torch.tensor(4), 4.0, pd.Series([4]).iloc[0]]
)
def test_a_single_id_is_a_list_of_one(single):
    assert check_ids(as_list(single, "users"), "users").tolist() == [4]


@pytest.mark.parametrize(
    "ids",
    [{3, 4}, frozenset([3]), {3: "a"}, {3: "a"}.keys(), iter([3]), map(int, "3")],
    ids=["set", "frozenset", "dict", "keys", "iterator", "map"],
)
def test_what_has_no_order_or_can_be_read_once_is_refused(ids):
    rec = ItemKNNRecommender().fit(TABLE)
    message = f"must be a list or a column of ids, got {type(ids).__name__}"
    with pytest.raises(TypeError, match=f"users {message}"):
        rec.recommend(ids)
    with pytest.raises(TypeError, match=f"items {message}"):
        rec.recommend(items=ids)
    with pytest.raises(TypeError, match=f"users {message}"):
        rec.forget(ids)


@pytest.mark.parametrize(
    "kind",
    [
        list, np.array, pd.Series, pl.Series, torch.tensor,
        lambda mask: pd.array(mask, "boolean"),
        lambda mask: pd.Series(pa.array(mask), dtype=pd.ArrowDtype(pa.bool_())),
    ],
)  # fmt: skip
def test_a_mask_is_no_list_of_ids(kind):
    """With ids that are numbers, it would be the items 0 and 1."""
    rec = ItemKNNRecommender().fit(TABLE.assign(item_id=[0, 1, 2, 0, 1, 3, 1, 2, 3]))
    with pytest.raises(ValueError, match="items is a mask of True and False"):
        rec.recommend([3], items=kind([True, False, True, True]))


def with_bytes_swapped(frame):
    """Numbers as in a file of FITS, IDX or HDF5 that a big-endian machine wrote."""
    return frame.assign(
        **{
            name: column.to_numpy().astype(column.dtype.newbyteorder(">"))
            for name, column in frame.items()
            if column.dtype.kind in "iuf"
        }
    )


def test_numbers_may_have_their_bytes_in_any_order():
    """pandas has such columns, and takes no rows of them."""
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame(rng.normal(size=(4, 3)).astype(np.float32))
    items = numbers.add_prefix("text__").assign(item_id=[7, 8, 9, 10])
    X = TABLE.assign(item_id=TABLE.item_id.map("abcd".index) + 7)
    swapped = with_bytes_swapped(items), with_bytes_swapped(X)
    models = [
        MultimodalFusionRecommender(ItemCatalog(content), n_factors=4, random_state=0)
        .set_params(training__max_epochs=1)
        .fit(rows)
        for content, rows in ((items, X), swapped)
    ]
    lists = [rec.recommend(k=2) for rec in models]
    pd.testing.assert_frame_equal(*lists)
    scores = [
        evaluate_ranking(lists[0], rows, ["hit_rate@1"]).per_user
        for rows in (X, swapped[1])
    ]
    pd.testing.assert_frame_equal(*scores)
    assert not swapped[0].dtypes["text__0"].isnative
    assert check_times(np.arange(3, dtype=">i2"), "time").dtype.isnative


Colour = enum.Enum("Colour", {"RED": "red", "BLUE": "blue"}, type=str)


@pytest.mark.parametrize("kind", [Colour, np.str_])
def test_kinds_of_str_are_plain_texts(kind):
    """Written to a file, a member of an enum would be another text."""
    ids = check_ids([kind("red"), "blue", kind("blue")], "item_id")
    assert ids.tolist() == ["red", "blue", "blue"]
    assert set(map(type, ids)) == {str}


# -- answers and weights --------------------------------------------------------------


@pytest.mark.parametrize(
    "to_y", [torch.Tensor.tolist, torch.Tensor.requires_grad_, torch.Tensor.bfloat16]
)
def test_tensors_are_answers(to_y):
    y = to_y(torch.tensor([0.5, 1.0, 0.0]))
    assert read_answers(y, range(3)).tolist() == [[0.5], [1.0], [0.0]]


@pytest.mark.parametrize("y", [[[1.0], 2.0], iter([1.0]), {"a": 1}, np.ones((2, 2, 2))])
def test_what_is_no_column_of_answers_is_named(y):
    with pytest.raises((TypeError, ValueError), match=r"^y: "):
        read_answers(y, range(2))


@settings(max_examples=60)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_signs_survive_in_float32_or_the_largest_is_named(numbers):
    """Above 0 is liked, in float32 as well; what cannot be held is refused."""
    largest = int(np.argmax(np.abs(numbers)))
    if numbers[largest] and not 1e-30 <= abs(numbers[largest]) <= 1e30:
        named = re.escape(f"y in row {largest} is {numbers[largest]:g}, the largest")
        with pytest.raises(ValueError, match=named):
            read_answers(numbers, numbers)
        return
    found = read_answers(numbers, numbers)[:, 0]
    single = found.astype(np.float32)
    assert np.isfinite(single).all()
    assert np.sign(single).tolist() == np.sign(numbers).tolist()
    np.testing.assert_allclose(found, numbers, rtol=0, atol=1e-30)


def test_each_task_has_a_scale_of_its_own():
    y = np.array([[1.0, 1e-40], [np.nan, 2e25], [0.0, 1.0]])
    np.testing.assert_array_equal(
        read_answers(y, y), [[1.0, 1e-30], [np.nan, 2e25], [0.0, 1.0]]
    )
    y[1, 1] = 1e31
    with pytest.raises(ValueError, match=r"y in row 1 of column 1 is 1e\+31"):
        read_answers(y, y)


def test_weights_may_fade_beside_the_largest_alone():
    faded = np.exp(-20.0 * np.arange(30))
    assert (read_weights(faded, faded) > 0).all()
    for scale in (1e-10, 1e-300, 1e31):
        with pytest.raises(
            ValueError, match=r"sample_weight in row 0 is .*, the largest"
        ):
            read_weights(scale * faded, faded)
