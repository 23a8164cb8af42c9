"""Search in lists, by exact scores of what they give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skmmrec.retrieval._exact import chunks, score_pairs, top_k
from skmmrec.retrieval._index_contents import Contents

# Found beyond what is asked for, as lists are compared in float32; as in exact search.
MARGIN = 8


def find_unseen(
    contents: Contents,
    queries: NDArray[np.float32],
    k: int,
    hidden: csr_array,
    n_probes: int,
    n_threads: int,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Find items with great inner products; see `ApproximateIndex.search`."""
    k = min(k, len(contents))
    positions = np.full((len(queries), k), -1, np.intp)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for part in chunks(len(queries), (k + MARGIN + 1) * queries.shape[1]):
        positions[part], scores[part] = _find_in_chunk(
            contents, queries[part], k, hidden[part], n_probes, n_threads
        )
    return positions, scores


def _find_in_chunk(
    contents: Contents,
    queries: NDArray,
    k: int,
    hidden: csr_array,
    n_probes: int,
    n_threads: int,
) -> tuple[NDArray, NDArray]:
    """Read twice as much for the queries that lack some, until none does."""
    positions = np.full((len(queries), k), -1, np.intp)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    n_keys, n_lists = len(contents.hashes), len(contents.centres.vectors)
    left, fetch = np.arange(len(queries)), k + MARGIN
    enough = np.minimum(k, len(contents) - np.diff(hidden.indptr))
    while len(left):
        fetch, n_probes = min(fetch, n_keys), min(n_probes, n_lists)
        found = contents.find(queries[left], fetch, n_probes, n_threads)
        value = _scores(contents, queries[left], found)
        value[_is_stored(hidden[left], found)] = -np.inf
        best = top_k(value, k)
        scores[left] = np.take_along_axis(value, best, axis=1)
        positions[left] = np.take_along_axis(found, best, axis=1)
        short = np.isfinite(scores[left]).sum(axis=1) < enough[left]
        left = left[short & (fetch < n_keys or n_probes < n_lists)]
        fetch, n_probes = 2 * fetch, 2 * n_probes
    positions[~np.isfinite(scores)] = -1
    return positions, scores


def _scores(
    contents: Contents, queries: NDArray, found: NDArray
) -> NDArray[np.float32]:
    rows, columns = np.nonzero(found >= 0)
    scores = np.full(found.shape, -np.inf, np.float32)
    items = contents.vectors_at(found[rows, columns])
    scores[rows, columns] = score_pairs(queries[rows], items)
    return scores


def _is_stored(matrix: csr_array, columns: NDArray) -> NDArray[np.bool_]:
    """Tell which columns of each row are stored entries; -1 is no column."""
    width = matrix.shape[1]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    stored = rows * width + matrix.indices
    asked = np.arange(len(columns))[:, None] * width + columns
    return np.isin(asked, stored) & (columns >= 0)
