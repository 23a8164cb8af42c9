"""Ids of every type: what is equal stays equal, and what differs stays apart."""

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.interactions import (
    as_list,
    check_count,
    check_ids,
    check_same_kind,
    id_table,
    is_integer,
    nearest_count,
)
from skmmrec.recommender import PopularityRecommender
from tests.strings import OF_PANDAS_3

TEXTS = ["1shop", "", "7", "ß"]
NUMBERS = [3, -2, 0, 2**53 + 1]


RECORDS = np.array([(1, 2)], dtype=[("a", int), ("b", int)])


def chunks_of(values):
    """A chunked array of dictionaries that differ."""
    parts = [pa.array(values[:1]), pa.array(values[1:])]
    return pa.chunked_array([part.dictionary_encode() for part in parts])


def as_pandas(array):
    return pd.Series(pd.arrays.ArrowExtensionArray(array))


COLUMNS_OF_TEXT = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "numpy": np.array(TEXTS),
    "numpy objects": np.array(TEXTS, dtype=object),
    "numpy strings": np.array(TEXTS, dtype=np.dtypes.StringDType()),
    "object": pd.Series(TEXTS, dtype=object),
    "string": pd.Series(TEXTS, dtype="string"),
    "string of pyarrow": pd.Series(TEXTS, dtype="string[pyarrow]"),
    "string of pandas 3": pd.Series(TEXTS, dtype=OF_PANDAS_3),
    "string of Arrow": pd.Series(TEXTS, dtype=pd.ArrowDtype(pa.string())),
    "large string": pd.Series(TEXTS, dtype=pd.ArrowDtype(pa.large_string())),
    "category": pd.Series(TEXTS, dtype="category"),
    "category of string": pd.Series(TEXTS, dtype="string").astype("category"),
    "index": pd.Index(TEXTS),
    "categories": pd.CategoricalIndex(TEXTS),
    "dictionary": as_pandas(chunks_of(TEXTS)),
    "Arrow": pa.array(TEXTS),
    "Arrow chunks": chunks_of(TEXTS),
    "Arrow view": pa.array(TEXTS, pa.string_view()),
    "Arrow runs": pc.run_end_encode(pa.array(TEXTS)),
    "polars": pl.Series(TEXTS),
    "polars objects": pl.Series(TEXTS, dtype=pl.Object),
    "polars category": pl.Series(TEXTS, dtype=pl.Categorical),
    "polars enum": pl.Series(TEXTS, dtype=pl.Enum(TEXTS)),
}


@pytest.mark.parametrize("kind", COLUMNS_OF_TEXT)
def test_texts(kind):
    ids = check_ids(COLUMNS_OF_TEXT[kind], "sku")
    assert ids.dtype == object
    assert ids.tolist() == TEXTS


COLUMNS_OF_INTEGERS = {
    "list": NUMBERS,
    "range": range(4),
    "numpy": np.array(NUMBERS),
    "int8": np.array([3, -2], np.int8),
    "uint64": np.array([3, 2**63 - 1], np.uint64),
    "numpy objects": np.array([np.int64(3), 2**53 + 1], dtype=object),
    "objects beside whole floats": pd.Series([2**53 + 1, 3.0], dtype=object),
    "bool": np.array([True, False]),
    "boolean": pd.Series([True, False], dtype="boolean"),
    "Int64": pd.Series(NUMBERS, dtype="Int64"),
    "UInt64": pd.Series([2**63 - 1, 1], dtype="UInt64"),
    "int64 of Arrow": pd.Series(NUMBERS, dtype="int64[pyarrow]"),
    "category": pd.Series(NUMBERS, dtype="category"),
    "category of Int64": pd.Series(NUMBERS, dtype="Int64").astype("category"),
    "sparse": pd.Series([3, 0], dtype="Sparse[int64]"),
    "dictionary": as_pandas(chunks_of(NUMBERS)),
    "whole floats": np.array([3.0, -2.0, -0.0, 2.0**53 - 1]),
    "whole halves": np.array([3, 2047], np.float16),
    "whole singles": np.array([3, 2**24 - 1], np.float32),
    "Float64": pd.Series([3.0, -2.0], dtype="Float64"),
    "double of Arrow": pd.Series([3.0, -2.0], dtype="double[pyarrow]"),
    "decimals": [Decimal(2**53 + 1), Decimal("3.0")],
    "decimals of Arrow": pa.array([Decimal(2**53 + 1), Decimal(3)]),
    "decimals of polars": pl.Series([Decimal(2**53 + 1), Decimal(3)]),
    "decimals and integers": [Decimal(4), 2**53 + 1],
    "polars": pl.Series(NUMBERS),
    "polars of 128 bits": pl.Series(NUMBERS, dtype=pl.Int128),
    "polars objects": pl.Series(NUMBERS, dtype=pl.Object),
    "Arrow": pa.array(NUMBERS),
    "Arrow chunks": chunks_of(NUMBERS),
}


