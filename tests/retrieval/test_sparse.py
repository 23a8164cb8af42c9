"""Nearest rows of sparse matrices, in blocks."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from skmmrec.retrieval import _sparse, nearest_rows
from skmmrec.retrieval._sparse import keep_largest


@pytest.mark.parametrize("entries_at_once", [1, 8, 20, 1000])
@pytest.mark.parametrize("k", [1, 2, 100])
def test_nearest_rows_in_blocks(k, entries_at_once):
    rng = np.random.default_rng(0)
    left, right = rng.random((2, 7, 5)).astype(np.float32).round(2)
    product = left.astype(np.float64) @ right.T.astype(np.float64)
    np.fill_diagonal(product, 0)
    for row in product:
        row[np.argsort(-row, kind="stable")[k:]] = 0
    found = nearest_rows(csr_array(left), csr_array(right), k, entries_at_once)
    np.testing.assert_allclose(found.toarray(), product, rtol=1e-6, atol=1e-6)


def test_ties_go_to_the_first_entries():
    matrix = csr_array(np.array([[1.0, 2, 2, 2], [0, 0, 3, 0], [0, 0, 0, 0]]))
    kept = keep_largest(matrix, 2).toarray()
    assert kept.tolist() == [[0, 2, 2, 0], [0, 0, 3, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("entries_at_once", [1, 500, 10_000])
def test_any_numbers_are_ordered_alike(dtype, sign, entries_at_once, monkeypatch):
    """Those without a sign in float32 are sorted as whole numbers."""
    monkeypatch.setattr(_sparse, "ENTRIES_AT_ONCE", entries_at_once)
    rng = np.random.default_rng(3)
    values = np.exp(rng.normal(size=(40, 60)) * 8).astype(dtype)
    values[rng.random(values.shape) < 0.5] = 1e-30
    values[rng.random(values.shape) < 0.3] = 0
    matrix = csr_array(sign * values)
    expected = np.zeros_like(values)
    for row in range(len(values)):
        own = slice(*matrix.indptr[row : row + 2])
        best = np.argsort(-matrix.data[own], kind="stable")[:9]
        columns = matrix.indices[own][best]
        expected[row, columns] = matrix.data[own][best]
    np.testing.assert_array_equal(keep_largest(matrix, 9).toarray(), expected)
