"""Sorting rows by numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from skmmrec.interactions import Interactions
from skmmrec.interactions._order import MIN_TIED, stable_order, time_order

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


def _table(seed, n_users=6, n_items=50, n_times=3):
    """Distinct pairs, sorted by user, time and item."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(n_users * n_items)[: 20 * n_users]
    users, items = np.divmod(pairs, n_items)
    times = rng.integers(0, n_times, len(pairs))
    order = np.lexsort((items, times, users))
    return users[order], items[order], times[order]


def _pairs(table, rows):
    return np.column_stack(table)[rows].tolist()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("down", [False, True])
def test_rows_of_one_time_that_are_sorted_by_item_are_mixed(seed, down):
    table = [column[:: -1 if down else 1] for column in _table(seed)]
    users, items, times = table
    order = time_order(*table)
    assert sorted(order) == list(range(len(users)))
    assert (np.diff(times[order]) >= 0).all()
    later = order[stable_order(users[order])]
    tied = (np.diff(users[later]) == 0) & (np.diff(times[later]) == 0)
    rises = np.diff(items[later])[tied] > 0
    assert 0.3 < rises.mean() < 0.7


@pytest.mark.parametrize("prefix", ["", "tt"])
def test_numbers_in_texts_may_be_sorted_as_numbers(prefix):
    users, items, times = _table(0)
    numbers = 10 ** (items // 17) * 7 + items
    ids = pd.Index(sorted({f"{prefix}{number}" for number in numbers.tolist()}))
    places = ids.get_indexer([f"{prefix}{number}" for number in numbers.tolist()])
    by_number, as_rows = (
        time_order(users, places, times, each).tolist() for each in (ids, None)
    )
    assert by_number != as_rows == stable_order(times).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_a_table_sorted_by_time_is_mixed_as_one_sorted_by_user(seed):
    table = _table(seed)
    users, items, times = table
    by_time = [column[np.lexsort((items, users, times))] for column in table]
    mixed = [_pairs(each, time_order(*each)) for each in (table, by_time)]
    assert mixed[0] == mixed[1]


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_one_time_in_an_order_of_their_own_keep_it(seed):
    table = [column.copy() for column in _table(seed)]
    users, items, times = table
    first = np.flatnonzero((np.diff(users) == 0) & (np.diff(times) == 0))[0]
    items[[first, first + 1]] = items[[first + 1, first]]
    np.testing.assert_array_equal(time_order(*table), np.argsort(times, kind="stable"))


def test_rows_are_mixed_from_a_share_of_equal_times_on():
    """Of all that follow another row of their user: here two thirds."""
    times = np.arange(90) // 3
    users, items = np.zeros(90, int), np.arange(90)
    share = (np.diff(times) == 0).mean()
    kept = time_order(users, items, times, least_share=share + 0.01)
    assert kept.tolist() == items.tolist()
    mixed = time_order(users, items, times, least_share=share - 0.01)
    assert mixed.tolist() != items.tolist()


def test_few_rows_of_one_time_may_be_sorted_by_chance():
    items = np.arange(MIN_TIED)
    users = times = np.zeros_like(items)
    np.testing.assert_array_equal(time_order(users, items, times), items)
    more = np.arange(MIN_TIED + 1)
    users = times = np.zeros_like(more)
    assert time_order(users, more, times).tolist() != more.tolist()


def test_repetitions_of_a_pair_at_one_time_keep_their_order():
    items = np.repeat(np.arange(40), 3)
    users = times = np.zeros_like(items)
    order = time_order(users, items, times)
    for item in range(40):
        own = order[items[order] == item]
        assert (np.diff(own) > 0).all()


@pytest.mark.parametrize(
    ("users", "times", "ordered"),
    [
        ("aabb", [1, 2, 3, 3], True),
        ("abab", [1, 3, 1, 3], False),
        ("aabb", [1, 1, 3, 3], False),
        ("abcd", [1, 2, 3, 4], False),
        ("aabb", np.array([1, 1, 3, 4], "datetime64[s]"), True),
        ("aabb", None, False),
    ],
)
def test_times_tell_an_order_where_those_of_a_user_differ(users, times, ordered):
    ids = np.array([*users], dtype=object)
    times = None if times is None else np.array(times)
    assert Interactions(ids, ids, times).ordered is ordered
