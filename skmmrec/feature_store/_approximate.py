"""An approximate index beside the store, rebuilt when the items change."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from skmmrec._sklearn import clone
from skmmrec.feature_store.backends.base import VectorTable
from skmmrec.retrieval import ApproximateIndex


class SwappedIndex:
    """The graph of the items that are served, built in a thread of its own.

    Parameters
    ----------
    template : ApproximateIndex
        Cloned for each build.

    Notes
    -----
    A graph answers for the very table that it was built from. While a new one is
    built there is none, and the caller searches exactly: nothing stale is found.
    """

    def __init__(self, template: ApproximateIndex) -> None:
        self._template = template
        self._lock = threading.Lock()
        self._built: tuple[VectorTable | None, ApproximateIndex | None] = None, None
        self._building: VectorTable | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def of(self, table: VectorTable) -> ApproximateIndex | None:
        """Return the graph of a table, or None while it is being built.

        Raises
        ------
        RuntimeError
            When it cannot be built.
        """
        source, graph = self._built
        if source is table:
            return graph
        with self._lock:
            if self._building is not table:
                self._building, self._error = table, None
                build = threading.Thread(target=self._build, args=(table,), daemon=True)
                self._thread = build
                build.start()
            error = self._error
        if error is not None:
            raise RuntimeError(
                f"the approximate index was not built: {error}"
            ) from error
        return None

    def wait(self, table: VectorTable) -> ApproximateIndex:
        """Return the graph of a table when it is built."""
        while (graph := self.of(table)) is None:
            if self._thread is not None:
                self._thread.join()
        return graph

    def _build(self, table: VectorTable) -> None:
        items = pd.DataFrame(table.matrix, index=table.ids)
        try:
            graph = clone(self._template).fit(items)
        except Exception as error:
            with self._lock:
                self._error = error if self._building is table else self._error
            return
        with self._lock:
            if self._building is table:
                self._built = table, graph


def nearest_in(
    graph: ApproximateIndex, query: np.ndarray, k: int, hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Search as `_search.nearest` does, for inner products, some rows left out.

    Returns
    -------
    rows : int64 ndarray of shape (at most k,)
    distances : float64 ndarray of the same shape
        Minus the inner products.
    """
    n = len(graph.item_vectors_)
    columns = np.unique(hidden)
    seen = csr_array((np.ones(len(columns)), columns, [0, len(columns)]), shape=(1, n))
    rows, scores = graph.search(query[None], k, seen=seen)
    found = rows[0] >= 0
    return rows[0][found].astype(np.int64), -scores[0][found].astype(np.float64)
