"""The nearest rows of sparse matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, vstack

# A product of so many rows with 100,000 others stays below 1 GB, even if it is dense.
ROWS_AT_ONCE = 1024


def unit_rows(matrix: csr_array) -> csr_array:
    """Scale the rows of a matrix of zeros and ones to length 1, float32."""
    lengths = np.sqrt(np.maximum(np.diff(matrix.indptr), 1))
    return csr_array(diags_array((1 / lengths).astype(np.float32)) @ matrix)


def nearest_rows(
    left: csr_array, right: csr_array, k: int, rows_at_once: int = ROWS_AT_ONCE
) -> csr_array:
    """Product of `left` and the transpose of `right`, its `k` greatest in each row.

    Parameters
    ----------
    left, right : csr_array of shape (n, d)
        Of the same shape: what is compared. The diagonal of the product stays out.
    k : int
        Entries kept in each row.
    rows_at_once : int
        Rows of the product in memory at a time.

    Returns
    -------
    csr_array of shape (n, n)
        Ties go to the first columns.
    """
    transposed = csr_array(right.T)
    blocks = []
    for start in range(0, max(1, left.shape[0]), rows_at_once):
        block = csr_array(left[start : start + rows_at_once] @ transposed)
        block.setdiag(0, k=start)
        block.eliminate_zeros()
        block.sort_indices()
        blocks.append(keep_largest(block, k))
    return csr_array(vstack(blocks, format="csr"))


def entries_at(matrix: csr_array, rows: NDArray, columns: NDArray) -> NDArray:
    """Entries at some places; 0 where none is stored.

    Parameters
    ----------
    matrix : csr_array of shape (n, d)
        Columns ascend in each row.
    rows, columns : ndarray of int
        Of any shape that both can be brought to.
    """
    width = matrix.shape[1]
    stored = np.repeat(np.arange(matrix.shape[0]) * width, np.diff(matrix.indptr))
    stored += matrix.indices
    asked = rows * width + columns
    if len(stored) == 0:
        return np.zeros(asked.shape, matrix.dtype)
    places = np.minimum(np.searchsorted(stored, asked), len(stored) - 1)
    found: NDArray = np.where(stored[places] == asked, matrix.data[places], 0)
    return found.astype(matrix.dtype, copy=False)


def entry_rows(matrix: csr_array) -> NDArray[np.intp]:
    """Row of each stored entry."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def keep_largest(matrix: csr_array, k: int) -> csr_array:
    """Keep the `k` greatest entries of each row; ties go to the first stored."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, rows))
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    kept = order[place < k]
    return csr_array(
        (matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape
    )