@pytest.mark.parametrize("kind", COLUMNS_OF_INTEGERS)
def test_whole_numbers(kind):
    column = COLUMNS_OF_INTEGERS[kind]
    values = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    ids = check_ids(column, "sku")
    assert ids.dtype == np.int64
    assert ids.tolist() == [int(value) for value in values]


def test_numbers_with_a_fraction_stay_numbers():
    for column in ([1, 3.5], np.array([1, 3.5], np.float32), [Decimal("3.5"), 1]):
        ids = check_ids(column, "sku")
        assert ids.dtype == np.float64
        assert set(ids.tolist()) == {1.0, 3.5}


ROUNDED = {
    "float64": [0.0, 2.0**53],
    "float64, negative": [0.0, -(2.0**53)],
    "float32": np.array([0, 2**24], np.float32),
    "float16": np.array([0, 2**11], np.float16),
    "Float64": pd.Series([0, 2.0**53], dtype="Float64"),
    "Float32": pd.Series([0, 2.0**24], dtype="Float32"),
    "double of Arrow": pd.Series([0, 2.0**53], dtype="double[pyarrow]"),
    "float of Arrow": pa.array([0, 2.0**24], pa.float32()),
    "polars": pl.Series([0.0, 2.0**53]),
    "polars, single": pl.Series([0, 2.0**24], dtype=pl.Float32),
    "category": pd.Series([0, 2.0**53], dtype="category"),
    "dictionary": as_pandas(chunks_of([0.0, 2.0**53])),
    "objects": np.array([1, np.float32(2**24)], dtype=object),
    "integer beside a fraction": [0.5, 2**53 + 1],
    "decimal": [Decimal(1), Decimal("0.1")],
    "decimal of many digits": [Decimal(1), Decimal("12345678901234567.5")],
    "decimal of Arrow": pa.array([Decimal("1.0"), Decimal("0.1")]),
}


