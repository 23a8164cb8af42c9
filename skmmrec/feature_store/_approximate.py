"""An approximate index beside the store, brought up to date when the items change."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from feast import FeatureStore
from scipy.sparse import csr_array

from skmmrec._sklearn import clone
from skmmrec.feature_store.backends.base import Added, VectorTable, nearest_among
from skmmrec.retrieval import MANY_ITEMS, N_QUERIES, ApproximateIndex

# The recall is measured with items as queries until so many users have asked, and then
# with the last of these, as many as the index looks at.
ENOUGH = 128

_log = logging.getLogger("skmmrec.feature_store")


class SwappedIndex:
    """The index of the items that are served, built in a thread of its own.

    Parameters
    ----------
    template : ApproximateIndex or "auto"
        Cloned for each build. "auto": one with defaults, for more than 500,000 items,
        where it is installed and faster than exact search.
    folder : Path or None
        Where it is kept for the next process; None: in memory.

    Notes
    -----
    An index answers for the very table that it was made for. While it is brought up to
    date there is none, and the caller searches exactly: nothing stale is found.
    """

    def __init__(
        self, template: ApproximateIndex | Literal["auto"], folder: Path | None
    ) -> None:
        self._template = template
        self._folder = folder
        self._lock = threading.Lock()
        self._built: tuple[VectorTable | None, ApproximateIndex | None] = None, None
        self._building: VectorTable | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._asked: deque[np.ndarray] = deque(maxlen=N_QUERIES)
        self._is_measured = False

    def of(
        self, table: VectorTable, users: Sequence[np.ndarray] = ()
    ) -> ApproximateIndex | None:
        """Return the index of a table, or None while it is being built.

        Also where it would not be faster. `users` are vectors of who asks, by whom the
        recall is measured.

        Raises RuntimeError when it cannot be built.
        """
        if not self._is_wanted(table):
            return None
        self._asked.extend(users)
        source, graph = self._built
        if source is table and (self._is_measured or len(self._asked) < ENOUGH):
            return self._if_fast(graph)
        with self._lock:
            if self._building is not table or source is table:
                self._start(table)
            error = self._error
        if source is table:
            return self._if_fast(graph)
        if error is not None:
            raise RuntimeError(
                f"the approximate index was not built: {error}"
            ) from error
        return None

    def wait(self, table: VectorTable) -> ApproximateIndex | None:
        """Return the index of a table when it is built, as `of` does."""
        while self._is_wanted(table):
            graph = self.of(table)
            if graph is not None or self._built[0] is table:
                return graph
            if self._thread is not None:
                self._thread.join()
        return None

    def _is_wanted(self, table: VectorTable) -> bool:
        return self._template != "auto" or len(table.ids) > MANY_ITEMS

    def _if_fast(self, graph: ApproximateIndex | None) -> ApproximateIndex | None:
        is_slow = graph is None or (self._template == "auto" and not graph.is_fast_)
        return None if is_slow else graph

    def _start(self, table: VectorTable) -> None:
        """Build in a thread, unless one does so for this table."""
        is_busy = self._thread is not None and self._thread.is_alive()
        if is_busy and self._building is table:
            return
        self._building, self._error = table, None
        build = threading.Thread(target=self._build, args=(table,), daemon=True)
        self._thread = build
        build.start()

    def _build(self, table: VectorTable) -> None:
        before = self._built[1]
        users = np.stack([*self._asked]) if len(self._asked) >= ENOUGH else None
        try:
            graph = self._made(table, before, users)
        except Exception as error:
            self._note(table, error)
            return
        with self._lock:
            if self._building is table:
                self._built = table, graph
                self._is_measured = users is not None

    def _note(self, table: VectorTable, error: Exception) -> None:
        """Remember why there is none; go on without it if nobody asked for it."""
        is_wished = self._template != "auto"
        if not is_wished and not isinstance(error, ImportError):
            _log.warning("the search stays exact, as no index was built: %s", error)
        with self._lock:
            if self._building is not table:
                return
            if is_wished:
                self._error = error
            else:
                self._built, self._is_measured = (table, None), True

    def _made(
        self,
        table: VectorTable,
        before: ApproximateIndex | None,
        users: np.ndarray | None,
    ) -> ApproximateIndex:
        """Bring an index up to date with a table, or build one."""
        items = pd.DataFrame(table.matrix, index=table.ids, copy=False)
        known = self._kept() if before is None else copy(before)
        if known is None or known.n_features_in_ != table.dim:
            return self._written(self._fresh().fit, items, queries=users)
        graph: ApproximateIndex = self._written(known.update, items)
        return graph if users is None else graph.measure(users)

    def _fresh(self) -> ApproximateIndex:
        template = self._template
        if template == "auto":
            return ApproximateIndex()
        fresh: ApproximateIndex = clone(template)
        return fresh

    def _written(self, build: Any, items: pd.DataFrame, **options: Any) -> Any:
        """Build in the folder; in memory where that cannot be written."""
        try:
            return build(items, folder=self._folder, **options)
        except OSError as error:
            if self._folder is None:
                raise
            _log.warning("the index of the items is only kept in memory: %s", error)
            self._folder = None
            return build(items, **options)

    def _kept(self) -> ApproximateIndex | None:
        """Open what an earlier process has left, of whatever items."""
        if self._folder is None:
            return None
        try:
            kept = ApproximateIndex.load(self._folder)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("the index of the items is built anew: %s", error)
            return None
        wanted = self._fresh().get_params()
        kept.set_params(n_threads=wanted["n_threads"])
        return kept if kept.get_params() == wanted else None


def folder_beside(store: FeatureStore) -> Path | None:
    """Return where to keep an index beside a database that is a file."""
    path_of = getattr(store.provider.online_store, "db_path", None)
    return None if path_of is None else Path(path_of(store.config) + ".index")


def nearest_in(
    graph: ApproximateIndex, query: np.ndarray, k: int, hidden: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Search as `_search.nearest` does, for inner products, some rows left out.

    Rows and float64 distances have shape (at most k,); distances are minus the inner
    products.
    """
    n = len(graph.item_index_)
    columns = np.unique(hidden)
    seen = csr_array((np.ones(len(columns)), columns, [0, len(columns)]), shape=(1, n))
    rows, scores = graph.search(query[None], k, seen=seen)
    found = rows[0] >= 0
    return rows[0][found].astype(np.int64), -scores[0][found].astype(np.float64)


def nearest_with(
    graph: ApproximateIndex,
    table: VectorTable,
    query: np.ndarray,
    k: int,
    hidden: np.ndarray,
    added: Added,
) -> tuple[np.ndarray, np.ndarray]:
    """Search as `nearest_in` does, for sums of inner products and what is added.

    `graph` is of the items of `table`, and the rows in `hidden` are left out. All else
    is as in `nearest_among`.

    Notes
    -----
    Whatever is added to is scored exactly. Of the others, none is among the k best that
    is not among the k of the index: those before it there are not lowered, as items to
    which less than 0 is added are hidden from the index.
    """
    lowered = added.rows[added.scores < 0]
    found, _ = nearest_in(graph, query, k, np.concatenate([hidden, lowered]))
    raised = np.setdiff1d(added.rows, hidden)
    return nearest_among(table, query, k, np.union1d(found, raised), added)
