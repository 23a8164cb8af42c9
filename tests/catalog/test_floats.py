"""Columns of every type of number and date are read as float64."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import StandardScaler

from skmmrec import ItemCatalog
from skmmrec.catalog._floats import as_floats, is_numeric

DAYS = ["2020-01-01", None, "2021-07-02"]
YEARS = [2019.999658, np.nan, 2021.500031]


def arrow(values, kind):
    return pd.Series(pd.array(values, dtype=pd.ArrowDtype(kind)))


NUMBERS = {
    "int64": pd.Series([1, 0, 3]),
    "uint8": pd.Series([1, 0, 3], dtype="uint8"),
    "float16": pd.Series([1, 0, 3], dtype="float16"),
    "objects": pd.Series([1, 0.0, np.int8(3)], dtype=object),
    "Decimal": pd.Series([Decimal(1), Decimal(0), Decimal(3)]),
    "Int64": pd.Series([1, 0, 3], dtype="Int64"),
    "Float32": pd.Series([1, 0, 3], dtype="Float32"),
    "sparse": pd.Series(pd.arrays.SparseArray([1.0, 0.0, 3.0])),
    "arrow": arrow([1, 0, 3], pa.int32()),
    "arrow decimal": arrow([Decimal(1), Decimal(0), Decimal(3)], pa.decimal128(9, 2)),
}
GAPS = {
    "float64": pd.Series([1, np.nan, 3]),
    "Int64": pd.Series([1, None, 3], dtype="Int64"),
    "Float64": pd.Series([1, None, 3], dtype="Float64"),
    "objects": pd.Series([1, None, 3.0], dtype=object),
    "NA": pd.Series([1, pd.NA, 3], dtype=object),
    "Decimal": pd.Series([Decimal(1), None, Decimal(3)]),
    "arrow": arrow([1, None, 3], pa.int64()),
    "timedelta": pd.Series(pd.to_timedelta([1, None, 3], "D")),
    "timedeltas": pd.Series([dt.timedelta(1), None, dt.timedelta(3)], dtype=object),
    "arrow duration": arrow([dt.timedelta(1), None, dt.timedelta(3)], pa.duration("s")),
}
TIMES = pd.Series(pd.to_datetime(DAYS))
DATES = {
    "naive": TIMES,
    "seconds": TIMES.astype("datetime64[s]"),
    "aware": TIMES.dt.tz_localize("UTC"),
    "dates": TIMES.dt.date.astype(object),
    "datetimes": TIMES.astype(object),
    "zones": pd.Series([*TIMES.dt.tz_localize("UTC")], dtype=object),
    "numpy": pd.Series(
        [np.datetime64(DAYS[0]), None, np.datetime64(DAYS[2])], dtype=object
    ),
    "mixed": pd.Series(
        [dt.date(2020, 1, 1), None, pd.Timestamp(DAYS[2])], dtype=object
    ),
    "arrow date": arrow([dt.date(2020, 1, 1), None, dt.date(2021, 7, 2)], pa.date32()),
    "arrow timestamp": arrow([*TIMES], pa.timestamp("us", "UTC")),
    "period": pd.Series(pd.PeriodIndex(DAYS, freq="D")),
}


@pytest.mark.parametrize("column", NUMBERS.values(), ids=NUMBERS)
def test_numbers(column):
    assert is_numeric(column)
    assert as_floats(column, "x").tolist() == [1.0, 0.0, 3.0]


@pytest.mark.parametrize("column", GAPS.values(), ids=GAPS)
def test_what_is_missing_becomes_nan(column):
    assert is_numeric(column)
    np.testing.assert_array_equal(as_floats(column, "x"), [1.0, np.nan, 3.0])


@pytest.mark.parametrize("column", DATES.values(), ids=DATES)
def test_dates_become_years(column):
    assert is_numeric(column)
    np.testing.assert_allclose(as_floats(column, "x"), YEARS, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [bool, "boolean", object])
def test_truth_values_are_0_and_1(dtype):
    column = pd.Series([True, False], dtype=dtype)
    assert is_numeric(column)
    assert as_floats(column, "x").tolist() == [1.0, 0.0]


def test_zones_tell_different_instants():
    """Noon in Tokyo comes 14 hours before noon in New York."""
    noon = pd.Timestamp("2020-06-01 12:00")
    zones = [noon.tz_localize(zone) for zone in ("Asia/Tokyo", "America/New_York")]
    read = as_floats(pd.Series(zones, dtype=object), "x")
    hours = np.diff(read) * 365.2425 * 24
    np.testing.assert_allclose(hours, [13.0], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a", "b"]),
        pd.Series(["a", "b"], dtype="string"),
        pd.Series(["a", "b"], dtype="category"),
        pd.Series([1, 2], dtype="category"),
        pd.Series([1, "b"], dtype=object),
        pd.Series([None, None], dtype=object),
        pd.Series([dt.time(1), dt.time(2)], dtype=object),
        pd.Series([[1], [2]], dtype=object),
    ],
)
def test_words_and_categories_are_no_numbers(column):
    assert not is_numeric(column)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1.0, "red"], dtype=object),
        pd.Series(["1", "red"], dtype="category"),
        pd.Series(["1.5", "2020-01-01"]),
        pd.Series([1, {"red": 2}], dtype=object),
        pd.Series([1, dt.time(2)], dtype=object),
        pd.Series([1, 2 + 1j]),
        pd.Series([1, 10**400], dtype=object),
        pd.Series([Decimal(1), 10**400], dtype=object),
    ],
)
def test_what_is_no_number_is_named(column):
    with pytest.raises(
        ValueError, match=r"'shade' is not numeric in row [01].*OneHotE"
    ):
        as_floats(column, "shade")


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, torch.tensor])
def test_it_is_said_how_vectors_are_spread(kind):
    """As columns of a database or of Arrow hold them."""
    items = pd.DataFrame({"item_id": ["a", "b"]})
    items["text__vector"] = [kind([1.0, 2.0]), kind([3.0, 5.0])]
    with pytest.raises(ValueError, match=r"'text__vector' .* in row 0") as told:
        as_floats(items["text__vector"], "text__vector")
    advice = str(told.value).rpartition("spread it by ")[2].rstrip(".")
    spread = eval(advice, {"pd": pd, "np": np, "items": items})  # what a user would do
    catalog = ItemCatalog(items[["item_id"]].join(spread))
    np.testing.assert_array_equal(catalog.blocks.values["text"], [[1, 2], [3, 5]])


@pytest.mark.parametrize("codes", [[[1, 22], [22]], [["a.b", "c"], ["c"]]])
def test_lists_of_codes_are_words(codes):
    items = pd.DataFrame({"item_id": ["a", "b"], "tags__x": codes})
    with pytest.raises(ValueError, match="A vector takes") as told:
        ItemCatalog(items).blocks  # noqa: B018 - encodes
    how, _, counter = str(told.value).partition("join them by ")[2].partition(" for a ")
    counter = counter.partition(". A vector")[0]
    words = eval(how.replace("...", "'tags__x'"), {"items": items})
    vectorizer = eval(counter, {"CountVectorizer": CountVectorizer})
    encode = make_column_transformer((vectorizer, "tags__x"))
    catalog = ItemCatalog(items.assign(tags__x=words), encode)
    (values,) = catalog.blocks.values.values()
    np.testing.assert_array_equal(values, [[1, 1], [0, 1]])


def test_an_index_of_ids_is_named():
    items = pd.DataFrame({"text__0": [1.0, 2.0]}, pd.Index(["a", "b"], name="sku"))
    with pytest.raises(ValueError, match=r"no column 'sku' .* give items.reset_index"):
        ItemCatalog(items, key="sku")
    assert ItemCatalog(items.reset_index(), key="sku").ids.tolist() == ["a", "b"]


@pytest.mark.parametrize("encoder", ["passthrough", StandardScaler, len])
def test_what_is_no_encoder_is_named(encoder):
    items = pd.DataFrame({"item_id": ["a", "b"], "price": [1.0, 2.0]})
    with pytest.raises(
        TypeError, match=r"encoder must be a transformer of scikit-learn"
    ):
        ItemCatalog(items, encoder=encoder).blocks  # noqa: B018


@settings(max_examples=50)
@given(
    st.lists(
        st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1)),
        min_size=1,
        max_size=6,
    )
)
def test_objects_and_columns_of_times_are_read_alike(times):
    """To the bit, so that a query is equal to the catalogue."""
    column = pd.Series(pd.to_datetime(times).astype("datetime64[us]"))
    np.testing.assert_array_equal(
        as_floats(column, "x"), as_floats(pd.Series(times, dtype=object), "x")
    )
