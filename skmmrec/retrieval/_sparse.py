"""The nearest rows of sparse matrices."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, vstack

# Entries of a product in memory at a time: 50 MB while the greatest are chosen. SciPy
# clears some numbers for each column and each part, so parts have at least as many
# entries as there are columns: smaller ones take time that grows by their square.
ENTRIES_AT_ONCE = 2**20


def unit_rows(matrix: csr_array) -> csr_array:
    """Scale the rows of a matrix to length 1, float32; those of zeros stay."""
    lengths = np.sqrt(squared_lengths(matrix))
    lengths[lengths == 0] = 1.0
    return csr_array(diags_array((1 / lengths).astype(np.float32)) @ matrix)


def squared_lengths(matrix: csr_array) -> NDArray[np.float64]:
    """Sum the squares of each row."""
    squares = (np.square(matrix.data), matrix.indices, matrix.indptr)
    sums: NDArray[np.float64] = csr_array(squares, matrix.shape) @ np.ones(
        matrix.shape[1]
    )
    return sums


def cut_rows(sizes: NDArray, at_once: int) -> list[slice]:
    """Cut rows of some sizes into parts of about so much, or of one row."""
    parts = np.cumsum(sizes) // at_once
    cuts = np.flatnonzero(np.diff(parts, prepend=0))
    return [slice(*pair) for pair in pairwise([0, *cuts[cuts > 0], len(sizes)])]


def nearest_rows(
    left: csr_array, right: csr_array, k: int, entries_at_once: int = ENTRIES_AT_ONCE
) -> csr_array:
    """Product of `left` and the transpose of `right`, its `k` greatest in each row.

    Both have shape (n, d); the diagonal of the product stays out, and ties go to the
    first columns. `entries_at_once` of the product are in memory at a time, apart from
    those of one row.
    """
    transposed = csr_array(right.T)
    blocks = []
    for rows in _products_at_once(left, transposed, entries_at_once):
        block = csr_array(left[rows] @ transposed)
        block.data[entry_rows(block) + rows.start == block.indices] = 0
        block.eliminate_zeros()
        block.sort_indices()
        blocks.append(keep_largest(block, k))
    return csr_array(vstack(blocks, format="csr"))


def _products_at_once(left: csr_array, right: csr_array, at_once: int) -> list[slice]:
    """Cut the rows of `left` so that products with `right` have few entries."""
    n_columns = right.shape[1]
    terms = np.diff(right.indptr).astype(np.int64)[left.indices]
    ends = np.concatenate([[0], np.cumsum(terms)])[left.indptr]
    return cut_rows(np.minimum(np.diff(ends), n_columns), max(at_once, n_columns))


def entries_at(matrix: csr_array, rows: NDArray, columns: NDArray) -> NDArray:
    """Entries at some places; 0 where none is stored.

    The columns of the matrix ascend in each row. `rows` and `columns` have any shapes
    that can be broadcast.
    """
    return Lookup(matrix).at(rows, columns)


class Lookup:
    """Finds entries of a matrix, many times.

    Parameters
    ----------
    matrix : csr_array of shape (n, m)
        Its columns ascend in each row.
    """

    def __init__(self, matrix: csr_array) -> None:
        self._width = matrix.shape[1]
        self._stored = entry_rows(matrix) * self._width
        self._stored += matrix.indices
        self._values = matrix.data

    def at(self, rows: NDArray, columns: NDArray) -> NDArray:
        """Entries at some places, of shapes that can be broadcast; 0 for none."""
        asked = rows * self._width + columns
        if len(self._stored) == 0:
            return np.zeros(asked.shape, self._values.dtype)
        places = np.searchsorted(self._stored, asked)
        places = np.minimum(places, len(self._stored) - 1)
        found: NDArray = np.where(
            self._stored[places] == asked, self._values[places], 0
        )
        return found.astype(self._values.dtype, copy=False)

    def at_many(self, rows: NDArray, columns: NDArray) -> NDArray:
        """Entries at places in no order, both of shape (n,); 0 for none.

        In order, searches that follow one another read the same memory: they take half
        of the time, sorting included, and a third among ten million entries.
        """
        order = np.argsort(rows * self._width + columns)
        found = np.empty(len(order), self._values.dtype)
        found[order] = self.at(rows[order], columns[order])
        return found


def without_entries(matrix: csr_array, gone: csr_array) -> csr_array:
    """Leave out the entries that are stored in another matrix of the same shape."""
    rows, width = entry_rows(matrix), matrix.shape[1]
    stored = entry_rows(gone) * width + gone.indices
    kept = ~np.isin(rows * width + matrix.indices, stored)
    offsets = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return csr_array((matrix.data[kept], matrix.indices[kept], offsets), matrix.shape)


def entry_rows(matrix: csr_array) -> NDArray[np.intp]:
    """Row of each stored entry."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def keep_largest(matrix: csr_array, k: int) -> csr_array:
    """Keep the `k` greatest entries of each row; ties go to the first stored."""
    rows, order = entry_rows(matrix), best_first(matrix)
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    kept = order[place < k]
    return csr_array(
        (matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape
    )


def best_first(matrix: csr_array) -> NDArray[np.intp]:
    """Order the stored entries by row, then by falling value, then by place."""
    offsets = matrix.indptr.astype(np.int64)
    parts = [
        offsets[part.start]
        + _best_first(matrix.data, offsets[part.start : part.stop + 1])
        for part in cut_rows(np.diff(offsets), ENTRIES_AT_ONCE)
    ]
    return np.concatenate(parts)


# Bits of a float32 without a sign, and of a key: row, value, and place in the row.
VALUE_BITS, KEY_BITS = 31, 63


def _best_first(values: NDArray, offsets: NDArray[np.int64]) -> NDArray[np.intp]:
    """Order the entries of some rows, by number from the first of them.

    One sort of whole numbers takes a fifth of the time of sorting by two keys.
    """
    values, lengths = values[offsets[0] : offsets[-1]], np.diff(offsets)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    place_bits = int(lengths.max(initial=0)).bit_length()
    fits = len(lengths).bit_length() + VALUE_BITS + place_bits <= KEY_BITS
    if not fits or values.dtype != np.float32 or np.signbit(values).any():
        return np.lexsort((-values, rows))
    starts = (offsets[:-1] - offsets[0])[rows]
    keys = rows << (VALUE_BITS + place_bits)
    keys += (0x7FFFFFFF - values.view(np.int32).astype(np.int64)) << place_bits
    keys += np.arange(len(values)) - starts
    keys.sort()
    order: NDArray[np.intp] = (keys & (2**place_bits - 1)) + starts
    return order
