"""Int8 and fewer dimensions against what they promise."""

import numpy as np
import pandas as pd
import pytest

from skmmrec.retrieval import quantize_int8, reduce_dimensions


@pytest.fixture
def tables():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(8, 8))
    items = pd.DataFrame(rng.normal(size=(30, 8)) @ mix, [f"i{n}" for n in range(30)])
    users = pd.DataFrame(rng.normal(size=(20, 8)) @ mix, range(100, 120))
    return items, users


def test_no_number_is_off_by_more_than_half_a_level(tables):
    items = tables[0].to_numpy() * np.logspace(-6, 6, 30)[:, None]
    small = quantize_int8(items)
    assert small.codes.dtype == np.int8
    assert small.scales.dtype == np.float32
    assert small.nbytes == 30 * 8 + 30 * 4
    assert np.abs(small.codes).max(axis=1).tolist() == [127] * 30
    error = np.abs(small.dequantize() - items)
    greatest = np.abs(items).max(axis=1, keepdims=True)
    assert (error <= greatest / 254 * (1 + 1e-5)).all()


def test_zeros_stay_zeros():
    small = quantize_int8(np.zeros((2, 3)))
    assert small.dequantize().tolist() == [[0.0] * 3] * 2
    assert quantize_int8(np.empty((0, 3))).dequantize().shape == (0, 3)
    assert quantize_int8(np.empty((2, 0))).dequantize().shape == (2, 0)


def test_a_table_is_read_like_an_array(tables):
    codes = quantize_int8(tables[0]).codes
    np.testing.assert_array_equal(codes, quantize_int8(tables[0].to_numpy()).codes)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_no_matrix_of_that_rank_is_closer_to_the_scores(tables, n):
    items, users = tables
    scores = users.to_numpy() @ items.to_numpy().T
    left, values, right = np.linalg.svd(scores, full_matrices=False)
    best = left[:, :n] * values[:n] @ right[:n]
    small = reduce_dimensions(items, users, n)
    assert small.items.shape == (30, n)
    found = small.users.to_numpy() @ small.items.to_numpy().T
    np.testing.assert_allclose(found, best, atol=1e-4)


def test_maps_serve_items_and_users_who_come_later(tables):
    items, users = tables
    small = reduce_dimensions(items, users, 3)
    assert small.items.index.equals(items.index)
    assert small.users.index.equals(users.index)
    np.testing.assert_allclose(
        small.items, items @ small.item_map, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        small.users, users @ small.user_map, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("n_users", [1, 2, 20])
def test_fewer_users_than_dimensions(tables, n_users):
    items, users = tables[0].to_numpy(), tables[1].to_numpy()[:n_users]
    small = reduce_dimensions(items, users, 5)
    assert isinstance(small.items, np.ndarray)
    assert small.items.shape == (30, 5)
    assert small.users.dtype == np.float32
    if n_users <= 5:
        np.testing.assert_allclose(
            small.users @ small.items.T, users @ items.T, atol=1e-4
        )


def test_scores_of_zero_stay_zero(tables):
    small = reduce_dimensions(tables[0], 0 * tables[1], 3)
    assert not (small.users.to_numpy() @ small.items.to_numpy().T).any()


def test_bad_input_is_named(tables):
    items, users = tables
    with pytest.raises(ValueError, match="differ in width: 8 and 7"):
        reduce_dimensions(items, users.iloc[:, 1:], 3)
    for n in (0, 9):
        with pytest.raises(ValueError, match=rf"between 1 and 8, got {n}"):
            reduce_dimensions(items, users, n)
    for n in (2.0, True, "2", None):
        with pytest.raises(TypeError, match="n_components must be an integer"):
            reduce_dimensions(items, users, n)
    users.iloc[4, 0] = np.inf
    with pytest.raises(ValueError, match="users is not finite in row 4"):
        reduce_dimensions(items, users, 3)
    with pytest.raises(ValueError, match="vectors is not finite in row 4"):
        quantize_int8(users)
    with pytest.raises(ValueError, match="vectors must have 2 dimensions, got 1"):
        quantize_int8([1.0, 2.0])
