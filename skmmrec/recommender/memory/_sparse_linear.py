"""Likes of each item, reconstructed from those of its neighbours alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, hstack

from skmmrec.recommender.memory._errors import too_small
from skmmrec.retrieval import nearest_rows, squared_lengths, unit_rows

if TYPE_CHECKING:
    import torch

# Items whose matrix an accelerator makes as a whole: 1 GB of int32.
MAX_DENSE = 2**14
# Items whose co-occurrences are in memory at a time: 8 MB of float64, which a cache
# holds. With 4,096, most of the time of few neighbours went into filling zeros.
ITEMS_AT_ONCE = 1024


class Reconstruction(NamedTuple):
    """Likes of each item, as a sum of those of others.

    Attributes
    ----------
    weights : csr_array of shape (n_items, n_items), float32
        Row j holds what each of its neighbours says of item j.
    left : ndarray of shape (n_items,), float64
        Likes of each item that this does not explain, and the penalty: its precision
        is one over this, where an item and its neighbours are all there is.
    """

    weights: csr_array
    left: NDArray[np.float64]

    def said(self, power: float = 0.0) -> csr_array:
        """Weights by who says it, divided by a power of what is left: transposed."""
        weights = self.weights
        if power:
            scale = np.repeat(self.left**-power, np.diff(weights.indptr))
            data = (weights.data * scale).astype(np.float32)
            weights = csr_array((data, weights.indices, weights.indptr), weights.shape)
        return csr_array(weights.T)


def neighbour_weights(met: csr_array, n_neighbors: int, l2: float) -> csr_array:
    """Weights that best reconstruct the likes of each item from those of a few others.

    As `reconstruct`.

    Returns
    -------
    csr_array of shape (n_items, n_items), float32
        Column j holds what each item says of item j.
    """
    return reconstruct(met, n_neighbors, l2).said()


def reconstruct(
    met: csr_array,
    n_neighbors: int,
    l2: float,
    where: torch.device | None = None,
    wanted: csr_array | None = None,
) -> Reconstruction:
    """Reconstruct the likes of each item from those of its nearest neighbours.

    `met`, of shape (n_users, n_items), has a 1 for each like. Neighbours are those with
    the greatest cosine of co-occurrence; `l2` is the penalty of the squared weights.
    `where` is an accelerator to compute on, if there are few enough items. `wanted`, of
    the same shape, is reconstructed from `met` in place of `met` itself, on the host.
    A ValueError says that `l2` is too small for likes that are collinear.
    """
    if where is not None and wanted is None and met.shape[1] <= MAX_DENSE:
        from skmmrec.recommender.memory._dense import reconstruct_densely

        return Reconstruction(*reconstruct_densely(met, n_neighbors, l2, where))
    columns = csc_array(met)
    asked = columns if wanted is None else csc_array(wanted)
    likes = csr_array(asked.T)
    # Nothing explains an item without neighbours. Those of a trial are many.
    left = squared_lengths(likes) + l2
    units = unit_rows(likes)
    others = units if wanted is None else unit_rows(csr_array(columns.T))
    nearest = nearest_rows(units, others, n_neighbors)
    del likes, units, others  # as large as what they are made of
    for items, weights, rest in _solutions(columns, asked, nearest, l2):
        nearest.data[_entries(nearest, items)] = weights
        left[items] = rest
    return Reconstruction(nearest, left)


def _entries(matrix: csr_array, rows: NDArray) -> slice:
    """Find what ascending rows store, where those between them store nothing."""
    return slice(matrix.indptr[rows[0]], matrix.indptr[rows[-1] + 1])


def _solutions(
    met: csc_array, wanted: csc_array, nearest: csr_array, l2: float
) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """Yield items, the weights of each one's neighbours in order, and what is left."""
    lengths = np.diff(nearest.indptr)
    step = max(1, ITEMS_AT_ONCE // (int(lengths.max(initial=0)) + 1))
    spoken_of, numbers = np.flatnonzero(lengths), np.empty(met.shape[0], np.int64)
    for start in range(0, len(spoken_of), step):
        items = spoken_of[start : start + step]
        yield items, *_solve(met, wanted, nearest, items, l2, numbers)


def _solve(
    met: csc_array,
    wanted: csc_array,
    nearest: csr_array,
    items: NDArray,
    l2: float,
    numbers: NDArray,
) -> tuple[NDArray, NDArray]:
    """Solve the normal equations of some items, all at once.

    `numbers`, of shape (n_users,), is written over.
    """
    rows = nearest[items]
    lengths = np.diff(rows.indptr)
    if wanted is met:
        named = np.concatenate([rows.indices, items])
        some, local = np.unique(named, return_inverse=True)
        columns, own = met[:, some], local[len(rows.indices) :]
    else:
        some, local = np.unique(rows.indices, return_inverse=True)
        columns = csc_array(hstack([met[:, some], wanted[:, items]]))
        own = len(some) + np.arange(len(items))
    columns = _of_few_users(columns.astype(np.float64), numbers)
    together = (columns.T @ columns).toarray()
    # Items with few neighbours have places that are left over: nothing is there.
    filled = np.arange(lengths.max(initial=0)) < lengths[:, None]
    places = np.zeros(filled.shape, np.intp)
    places[filled] = local[: len(rows.indices)]
    grams = together[places[:, :, None], places[:, None, :]]
    grams[~(filled[:, :, None] & filled[:, None, :])] = 0.0
    number = np.arange(filled.shape[1])
    grams[:, number, number] += l2
    answers = np.where(filled, together[places, own[:, None]], 0.0)
    try:
        weights = np.linalg.solve(grams, answers[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError as error:
        raise ValueError(too_small(l2)) from error
    left = together[own, own] + l2 - np.einsum("nk,nk->n", weights, answers)
    return weights[filled].astype(np.float32), left


def _of_few_users(columns: csc_array, numbers: NDArray) -> csc_array:
    """Leave out users without a like: to multiply takes some time for each user.

    Each of the others gets the number of one of its likes. `numbers`, of shape
    (n_users,), is written over.
    """
    n_likes, users = len(columns.indices), columns.indices
    if n_likes >= columns.shape[0]:
        return columns
    numbers[users] = np.arange(n_likes)
    entries = columns.data, numbers[users], columns.indptr
    return csc_array(entries, shape=(n_likes, columns.shape[1]))
