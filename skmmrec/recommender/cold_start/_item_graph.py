"""The graph of items: those liked together, and those with similar content."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skmmrec.catalog import Blocks
from skmmrec.interactions import History, unit_vectors
from skmmrec.recommender.network import ItemGraph
from skmmrec.retrieval import chunks, nearest_rows, top_k, unit_rows


def item_graph(history: History, content: Blocks, n_neighbors: int) -> ItemGraph:
    """Nearest neighbours by interactions and by each modality, all counting the same.

    Parameters
    ----------
    history : History
        Likes: the similarity of two items is the cosine of their users.
    content : Blocks
        The similarity in a modality is the cosine of the vectors.
    n_neighbors : int
        Neighbours from each source.

    References
    ----------
    X. Zhou and Z. Shen, "A tale of two graphs: freezing and denoising graph structures
    for multimodal recommendation", ACM Multimedia 2023.
    """
    near = _near_in_content(content, content, n_neighbors, np.arange(len(content)))
    return _join([_near_in_interactions(history, n_neighbors), *near])


def graph_of_new(content: Blocks, catalogue: Blocks, n_neighbors: int) -> ItemGraph:
    """Neighbours, in the catalogue, of items without interactions."""
    nobody = np.full(len(content), -1)
    near = _near_in_content(content, catalogue, n_neighbors, nobody)
    none = np.zeros((len(content), n_neighbors))
    return _join([(none.astype(np.int64), none), *near])


def _near_in_interactions(history: History, k: int) -> tuple[NDArray, NDArray]:
    users_of = unit_rows(csr_array(history.to_csr().T))
    near = nearest_rows(users_of, users_of, k)
    rows = np.repeat(np.arange(history.n_items), np.diff(near.indptr))
    places = np.arange(len(rows)) - near.indptr[rows]
    items = np.zeros((history.n_items, k), np.int64)
    weights = np.zeros((history.n_items, k), np.float32)
    items[rows, places], weights[rows, places] = near.indices, near.data
    return items, weights


def _near_in_content(
    content: Blocks, catalogue: Blocks, k: int, itself: NDArray
) -> Iterator[tuple[NDArray, NDArray]]:
    """Neighbours in each modality; `itself` is each row's place in the catalogue."""
    for number, (name, block) in enumerate(content.values.items()):
        there = catalogue.mask[:, number]
        candidates = unit_vectors(catalogue.values[name])
        parts = []
        for part in chunks(len(block), len(candidates)):
            cosines = unit_vectors(block[part]) @ candidates.T
            cosines[:, ~there] = 0.0
            cosines[~content.mask[part, number]] = 0.0
            own = itself[part]
            cosines[np.flatnonzero(own >= 0), own[own >= 0]] = 0.0
            parts.append(_nearest(cosines, k))
        items, weights = zip(*parts, strict=True)
        yield np.concatenate(items), np.concatenate(weights)


def _nearest(cosines: NDArray, k: int) -> tuple[NDArray, NDArray]:
    """Positions and cosines of the `k` nearest; cosines of 0 where there are fewer."""
    best = top_k(cosines, k)
    weights = np.take_along_axis(cosines, best, axis=1)
    missing = [(0, 0), (0, k - best.shape[1])]
    return np.pad(best, missing), np.pad(weights, missing)


def _join(sources: list[tuple[NDArray, NDArray]]) -> ItemGraph:
    """Scale each source's weights to the sum 1, then all of them together."""
    shares = []
    for _, weights in sources:
        positive = np.maximum(weights, 0.0)
        totals = positive.sum(axis=1, keepdims=True)
        shares.append(positive / np.where(totals > 0, totals, 1.0))
    joined = np.concatenate(shares, axis=1)
    totals = joined.sum(axis=1, keepdims=True)
    joined /= np.where(totals > 0, totals, 1.0)
    items = np.concatenate([items for items, _ in sources], axis=1)
    return ItemGraph(items.astype(np.int64), joined.astype(np.float32))
