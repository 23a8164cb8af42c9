"""Vectors of items of several parts."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.encoders._pooling import encode_parts, start_parts


def encode(parts):
    return np.array([[part, part**2 - 3] for part in parts], np.float32)


def direct(items, weights, pooling):
    """Return what pooling means, item by item."""
    rows = []
    for parts, own in zip(items, weights, strict=True):
        vectors, own = encode(parts).astype(float), np.array(own)
        row = []
        if "mean" in pooling:
            row.append(own @ vectors / own.sum())
        if "max" in pooling:
            row.append(vectors.max(axis=0))
        rows.append(np.concatenate(row))
    return np.array(rows)


parts = st.lists(st.integers(-9, 9), min_size=1, max_size=5)


@settings(max_examples=60)
@given(
    items=st.lists(parts, min_size=1, max_size=6),
    seed=st.integers(0, 99),
    pooling=st.sampled_from(["mean", "max", "mean+max"]),
)
def test_parts_are_pooled_item_by_item(items, seed, pooling):
    draw = np.random.default_rng(seed)
    weights = [list(draw.uniform(0.5, 3, len(item))) for item in items]
    sizes = []

    def start(several):
        sizes.append(len(several))
        return lambda: encode(several)

    wait = start_parts(items, weights, start, pooling)
    assert len(sizes) <= 2
    vectors = wait()
    assert max(sizes) <= len(items)
    assert vectors.dtype == np.float32
    expected = direct(items, weights, pooling)
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)
    if pooling == "mean":
        np.testing.assert_array_equal(encode_parts(items, weights, encode), vectors)


@pytest.mark.parametrize("pooling", ["mean", "max", "mean+max"])
def test_items_of_one_part_are_that_part(pooling):
    wait = start_parts(
        [[1], [5]], [[0.3], [0.7]], lambda parts: lambda: encode(parts), pooling
    )
    expected = np.hstack([encode([1, 5])] * (1 + pooling.count("+")))
    np.testing.assert_array_equal(wait(), expected)
