"""Tables of vectors, as people give them, and their directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions._ids import check_ids, plain
from skmmrec.interactions._reading import check_numbers

# Of rows that are shorter, float32 loses digits of the squares, or all of them: its
# least normal number is 1.2e-38, and seven digits below a largest square are counted.
_LEAST_NORM = 1e-15


def read_vector_table(table: Any, name: str) -> tuple[pd.Index, NDArray[np.float64]]:
    """Read vectors by the ids of their items.

    Parameters
    ----------
    table : DataFrame of shape (n_items, d)
        Indexed by item id. NaN passes: it says that there is no vector.
    name : str
        What errors call it.

    Returns
    -------
    ids : Index of shape (n_items,)
    vectors : ndarray of shape (n_items, d), float64

    Raises
    ------
    TypeError
        For what is no DataFrame of pandas: tables of other libraries have no index.
    ValueError
        For an id that is missing or repeats, no columns, what is no number, and
        infinity. Names the item or the row.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"{name} must be a DataFrame of pandas, indexed by item id, got "
            f"{type(table).__name__}"
        )
    if not table.shape[1]:
        raise ValueError(f"{name} has no columns: its vectors are empty")
    ids = pd.Index(check_ids(table.index, f"the index of {name}"))
    twice = np.flatnonzero(ids.duplicated())
    if len(twice):
        raise ValueError(
            f"{name} has item {plain(ids[twice[0]])!r} twice (row {twice[0]})"
        )
    options = {"ensure_2d": True, "ensure_min_samples": 0}
    vectors = check_numbers(table, name, ensure_all_finite="allow-nan", **options)
    return ids, vectors


def unit_vectors(vectors: NDArray) -> NDArray:
    """Scale rows to length 1, however long they are; a row of zeros stays one."""
    with np.errstate(over="ignore", under="ignore"):
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    least = np.finfo(np.float32).tiny
    unit: NDArray = vectors / np.maximum(norms, least)
    odd = ~((norms > _LEAST_NORM) & np.isfinite(norms))[:, 0]
    if odd.any():
        near = _near_one(vectors[odd])
        norms = np.linalg.norm(near, axis=1, keepdims=True)
        unit[odd] = near / np.maximum(norms, least)
    return unit


def _near_one(vectors: NDArray) -> NDArray:
    """Scale rows by powers of two, exactly, so that their largest number is near 1."""
    largest = np.abs(vectors).max(axis=1, initial=0, keepdims=True)
    near: NDArray = np.ldexp(vectors, -np.frexp(largest)[1])
    return near
