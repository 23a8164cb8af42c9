"""How much an approximate index finds, measured against the exact search."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skmmrec.retrieval._exact import top_k
from skmmrec.retrieval._index_contents import Contents
from skmmrec.retrieval._index_search import find_unseen
from skmmrec.retrieval._inverted_lists import PER_CENTRE
from skmmrec.retrieval._search import ExactSearch
from skmmrec.retrieval._vector_rows import checked, slices

# Length of the lists that recall is measured by.
K = 10
# Items compared at a time: 256 MB of vectors, 64 wide.
AT_ONCE = 1_000_000
# How many more lists each attempt reads. Not tuned.
MORE = 1.3


def sample_rows(
    matrix: NDArray, ids: pd.Index, n_lists: int, seed: int
) -> NDArray[np.float32]:
    """Draw vectors to learn lists from, in the order of the rows."""
    n_drawn = min(len(matrix), PER_CENTRE * n_lists)
    draw = np.random.default_rng(seed)
    rows = np.sort(draw.choice(len(matrix), n_drawn, replace=False))
    return checked(matrix, rows, ids)


def best_of_all(
    contents: Contents, queries: NDArray[np.float32], k: int
) -> NDArray[np.intp]:
    """Positions of the truly best items, (n, min(k, n_items)), ties by position."""
    k = min(k, len(contents))
    positions = np.empty((len(queries), 0), np.intp)
    scores = np.empty((len(queries), 0), np.float32)
    for part in slices(len(contents), AT_ONCE):
        search = ExactSearch(contents.vectors_at(part), None, torch.device("cpu"))
        own = search.search(queries, k)
        positions = np.hstack([positions, own.positions + part.start])
        scores = np.hstack([scores, own.scores])
        best = top_k(scores, k)
        positions = np.take_along_axis(positions, best, axis=1)
        scores = np.take_along_axis(scores, best, axis=1)
    return positions


def choose_probes(
    contents: Contents,
    queries: NDArray[np.float32],
    min_recall: float,
    n_probes: int | None,
    n_threads: int,
) -> tuple[int, float]:
    """Choose how many lists to read, and measure what share is found.

    The number is the first of growing ones that is enough for half of the queries, or
    the one that is given; the recall is for the other half, or for a single query.
    """
    k, n_lists = min(K, len(contents)), len(contents.centres.vectors)
    best = best_of_all(contents, queries, k)
    half = (len(queries) + 1) // 2
    probes = 1 if n_probes is None else n_probes
    if n_probes is None:
        asked, wanted = queries[:half], best[:half]
        while _recall(contents, asked, wanted, probes, n_threads) < min_recall:
            if probes >= n_lists:
                break
            probes = int(MORE * probes) + 1
    probes = min(probes, n_lists)
    rest = slice(half, None) if len(queries) > 1 else slice(None)
    return probes, _recall(contents, queries[rest], best[rest], probes, n_threads)


def _recall(
    contents: Contents,
    queries: NDArray[np.float32],
    best: NDArray[np.intp],
    n_probes: int,
    n_threads: int,
) -> float:
    nothing = csr_array((len(queries), len(contents)))
    k = best.shape[1]
    found = find_unseen(contents, queries, k, nothing, n_probes, n_threads)[0]
    return share_found(found, best)


def share_found(found: NDArray[np.intp], best: NDArray[np.intp]) -> float:
    """Share of the best positions that are found, of (n, k) each."""
    if best.size == 0:
        return 1.0
    hits = sum(np.isin(b, f).sum() for f, b in zip(found, best, strict=True))
    return float(hits / best.size)
