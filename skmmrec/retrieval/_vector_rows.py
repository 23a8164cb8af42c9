"""Vectors that lie in several places, memory-mapped or not, and hashes of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# Rows looked at together: 34 MB of whole numbers where they are 64 wide.
ROWS = 65_536
# Largest number of a vector. Of longer ones, squares and products overflow float32, and
# faiss ends the process where distances are infinite.
LONGEST = 1e15


@dataclass(frozen=True)
class Rows:
    """Rows of several matrices, one after the other.

    Attributes
    ----------
    parts : tuple of ndarray of shape (n, d), float32
        Never changed; may be memory-mapped.
    """

    parts: tuple[NDArray[np.float32], ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self.parts[0].shape[1]

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Copy rows, in the order given."""
        if len(self.parts) == 1:
            return np.asarray(self.parts[0][rows], np.float32)
        taken = np.empty((len(rows), self.width), np.float32)
        starts = np.cumsum([0, *map(len, self.parts)])
        where = np.searchsorted(starts, rows, side="right") - 1
        for number in np.unique(where):
            own = where == number
            taken[own] = self.parts[number][rows[own] - starts[number]]
        return taken


def slices(n_rows: int, step: int = ROWS) -> Iterator[slice]:
    """Slices of rows."""
    for start in range(0, n_rows, step):
        yield slice(start, min(n_rows, start + step))


def as_matrix(items: pd.DataFrame | NDArray) -> NDArray:
    """Return vectors of items as an array, without a copy where there is one.

    Raises ValueError for no items, no numbers in a vector, or what is no table.
    """
    matrix = items.to_numpy() if isinstance(items, pd.DataFrame) else items
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2:
        shape = getattr(matrix, "shape", type(matrix).__name__)
        raise ValueError(f"items must be a table of vectors, got {shape}")
    if matrix.size == 0:
        raise ValueError(f"items is empty: its shape is {matrix.shape}")
    return matrix


def unchanging(vectors: NDArray) -> NDArray:
    """Return vectors that no caller changes.

    Those in a file and read-only ones stay as they are, others are copied as float32.
    """
    owner = vectors
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if isinstance(owner, np.memmap) or not owner.flags.writeable:
        return vectors
    return np.array(vectors, dtype=np.float32)


def checked(
    matrix: NDArray, rows: slice | NDArray[np.intp], ids: pd.Index
) -> NDArray[np.float32]:
    """Read some vectors as float32.

    Raises ValueError for one that is not finite, or too long, and names it.
    """
    vectors, odd = _read(matrix[rows])
    if len(odd):
        row = rows.start + odd[0] if isinstance(rows, slice) else rows[odd[0]]
        raise ValueError(
            f"the vector of item {ids[row]!r} (row {row}) {_problem(vectors[odd[0]])} "
            f"({len(odd)} such items among {len(vectors)})"
        )
    return vectors


def query_table(queries: ArrayLike, width: int) -> NDArray:
    """Return queries as an array of shape (n, width); raise ValueError for another."""
    table = np.asarray(queries)
    if table.ndim != 2 or table.shape[1] != width:
        raise ValueError(
            f"queries must have shape (n, {width}) like the items, got {table.shape}"
        )
    return table


def checked_queries(queries: NDArray) -> NDArray[np.float32]:
    """Read queries as float32; a ValueError names one not finite, or too long."""
    vectors, odd = _read(queries)
    if len(odd):
        raise ValueError(
            f"queries must be finite: row {odd[0]} {_problem(vectors[odd[0]])}"
        )
    return vectors


def _read(vectors: NDArray) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Vectors as float32, and the rows that no search can compare."""
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    within = (vectors <= LONGEST) & (vectors >= -LONGEST)
    return vectors, np.flatnonzero(~within.all(axis=1))


def _problem(vector: NDArray) -> str:
    if not np.isfinite(vector).all():
        return "is not finite"
    return (
        f"has numbers beyond {LONGEST:g}: divide all vectors by the same number, which "
        "changes no order"
    )


def hash_rows(*blocks: NDArray) -> NDArray[np.uint64]:
    """Hash each row of float32 matrices that stand side by side.

    Rows that differ in a bit have the same hash about once in 2**64, unless somebody
    looks for such rows: it tells what has changed, and not who changed it.
    """
    n_rows, width = len(blocks[0]), sum(block.shape[1] for block in blocks)
    draw = np.random.Generator(np.random.PCG64(20))
    factors = draw.integers(0, 2**63, width, dtype=np.uint64) * 2 + 1
    hashes = np.zeros(n_rows, np.uint64)
    for part in slices(n_rows):
        first = 0
        for block in blocks:
            bits = np.ascontiguousarray(block[part], dtype=np.float32).view(np.uint32)
            own = factors[first : first + block.shape[1]]
            hashes[part] += bits.astype(np.uint64) @ own
            first += block.shape[1]
    return hashes
