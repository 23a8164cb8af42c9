"""Sorting rows by numbers."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from skmmrec.interactions._order import stable_order

TYPES = [
    np.int8,
    np.int64,
    np.uint16,
    np.uint64,
    np.float64,
    "datetime64[ns]",
    "timedelta64[s]",
]


@settings(max_examples=60)
@given(st.data(), st.sampled_from(TYPES), st.integers(0, 40))
def test_rows_are_in_the_order_of_a_stable_sort(data, dtype, n):
    values = data.draw(arrays.arrays(dtype, n))
    values = values[values == values]  # not a number, not a time: never there
    expected = np.argsort(values, kind="stable")
    np.testing.assert_array_equal(stable_order(values), expected)


@pytest.mark.parametrize("bits", [1, 15, 16, 17, 33, 62])
def test_any_number_of_digits(bits):
    rng = np.random.default_rng(bits)
    values = rng.integers(-(2**bits), 2**bits, 500)
    values[::3] = values[0]
    expected = np.argsort(values, kind="stable")
    np.testing.assert_array_equal(stable_order(values), expected)


def test_the_whole_range_of_64_bits():
    limits = np.iinfo(np.int64)
    values = np.array([limits.max, 0, limits.min, -1, limits.max, limits.min])
    assert stable_order(values).tolist() == [2, 5, 3, 1, 0, 4]
    assert stable_order(np.array([2**64 - 1, 0], np.uint64)).tolist() == [1, 0]


def test_what_is_no_number_is_sorted_too():
    values = np.array([3, 1, 2, 1], dtype=object)
    assert stable_order(values).tolist() == [1, 3, 2, 0]
    assert stable_order(np.zeros(0, np.int64)).tolist() == []
