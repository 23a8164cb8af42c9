"""Numbers become vectors whose angles tell how far apart they are."""

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.catalog import Blocks, NumberSpace


def numbers(values, mask=None):
    values = np.asarray(values, float).reshape(len(values), -1)
    mask = np.ones((len(values), 1), bool) if mask is None else np.array([mask]).T
    return Blocks({"n": values}, mask, frozenset({"n"}))


def lift(values, mask=None):
    blocks = numbers(values, mask)
    return NumberSpace.fit(blocks).transform(blocks).values["n"]


def test_the_median_is_at_the_pole_and_a_mean_distance_at_45_degrees():
    space = NumberSpace.fit(numbers([-1, -1, 1, 1]))
    vectors = space.transform(numbers([-1, 0, 1])).values["n"]
    expected = [[-(0.5**0.5), 0.5**0.5], [0, 1], [0.5**0.5, 0.5**0.5]]
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)


def test_missing_numbers_are_zeros_and_do_not_count():
    some = lift([1, 2, 3, 999], [True, True, True, False])
    np.testing.assert_array_equal(some[:3], lift([1, 2, 3]))
    assert not some[3].any()


def test_a_constant_is_there_and_says_nothing():
    np.testing.assert_array_equal(lift([7, 7, 7]), [[0, 1]] * 3)
    np.testing.assert_array_equal(lift([[7, 1], [7, 2], [7, 3]])[:, 0], [0, 0, 0])
    rounded = lift([0.1 + 0.2, 0.3, 0.3])
    np.testing.assert_array_equal(rounded, [[0, 1]] * 3)
    times = 2021.5 + np.arange(3) * 1e-9  # a few hundredths of a second apart
    assert len(np.unique(lift(times), axis=0)) == 3


def test_what_lies_far_outside_is_told_apart_from_its_opposite():
    blocks = numbers([0, 1e-300, 2e-300])
    far = NumberSpace.fit(blocks).transform(numbers([1e38, -1e38])).values["n"]
    np.testing.assert_allclose(far, [[1, 0], [-1, 0]], rtol=0, atol=1e-6)


def test_vectors_are_left_alone():
    blocks = Blocks(
        {"v": np.eye(2, dtype=np.float32), "n": np.array([[1.0], [2.0]])},
        np.ones((2, 2), bool),
        frozenset({"n"}),
    )
    lifted = NumberSpace.fit(blocks).transform(blocks)
    assert lifted.values["v"] is blocks.values["v"]
    assert lifted.widths == {"v": 2, "n": 2}
    assert not lifted.numbers


def test_the_record_keeps_every_bit():
    blocks = numbers([0.1, 1 / 3, 1.7e9])
    space = NumberSpace.fit(blocks)
    read = NumberSpace.from_record(json.loads(json.dumps(space.to_record())))
    np.testing.assert_array_equal(
        read.transform(blocks).values["n"], space.transform(blocks).values["n"]
    )


@pytest.mark.parametrize("start", [1.7e9, 1e11, -1e9, 2020.0])
def test_large_numbers_keep_their_differences(start):
    """Seconds of an epoch, prices in cents: float32 knows 128 of the former."""
    vectors = lift(start + np.arange(200.0))
    assert len(np.unique(vectors, axis=0)) == 200


steps = st.lists(st.floats(0.01, 100), min_size=2, max_size=40)


@settings(max_examples=100)
@given(steps, st.floats(-1e6, 1e6))
def test_order_is_kept_and_distinct_numbers_are_distinct(gaps, start):
    """Angles grow with the numbers, from above -90 degrees to below 90."""
    vectors = lift(start + np.cumsum(gaps)).astype(float)
    angles = np.arctan2(vectors[:, 0], vectors[:, 1])
    assert (np.diff(angles) > 0).all()
    assert (np.abs(angles) < np.pi / 2).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)


@settings(max_examples=50)
@given(steps, st.floats(0.001, 1000), st.floats(-1000, 1000))
def test_the_unit_does_not_matter(gaps, factor, offset):
    """Cents or euros, Celsius or Fahrenheit."""
    values = np.cumsum(gaps)
    np.testing.assert_allclose(
        lift(values * factor + offset), lift(values), rtol=0, atol=1e-3
    )
