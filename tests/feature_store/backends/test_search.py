import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store.backends.base import (
    Aspect,
    VectorTable,
    _search,
    metric_name,
    nearest,
    nearest_weighted,
)
from skmmrec.interactions import unit_vectors


def table(matrix):
    n = len(matrix)
    return VectorTable([b""] * n, np.arange(n), matrix, np.zeros(n, np.int64))


def brute(matrix, query, metric):
    rows, query = matrix.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return np.linalg.norm(rows - query, axis=1)
    dots = rows @ query
    if metric == "inner_product":
        return -dots
    scale = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    return 1 - np.divide(dots, scale, out=np.zeros_like(dots), where=scale > 0)


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
@pytest.mark.parametrize("k", [1, 10, 200, 500])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_order_and_distances_are_exact(metric, k, offset):
    """An offset makes distances so close that float32 alone would misorder them."""
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(200, 16)) + offset).astype(np.float32)
    matrix[[5, 17]] = 0.0
    matrix[50:60] = matrix[40:50]
    query = (rng.normal(size=16) + offset).astype(np.float32)
    rows, distances = nearest(table(matrix), query, k, metric)
    exact = brute(matrix, query, metric)
    np.testing.assert_allclose(distances, np.sort(exact)[:k], rtol=1e-12, atol=1e-12)
    assert len(set(rows)) == min(k, 200)
    np.testing.assert_allclose(exact[rows], distances, rtol=1e-12, atol=1e-12)


def test_ties_keep_the_order_of_the_table():
    rows, _ = nearest(table(np.ones((50, 3), np.float32)), np.ones(3), 5, "l2")
    assert rows.tolist() == [0, 1, 2, 3, 4]


def test_only_allowed_rows_are_found():
    matrix = np.arange(10, dtype=np.float32)[:, None]
    allowed = np.isin(np.arange(10), [2, 5, 6])
    for k in (2, 8):
        found, _ = nearest(table(matrix), np.ones(1), k, "inner_product", allowed)
        assert found.tolist() == [6, 5, 2][:k]


@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
@pytest.mark.parametrize("n_allowed", [0, 1, 7, 150])
def test_among_few_rows_order_and_distances_are_exact(metric, n_allowed):
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(200, 4)).astype(np.float32)
    query = rng.normal(size=4).astype(np.float32)
    allowed = np.isin(np.arange(200), rng.choice(200, n_allowed, replace=False))
    rows, distances = nearest(table(matrix), query, 5, metric, allowed)
    exact = brute(matrix, query, metric)
    wanted = np.flatnonzero(allowed)[np.argsort(exact[allowed])[:5]]
    assert rows.tolist() == wanted.tolist()
    np.testing.assert_allclose(distances, exact[wanted], rtol=1e-12, atol=1e-12)


def test_only_few_allowed_rows_are_compared(monkeypatch):
    """What cannot be returned costs nothing."""
    compared, choose = [], _search._candidates

    def spy(rough, *rest):
        compared.append(len(rough))
        return choose(rough, *rest)

    monkeypatch.setattr(_search, "_candidates", spy)
    matrix, allowed = np.eye(100, 3, dtype=np.float32), np.arange(100) < 5
    nearest(table(matrix), np.ones(3), 2, "l2", allowed)
    aspect = Aspect(matrix, np.arange(100), matrix[0], 1.0)
    nearest_weighted([aspect, aspect._replace(weight=2.0)], 100, 2, allowed)
    assert len(compared) > 1
    assert set(compared) == {5}


def test_products_that_overflow_float32_are_still_ranked():
    matrix = np.array([[1e30, 0], [3e30, 0], [2e30, 0], [1, 0]], dtype=np.float32)
    query = np.array([1e30, 0], dtype=np.float32)
    found, _ = nearest(table(matrix), query, 3, "inner_product")
    assert found.tolist() == [1, 2, 0]


def test_metric_names():
    assert metric_name(None) == metric_name("euclidean") == metric_name("L2") == "l2"
    assert metric_name("IP") == metric_name("inner_product") == "inner_product"
    with pytest.raises(ValueError, match="got 'jaccard'"):
        metric_name("jaccard")


@pytest.mark.parametrize("scale", [1e-25, 1e-36, 1e25, 3e37])
@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
def test_sizes_that_float32_cannot_multiply_change_nothing(metric, scale):
    """Rows of usual size stand among rows that overflow or underflow."""
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(60, 6))
    matrix[::2] *= scale
    query = (rng.normal(size=6) * scale).astype(np.float32)
    matrix = matrix.astype(np.float32)
    rows, distances = nearest(table(matrix), query, 7, metric)
    exact = brute(matrix, query.astype(np.float64), metric)
    np.testing.assert_allclose(distances, np.sort(exact)[:7], rtol=1e-12, atol=1e-70)
    np.testing.assert_allclose(exact[rows], distances, rtol=1e-12, atol=1e-70)


@st.composite
def compared(draw):
    """Several vectors of some items, small numbers that often tie, and weights."""
    n = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    aspects = []
    for _ in range(draw(st.integers(1, 3))):
        rows = np.flatnonzero(rng.random(n) < 0.7)
        values = rng.integers(-1, 2, (len(rows) + 1, 2)).astype(np.float32)
        made = unit_vectors(values)
        weight = draw(st.sampled_from([0.1, 1.0, 7.0]))
        aspects.append(Aspect(made[1:], rows, made[0], weight))
    share = draw(st.sampled_from([None, 0.8, 0.1]))
    allowed = None if share is None else rng.random(n) < share
    return aspects, n, draw(st.integers(1, n)), allowed


@settings(max_examples=100)
@given(compared())
def test_weighted_means_are_those_of_the_vectors_that_there_are(case):
    aspects, n, k, allowed = case
    totals, weights = np.zeros(n), np.zeros(n)
    for directions, rows, query, weight in aspects:
        for direction, row in zip(directions.astype(np.float64), rows, strict=True):
            totals[row] += weight * (direction @ query.astype(np.float64))
            weights[row] += weight
    has = weights > 0 if allowed is None else (weights > 0) & allowed
    found, means = nearest_weighted(aspects, n, k, allowed)
    exact = totals[has] / weights[has]
    wanted = np.sort(exact)[::-1][:k]
    np.testing.assert_allclose(means, wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        (totals / np.maximum(weights, 1e-300))[found], means, rtol=1e-12, atol=1e-12
    )
    assert len(set(found)) == len(found) == min(k, has.sum())
    assert all((np.diff(found)[np.diff(means) == 0]) > 0)
