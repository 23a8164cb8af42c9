"""Approximate top-k retrieval for large catalogues."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import BaseEstimator
from skmmrec.retrieval._exact import chunks, score_pairs, top_k


class ApproximateIndex(BaseEstimator):
    """Graph of items that quickly finds those with the greatest inner products.

    A search looks at a few hundred items instead of all of them, and misses some of the
    best; `recall` measures how many. It pays off from several 100,000 items on. With
    fewer, the exact search of `recommend` is as fast.

    Parameters
    ----------
    connectivity : int, default=32
        Links of each item in the graph. More find more and take more memory.
    expansion_add : int, default=128
        Items looked at for each item that is added.
    expansion_search : int, default=128
        Items that each search looks at, at least. More find more and take longer.
    dtype : {"f32", "f16"}, default="f32"
        Numbers in the graph; "f16" halves its memory. The scores of what is found are
        exact in any case.
    n_threads : int, default=1
        Threads to add and to search with; 0 for all. With more than one the graph, and
        so what is missed, varies from run to run.

    Attributes
    ----------
    item_vectors_ : ndarray of shape (n_items, d), float32
        What `fit` was given.
    item_index_ : Index of length n_items
        Their ids.

    Notes
    -----
    The graph is a hierarchical navigable small world [1]_, built by the package
    usearch: install the extra ``index``. It holds the vectors less their mean, which
    moves all scores of a query alike and makes far more of the best be found.

    References
    ----------
    .. [1] Y. A. Malkov and D. A. Yashunin, "Efficient and robust approximate nearest
       neighbor search using hierarchical navigable small world graphs", IEEE
       Transactions on Pattern Analysis and Machine Intelligence 42(4), 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmmrec.retrieval import ApproximateIndex
    >>> rng = np.random.default_rng(0)
    >>> items = pd.DataFrame(rng.normal(size=(500, 8)).astype(np.float32))
    >>> users = rng.normal(size=(20, 8))
    >>> index = ApproximateIndex().fit(items)
    >>> positions, scores = index.search(users, k=5)
    >>> positions.shape, scores.dtype
    ((20, 5), dtype('float32'))
    >>> float(index.recall(users, k=5))
    1.0
    """

    item_vectors_: NDArray[np.float32]
    item_index_: pd.Index

    def __init__(
        self,
        *,
        connectivity: int = 32,
        expansion_add: int = 128,
        expansion_search: int = 128,
        dtype: Literal["f32", "f16"] = "f32",
        n_threads: int = 1,
    ) -> None:
        self.connectivity = connectivity
        self.expansion_add = expansion_add
        self.expansion_search = expansion_search
        self.dtype = dtype
        self.n_threads = n_threads

    def fit(self, items: pd.DataFrame) -> Self:
        """Build the graph.

        Parameters
        ----------
        items : DataFrame of shape (n_items, d)
            Vectors by item id, such as ``recommender.serving_vectors().items``, in
            which the last column is the item's bias.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            Without the package usearch.
        ValueError
            For no items, or a number that is not finite.
        """
        vectors = np.ascontiguousarray(items.to_numpy(np.float32))
        if vectors.size == 0:
            raise ValueError(f"items is empty: its shape is {vectors.shape}")
        odd = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(odd):
            raise ValueError(
                f"the vector of item {items.index[odd[0]]!r} (row {odd[0]}) is not "
                f"finite ({len(odd)} such items)"
            )
        self._graph = self._new_graph(vectors.shape[1])
        centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._graph.add(np.arange(len(vectors)), centred, threads=self.n_threads)
        self.item_vectors_ = vectors
        self.item_index_ = items.index
        return self

    def search(
        self, queries: ArrayLike, k: int, *, seen: csr_array | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Find items with great inner products.

        Parameters
        ----------
        queries : array-like of shape (n, d)
            Such as the rows of ``recommender.serving_vectors().users``.
        k : int
            Items per query.
        seen : sparse matrix of shape (n, n_items) or None, default=None
            Its stored entries are left out: more is fetched until `k` others are found.

        Returns
        -------
        positions : ndarray of shape (n, min(k, n_items))
            Rows of the items, best first, ties by position; -1 where fewer are left.
        scores : ndarray of the same shape, float32
            Inner products; minus infinity where fewer are left.

        Raises
        ------
        ValueError
            For queries of another width, or `seen` of another shape.
        """
        check_is_fitted(self, "item_vectors_")
        queries = self._check_queries(queries)
        n_items = len(self.item_vectors_)
        hidden = csr_array((len(queries), n_items)) if seen is None else csr_array(seen)
        if hidden.shape != (len(queries), n_items):
            raise ValueError(
                f"seen must have shape {(len(queries), n_items)}, got {hidden.shape}"
            )
        k = min(k, n_items)
        positions = np.full((len(queries), k), -1, np.intp)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        for part in chunks(len(queries), (k + 1) * queries.shape[1]):
            found = self._search_unseen(queries[part], k, hidden[part])
            positions[part], scores[part] = found
        return positions, scores

    def recall(self, queries: ArrayLike, k: int) -> float:
        """Share of the truly best items that `search` finds.

        Parameters
        ----------
        queries : array-like of shape (n, d)
            A sample of users: the exact search takes time linear in n times n_items.
        k : int
            Length of the lists.

        Returns
        -------
        float
            Mean over the queries, between 0 and 1.
        """
        queries = self._check_queries(queries)
        found = self.search(queries, k)[0]
        kept = 0
        for part in chunks(len(queries), len(self.item_vectors_)):
            exact = top_k(queries[part] @ self.item_vectors_.T, k)
            kept += (found[part, :, None] == exact[:, None, :]).sum()
        return kept / found.size

    def _search_unseen(
        self, queries: NDArray, k: int, hidden: csr_array
    ) -> tuple[NDArray, NDArray]:
        """Fetch twice as many for the queries that lack some, until none does."""
        positions = np.full((len(queries), k), -1, np.intp)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        n_items, left, fetch = len(self.item_vectors_), np.arange(len(queries)), k
        enough = np.minimum(k, n_items - np.diff(hidden.indptr))
        while len(left):
            found = self._fetch(queries[left], fetch)
            value = self._scores(queries[left], found)
            value[_is_stored(hidden[left], found)] = -np.inf
            best = top_k(value, k)
            scores[left] = np.take_along_axis(value, best, axis=1)
            positions[left] = np.take_along_axis(found, best, axis=1)
            short = np.isfinite(scores[left]).sum(axis=1) < enough[left]
            left = left[short & (fetch < n_items)]
            fetch = min(n_items, 2 * fetch)
        positions[~np.isfinite(scores)] = -1
        return positions, scores

    def _fetch(self, queries: NDArray, count: int) -> NDArray[np.intp]:
        """Positions of items, ascending; -1 where the graph gives fewer."""
        matches = self._graph.search(queries, count, threads=self.n_threads)
        found = np.full((len(queries), count), -1, np.intp)
        if len(queries) == 1:  # usearch answers a single query in another form
            found[0, : len(matches)] = matches.keys
        else:
            given = np.arange(count) < matches.counts[:, None]
            found[given] = matches.keys[given]
        found.sort(axis=1)
        return found

    def _scores(self, queries: NDArray, found: NDArray) -> NDArray[np.float32]:
        rows, columns = np.nonzero(found >= 0)
        scores = np.full(found.shape, -np.inf, np.float32)
        items = self.item_vectors_[found[rows, columns]]
        scores[rows, columns] = score_pairs(queries[rows], items)
        return scores

    def _new_graph(self, width: int) -> Any:
        try:
            from usearch.index import Index
        except ImportError as error:
            raise ImportError(
                "An approximate index needs usearch: pip install 'skmmrec[index]'"
            ) from error
        return Index(
            ndim=width,
            metric="ip",
            dtype=self.dtype,
            connectivity=self.connectivity,
            expansion_add=self.expansion_add,
            expansion_search=self.expansion_search,
        )

    def _check_queries(self, queries: ArrayLike) -> NDArray[np.float32]:
        check_is_fitted(self, "item_vectors_")
        table = np.ascontiguousarray(queries, dtype=np.float32)
        width = self.item_vectors_.shape[1]
        if table.ndim != 2 or table.shape[1] != width:
            raise ValueError(
                f"queries must have shape (n, {width}) like the items, got "
                f"{table.shape}"
            )
        return table

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {**state, "_graph": self._graph.save()} if "_graph" in state else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_graph" in state:
            self._graph = self._new_graph(self.item_vectors_.shape[1])
            self._graph.load(state["_graph"])


def _is_stored(matrix: csr_array, columns: NDArray) -> NDArray[np.bool_]:
    """Tell which columns of each row are stored entries; -1 is no column."""
    width = matrix.shape[1]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    stored = rows * width + matrix.indices
    asked = np.arange(len(columns))[:, None] * width + columns
    return np.isin(asked, stored) & (columns >= 0)
