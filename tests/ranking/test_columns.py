"""Numbers of the columns of candidates, whatever type they come in."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from skmmrec.ranking._columns import ColumnNumbers, as_matrix


def column(values, kind=object):
    return pd.DataFrame({"price": pd.Series(values, dtype=kind)})


NUMBERS = {
    "with None": [9, 10, None],
    "with NA": [9, 10.0, pd.NA],
    "decimals": [Decimal(9), Decimal(10), None],
    "of NumPy": [np.int64(9), np.float32(10), np.nan],
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_among_objects_stay_in_their_order(kind):
    """As words, 10 would come before 9, and 9.0 would be another than 9."""
    table = column(NUMBERS[kind])
    maker = ColumnNumbers().fit(table)
    assert maker.columns_ == {"price": None}
    np.testing.assert_array_equal(maker.transform(table).ravel(), [9, 10, np.nan])


@pytest.mark.parametrize("values", [[True, None], [np.True_, None]], ids=repr)
def test_truth_values_among_objects_are_numbers(values):
    numbers = ColumnNumbers().fit_transform(column(values))
    np.testing.assert_array_equal(numbers.ravel(), [1, np.nan])


def test_numbers_beside_words_are_words():
    assert ColumnNumbers().fit(column([1, "a", None])).columns_ == {"price": ["1", "a"]}


@pytest.mark.parametrize(
    ("values", "kind", "name"),
    [
        ([[1], None], object, "list"),
        ([None, b"a"], object, "bytes"),
        ([1j], object, "complex"),
        ([1j], complex, "complex128"),
        ([date(2026, 1, 1)], object, "date"),
        ([0], "datetime64[s]", "datetime64"),
    ],
)
def test_what_is_neither_number_nor_word_is_named(values, kind, name):
    with pytest.raises(ValueError, match=f"'price' is of type {name}.*, neither"):
        ColumnNumbers().fit(column(values, kind))


@pytest.mark.parametrize("odd", ["noon", date(2026, 1, 1), pd.Timestamp(1)], ids=repr)
def test_a_column_of_numbers_names_what_is_none(odd):
    maker = ColumnNumbers().fit(column([1, 2], int))
    with pytest.raises(ValueError, match=r"'price' held numbers in fit, and now holds"):
        maker.transform(pd.DataFrame({"price": [odd]}))


def test_numbers_that_float32_lacks_are_named():
    for odd in (np.inf, -np.inf, 1e300):
        with pytest.raises(
            ValueError, match=r"the column 'price' .* finite in float32"
        ):
            ColumnNumbers().fit_transform(column([1, odd], float))
        with pytest.raises(ValueError, match=r"features must .* finite in float32"):
            as_matrix(np.array([[1.0, odd]]), 1)
