import numpy as np
import pytest

from skmmrec.feature_store.backends.base import VectorTable, metric_name, nearest


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
