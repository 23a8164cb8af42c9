"""Likes of each item, reconstructed from those of its neighbours alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, diags_array, eye_array, hstack

from skmmrec.recommender.memory._errors import too_small
from skmmrec.recommender.memory._pair_sums import PairSums
from skmmrec.retrieval import Lookup, nearest_rows, squared_lengths, unit_rows

if TYPE_CHECKING:
    import torch

# Items whose matrix an accelerator makes as a whole: 1 GB of int32, or 3 GB of float32
# while sums over what comes next are added.
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
    sums: PairSums | None = None,
) -> Reconstruction:
    """Reconstruct the likes of each item from those of its nearest neighbours.

    `met`, of shape (n_users, n_items), has a 1 for each like. Neighbours are those with
    the greatest cosine of co-occurrence; `l2` is the penalty of the squared weights.
    `where` is an accelerator to compute on, if there are few enough items. With `sums`,
    likes are also reconstructed from those before them; all likes of `met` are then of
    one weight.

    A ValueError says that `l2` is too small for likes that are collinear.
    """
    if where is not None and met.shape[1] <= MAX_DENSE:
        from skmmrec.recommender.memory._dense import reconstruct_densely

        return Reconstruction(*reconstruct_densely(met, n_neighbors, l2, where, sums))
    columns = csc_array(met)
    likes = csr_array(columns.T)
    # Nothing explains an item without neighbours. Those of a trial are many.
    left = squared_lengths(likes) + l2
    if sums is None:
        units = unit_rows(likes)
        nearest = nearest_rows(units, units, n_neighbors)
        del units  # as large as what they are made of
    else:
        left += sums.likes
        nearest = _nearest_before(likes, sums, n_neighbors)
    nearest.sort_indices()
    solved = _Solver(columns, nearest, l2, sums)
    for items, weights, explained in solved.all():
        nearest.data[_entries(nearest, items)] = weights
        left[items] -= explained
    return Reconstruction(nearest, left)


def _nearest_before(likes: csr_array, sums: PairSums, n_neighbors: int) -> csr_array:
    """Find the neighbours of each item among those that come before or together.

    `likes` is of shape (n_items, n_users).
    """
    own = squared_lengths(likes)
    lengths = own + sums.likes, own + sums.beside.diagonal()
    scales = (
        diags_array(1 / np.sqrt(np.where(each == 0, 1.0, each))) for each in lengths
    )
    wanted = hstack([likes, eye_array(len(own))])
    met = hstack([likes, sums.before])
    left, right = (
        csr_array(scale @ side, dtype=np.float32)
        for scale, side in zip(scales, (wanted, met), strict=True)
    )
    return nearest_rows(left, right, n_neighbors)


def _entries(matrix: csr_array, rows: NDArray) -> slice:
    """Find what ascending rows store, where those between them store nothing."""
    return slice(matrix.indptr[rows[0]], matrix.indptr[rows[-1] + 1])


class _Solver:
    """Solves the normal equations of items, some at once.

    Parameters
    ----------
    met : csc_array of shape (n_users, n_items)
        Likes.
    nearest : csr_array of shape (n_items, n_items)
        Neighbours of each item, whose columns ascend.
    l2 : float
        Penalty.
    sums : PairSums or None
        Of the likes before each like.
    """

    def __init__(
        self, met: csc_array, nearest: csr_array, l2: float, sums: PairSums | None
    ) -> None:
        self._met, self._nearest, self._l2 = met, nearest, l2
        self._numbers = np.empty(met.shape[0], np.int64)
        self._sums = sums and (Lookup(sums.before), Lookup(sums.beside))

    def all(self) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
        """Yield items, the weights of each one's neighbours, and what they explain."""
        lengths = np.diff(self._nearest.indptr)
        step = max(1, ITEMS_AT_ONCE // (int(lengths.max(initial=0)) + 1))
        spoken_of = np.flatnonzero(lengths)
        for start in range(0, len(spoken_of), step):
            items = spoken_of[start : start + step]
            yield items, *self._solve(items)

    def _solve(self, items: NDArray) -> tuple[NDArray, NDArray]:
        rows = self._nearest[items]
        lengths = np.diff(rows.indptr)
        # Items with few neighbours have places that are left over: nothing is there.
        filled = np.arange(lengths.max(initial=0)) < lengths[:, None]
        near = np.zeros(filled.shape, np.intp)
        near[filled] = rows.indices
        grams, answers = self._equations(near, filled, items)
        grams[~(filled[:, :, None] & filled[:, None, :])] = 0.0
        number = np.arange(filled.shape[1])
        grams[:, number, number] += self._l2
        answers = np.where(filled, answers, 0.0)
        try:
            weights = np.linalg.solve(grams, answers[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError as error:
            raise ValueError(too_small(self._l2)) from error
        explained = np.einsum("nk,nk->n", weights, answers)
        return weights[filled].astype(np.float32), explained

    def _equations(
        self, near: NDArray, filled: NDArray, items: NDArray
    ) -> tuple[NDArray, NDArray]:
        """Products of the neighbours with one another, and with each item."""
        named = np.concatenate([near.ravel(), items])
        some, local = np.unique(named, return_inverse=True)
        columns = _of_few_users(self._met[:, some].astype(np.float64), self._numbers)
        together = (columns.T @ columns).toarray()
        places, own = local[: near.size].reshape(near.shape), local[near.size :]
        grams = together[places[:, :, None], places[:, None, :]]
        answers = together[places, own[:, None]]
        if self._sums is not None:
            before, beside = self._sums
            at = np.nonzero(filled)
            answers[at] += before.at_many(near[at], items[at[0]])
            pairs = np.triu_indices(near.shape[1])
            rows, pair = np.nonzero(filled[:, pairs[1]])
            one, other = (each[pair] for each in pairs)
            grams[rows, one, other] += beside.at_many(
                near[rows, one], near[rows, other]
            )
            grams[rows, other, one] = grams[rows, one, other]
        return grams, answers


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