@pytest.mark.parametrize("kind", ROUNDED)
def test_what_may_have_been_rounded_is_refused(kind):
    with pytest.raises(ValueError, match=r"sku in row 1 .*as integers or as strings"):
        check_ids(ROUNDED[kind], "sku")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1.0, np.inf], "sku contains infinity in row 1"),
        ([1, Decimal("-Infinity")], "sku contains infinity in row 1"),
        ([1, 2**63], "sku in row 1 does not fit into 64 bits"),
        ([1, -(2**63) - 1], "sku in row 1 does not fit into 64 bits"),
        ([1, Decimal("1E+9999999")], "sku in row 1 does not fit into 64 bits"),
        (np.array([1, 2**63], np.uint64), "sku in row 1 does not fit into 64 bits"),
        (pl.Series([1, 2**63], dtype=pl.UInt64), "sku in row 1 does not fit"),
        (["a", 1], r"sku mixes types \(str in row 0, int in row 1\)"),
        ([np.int64(1), np.str_("a")], r"sku mixes types \(int in row 0, str in row 1"),
        ([True, 2], r"sku mixes types \(bool in row 0, int in row 1\)"),
        (["a", None], r"sku is missing .* in row 1 \(1 such rows\)"),
        (pa.array(["a", None]).dictionary_encode(), "sku is missing .* in row 1"),
        (pd.Series(["a", None], dtype="category"), "sku is missing .* in row 1"),
        (pd.Series([1, None], dtype="Int64"), "sku is missing .* in row 1"),
        (pd.Series([1, None], dtype="int64[pyarrow]"), "sku is missing .* in row 1"),
        (pl.Series([1, None]), "sku is missing .* in row 1"),
        (np.ma.array([1, 2], mask=[False, True]), "sku is missing .* in row 1"),
        ([1, Decimal("NaN")], "sku is missing .* in row 1"),
        (np.ones((2, 2)), "sku must be one column"),
        (RECORDS, "sku must be one column, got .*'a'"),
        (pl.Series([1, "a"], dtype=pl.Object), "sku mixes types"),
        (pl.Series([1, 2**70], dtype=pl.Int128), "sku in row 1 does not fit"),
        ("ann", "sku must be a column or a list, got 'ann'"),
        ({1, 2}, "sku must be a column or a list"),
    ],
)
def test_what_is_no_id_names_column_and_row(ids, message):
    with pytest.raises(ValueError, match=message):
        check_ids(ids, "sku")


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        ([b"a"], "bytes"),
        (np.array([b"a"]), "bytes_"),
        (pa.array([b"a"]), "bytes"),
        ([1j], "complex"),
        (np.array([1j]), "complex128"),
        ([(1, 2), (3, 4)], "tuple"),
        (pd.MultiIndex.from_tuples([(1, 2)]), "tuple"),
        (pa.array([[1]]), "list"),
        ([pd.Timestamp(2024, 1, 1)], "Timestamp"),
        (pd.date_range("2024", periods=2), "datetime64"),
        (pd.to_timedelta([1, 2], unit="D"), "timedelta64"),
        ([np.timedelta64(1, "D")], "timedelta64"),
        (pd.date_range("2024", periods=2, tz="UTC"), "datetime64"),
        (pa.array([pd.Timestamp(2024, 1, 1)]), "datetime64"),
        (pd.period_range("2024", periods=2), "Period"),
        (pd.interval_range(0, 2), "Interval"),
    ],
)
def test_what_is_neither_number_nor_text(ids, kind):
    with pytest.raises(TypeError, match=rf"sku argument .* got {kind} in row 0"):
        check_ids(ids, "sku")


def test_nothing_is_a_column_too():
    for empty in ([], np.array([]), pl.Series([], dtype=pl.String), pa.array([])):
        assert len(check_ids(empty, "sku")) == 0
    assert as_list(b"a") == [b"a"]


def test_kinds_that_would_round_each_other_are_refused():
    large = pd.Index([1, 2**53 + 1])
    with pytest.raises(
        ValueError, match=r"sku has ids with a fraction beside 90071992"
    ):
        check_same_kind(np.array([0.5]), large, "sku")
    with pytest.raises(
        ValueError, match="sku has ids with a fraction beside -90071992"
    ):
        check_same_kind(np.array([-(2**53) - 1]), pd.Index([0.5]), "sku")
    check_same_kind(np.array([0.5]), pd.Index([1, 2]), "sku")
    check_same_kind(np.array([2**60]), large, "sku")


def test_a_table_has_its_ids_checked():
    table = pl.DataFrame({"user_id": [1.0], "item_id": ["a"], "score": [0.5]})
    frame = id_table(table, "log")
    assert frame.user_id.dtype == np.int64
    with pytest.raises(ValueError, match=r"log\['user_id'\] in row 0"):
        id_table(pd.DataFrame({"user_id": [2.0**53]}), "log")
    with pytest.raises(TypeError, match="log must be a DataFrame, got list"):
        id_table([1], "log")


# -- any type, any size --------------------------------------------------------------

INTEGERS = st.one_of(
    st.integers(-5, 5),
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**k + d for k in (11, 24, 53, 62, 63, 64) for d in (-1, 0, 1)]),
)
FLOATS = st.one_of(st.floats(), INTEGERS.map(float))
NUMPY = [*np.typecodes["AllInteger"], "e", "f", "d", "g"]
EXTENSIONS = [
    "Int64",
    "UInt64",
    "Float32",
    "Float64",
    "int64[pyarrow]",
    "double[pyarrow]",
]


def to_numpy(kind):
    def convert(values):
        return np.array(values, dtype=kind)

    return convert


def to_dictionary(values):
    return pa.array(values).dictionary_encode()


