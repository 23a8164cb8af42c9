"""EASE for many items: each is reconstructed from its neighbours alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from skmmrec.retrieval import nearest_rows, unit_rows

# Items whose co-occurrences are in memory at a time: 128 MB of float64.
ITEMS_AT_ONCE = 4096


def neighbour_weights(met: csr_array, n_neighbors: int, l2: float) -> csr_array:
    """Weights that best reconstruct the likes of each item from those of a few others.

    Parameters
    ----------
    met : csr_array of shape (n_users, n_items)
        A 1 for each like.
    n_neighbors : int
        How many others: those with the greatest cosine of co-occurrence.
    l2 : float
        Penalty of the squared weights.

    Raises
    ------
    ValueError
        When `l2` is too small for likes that are collinear.

    Returns
    -------
    csr_array of shape (n_items, n_items), float32
        Column j holds what each item says of item j.
    """
    likes = csr_array(met.T)
    units = csr_array(unit_rows(likes))
    nearest = nearest_rows(units, units, n_neighbors)
    nearest.data = np.concatenate(
        [np.empty(0, np.float32), *_solutions(csc_array(met), nearest, l2)]
    )
    return csr_array(nearest.T)


def _solutions(
    met: csc_array, nearest: csr_array, l2: float
) -> Iterator[NDArray[np.float32]]:
    """Yield the weights of each item's neighbours, in their order in `nearest`."""
    lengths = np.diff(nearest.indptr)
    width = max(1, int(lengths.max(initial=0)))
    step = max(1, ITEMS_AT_ONCE // (width + 1))
    for start in range(0, len(lengths), step):
        items = np.arange(start, min(start + step, len(lengths)))
        yield _solve(met, nearest, items, l2)


def _solve(
    met: csc_array, nearest: csr_array, items: NDArray, l2: float
) -> NDArray[np.float32]:
    """Solve the normal equations of some items, all at once."""
    rows = nearest[items]
    lengths = np.diff(rows.indptr)
    some, local = np.unique(np.concatenate([rows.indices, items]), return_inverse=True)
    columns = met[:, some].astype(np.float64)
    together = (columns.T @ columns).toarray()
    # Items with few neighbours have places that are left over: nothing is there.
    filled = np.arange(lengths.max(initial=0)) < lengths[:, None]
    places = np.zeros(filled.shape, np.intp)
    places[filled] = local[: len(rows.indices)]
    own = local[len(rows.indices) :]
    grams = together[places[:, :, None], places[:, None, :]]
    grams[~(filled[:, :, None] & filled[:, None, :])] = 0.0
    number = np.arange(filled.shape[1])
    grams[:, number, number] += l2
    answers = np.where(filled, together[places, own[:, None]], 0.0)
    try:
        weights = np.linalg.solve(grams, answers[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError as error:
        raise ValueError(too_small(l2)) from error
    return weights[filled].astype(np.float32)


def too_small(l2: float) -> str:
    """Tell that a penalty does not make a problem definite."""
    return f"l2={l2} is too small: the likes of items are collinear"