CONVERSIONS = [
    list,
    lambda values: np.array(values, dtype=object),
    lambda values: pd.Series(values, dtype="category"),
    pl.Series,
    to_dictionary,
    *[to_numpy(kind) for kind in NUMPY],
    *[lambda values, kind=kind: pd.Series(values, dtype=kind) for kind in EXTENSIONS],
]
VALUES = st.one_of(
    st.lists(INTEGERS, min_size=1, max_size=5),
    st.lists(FLOATS, min_size=1, max_size=5),
    st.lists(st.one_of(INTEGERS, FLOATS), min_size=1, max_size=5),
    st.lists(st.decimals(), min_size=1, max_size=5),
    st.lists(st.text(max_size=3), min_size=1, max_size=5),
    st.lists(st.one_of(st.text(max_size=2), st.integers(0, 2)), min_size=1, max_size=5),
)


def converted(values, convert):
    """A column of the values, or None where the type does not hold them."""
    is_odd = any(isinstance(v, Decimal) and not v.is_finite() for v in values)
    if convert is pl.Series and (is_odd or len({type(value) for value in values}) > 1):
        return None
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
            return convert(values)
    except (ValueError, TypeError, OverflowError, ArithmeticError, pa.ArrowException):
        return None


def held_by(column):
    """What a column holds, in terms of Python, exactly."""
    if hasattr(column, "to_pylist"):
        return column.to_pylist()
    return [v.item() if isinstance(v, np.generic) else v for v in column]


@settings(max_examples=400)
@given(values=VALUES, convert=st.sampled_from(CONVERSIONS))
def test_ids_come_back_as_they_are_or_are_refused(values, convert):
    column = converted(values, convert)
    if column is None:
        return
    ids, message = outcome(lambda: check_ids(column, "sku"))
    if ids is None:
        assert message.startswith("sku ")
        return
    assert [*map(exact, ids.tolist())] == [*map(exact, held_by(column))]


def exact(value):
    """Compare as fractions: Python and NumPy may compare in float64."""
    if isinstance(value, str):
        return value
    is_long = isinstance(value, np.longdouble)
    return Fraction(*value.as_integer_ratio()) if is_long else Fraction(value)


@settings(max_examples=60)
@given(values=VALUES, convert=st.sampled_from(CONVERSIONS))
def test_a_recommender_keeps_ids_apart(values, convert):
    column = converted(values, convert)
    if column is None:
        return
    users = np.arange(len(values))
    table = to_table(users, column)
    rec, message = outcome(lambda: PopularityRecommender().fit(table))
    if rec is None:
        assert message.startswith("item_id ")
        return
    distinct = {exact(value) for value in held_by(column)}
    assert {exact(item) for item in rec.item_index_.tolist()} == distinct
    asked = rec.recommend([0], k=99, items=column, exclude_seen=False)
    assert {exact(item) for item in asked.item_id.tolist()} == distinct


def to_table(users, items):
    if isinstance(items, pl.Series):
        return pl.DataFrame({"user_id": users, "item_id": items})
    if isinstance(items, pa.Array):
        return pa.table({"user_id": users, "item_id": items})
    return pd.DataFrame({"user_id": users, "item_id": items})


def outcome(call):
    """What comes of a call, or else what the ValueError says."""
    try:
        return call(), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize("number", [3, np.int8(3), np.uint64(3), 2**70])
def test_whole_numbers_of_any_type_are_integers(number):
    assert is_integer(number)
    assert check_count(number) is None


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float32(3), "3", None])
def test_truth_values_and_all_else_are_none(value):
    assert not is_integer(value)
    with pytest.raises(TypeError, match="n_lists must be an integer, got"):
        check_count(value, "n_lists")


@given(st.integers(), st.integers())
def test_counts_have_a_least(count, at_least):
    if count >= at_least:
        assert check_count(count, "n", at_least) is None
    else:
        with pytest.raises(ValueError, match=f"^n must be at least {at_least}, got"):
            check_count(count, "n", at_least)


def test_halves_of_shares_go_up_however_floats_round():
    counts = np.arange(1, 400)
    for percent in range(1, 100):
        exact = (2 * counts * percent + 100) // 200
        np.testing.assert_array_equal(nearest_count(percent / 100, counts), exact)
    assert nearest_count(0.29, 50) == 15
