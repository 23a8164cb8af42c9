"""Exact search by inner product, with the same lists on every device.

The last bits of a product of matrices depend on processor, library and shape. So
float32 products only find candidates, a few more than are asked for, and the scores of
`score_pairs`, which are the same everywhere, rank them. Where rounding could have kept
an item from being a candidate, that query is compared with all items in float64.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec.interactions import History
from skmmrec.retrieval._exact import chunks, top_k
from skmmrec.retrieval._products import (
    Block,
    DeviceProducts,
    HostProducts,
    all_scores,
)
from skmmrec.runtime import is_out_of_memory, own_modes, survive_fork

# Candidates beyond those asked for. Neighbouring scores among the best are some
# thousand rounding errors apart, so that eight in a row hardly ever are ties.
MARGIN = 8
# Where the candidates are more than a share of 1/8 of the items, comparing with all of
# them in float64 is cheaper (20 ns a pair, against 170 for a candidate alone).
SHARE = 8
# Units in the last place by which a link's values may be out of order: numpy's float32
# exponential is good to 3.
LINK_ULPS = 8


# For fewer, sending the items to a device takes longer than comparing with them here.
# Not tuned.
FEW_QUERIES = 32

_log = logging.getLogger("skmmrec.retrieval")


class Lists(NamedTuple):
    """Ranked items.

    Attributes
    ----------
    positions : ndarray of shape (n, k)
        Rows of the items, best first, ties by position.
    scores : ndarray of shape (n, k), float32
        Minus infinity where fewer items are left.
    """

    positions: NDArray[np.intp]
    scores: NDArray[np.float32]


class ExactSearch:
    """Find the items of the greatest scores.

    A score is ``link(query @ item + bias + offset)``, float32.

    Parameters
    ----------
    items : ndarray of shape (n_items, d), float32
        Vectors.
    biases : ndarray of shape (n_items,), float32, or None
        Added to the items' scores; None: nothing is.
    device : torch.device
        Where to compute.
    link : callable or None, default=None
        From scores to what ranks, elementwise and never decreasing; None: the same.
    """

    def __init__(
        self,
        items: NDArray[np.float32],
        biases: NDArray[np.float32] | None,
        device: torch.device,
        link: Callable[[NDArray], NDArray] | None = None,
    ) -> None:
        self.items = np.ascontiguousarray(items)
        none = np.zeros(len(items), np.float32)
        self.biases = none if biases is None else np.ascontiguousarray(biases)
        self.device = device
        self.link = link

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        offsets: NDArray[np.float32] | None = None,
        hidden: History | None = None,
    ) -> Lists:
        """Rank the items for each query.

        Parameters
        ----------
        queries : ndarray of shape (n, d), float32
            Vectors.
        k : int
            Items for each.
        offsets : ndarray of shape (n,), float32, or None
            Added to all scores of a query.
        hidden : History of n users, or None
            Items to leave out.
        """
        survive_fork()
        task = _Task(self, np.ascontiguousarray(queries), k, offsets, hidden)
        with own_modes():
            task.run()
        return task.lists


class _Task:
    """One call of `ExactSearch.search`."""

    def __init__(
        self,
        search: ExactSearch,
        queries: NDArray[np.float32],
        k: int,
        offsets: NDArray[np.float32] | None,
        hidden: History | None,
    ) -> None:
        n_queries, n_items = len(queries), len(search.items)
        self.on = search
        self.queries = queries
        self.k = min(k, n_items)
        few = n_queries < FEW_QUERIES
        self.device = torch.device("cpu") if few else search.device
        none = np.zeros(n_queries, np.float32)
        self.offsets = none if offsets is None else offsets
        self.hidden = hidden
        self.lists = Lists(
            np.zeros((n_queries, self.k), np.intp),
            np.full((n_queries, self.k), -np.inf, np.float32),
        )

    def run(self) -> None:
        """Fill the lists; on the CPU where the device has too little memory."""
        try:
            self._fill()
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_out_of_memory(error):
                raise
            _log.info("%s has too little memory: searching on the CPU", self.device)
            self.device = torch.device("cpu")
            self._fill()

    def _fill(self) -> None:
        n_queries, n_items = len(self.queries), len(self.on.items)
        if n_queries == 0 or self.k == 0:
            return
        n_candidates = self.k + MARGIN
        if n_candidates * SHARE >= n_items:
            self._compare_with_all(np.arange(n_queries))
            return
        self._compare_with_all(np.concatenate([*self._rank_candidates(n_candidates)]))

    def _rank_candidates(self, n_candidates: int) -> Iterator[NDArray[np.intp]]:
        """Fill the lists where that is safe, and yield the other rows.

        The next block is on its way while one is ranked here.
        """
        products = self._products(n_candidates)
        errors = products.bound_errors(self.queries, self.offsets)
        started: deque[tuple[slice, Callable[[], Block]]] = deque()
        for part in products.blocks(len(self.queries)):
            hidden = self._hidden_of(np.arange(part.start, part.stop))
            started.append((part, products.start(self.queries[part], hidden)))
            if len(started) == 2:
                part, fetch = started.popleft()
                yield self._rank_block(part, fetch(), errors[part])
        for part, fetch in started:
            yield self._rank_block(part, fetch(), errors[part])

    def _products(self, n_candidates: int) -> HostProducts:
        values = self.on.items, self.on.biases, n_candidates
        if self.device.type == "cpu":
            return HostProducts(*values)
        return DeviceProducts(*values, self.device)

    def _rank_block(
        self, part: slice, block: Block, errors: NDArray[np.float64]
    ) -> NDArray[np.intp]:
        """Fill the lists of a block; return the rows where others may be missing."""
        offsets = self.offsets[part]
        scores = self._scores(block.dots, self.on.biases[block.columns], offsets)
        scores[block.values == -np.inf] = -np.inf
        columns, scores = _in_order(block.columns, scores)
        self.lists.positions[part] = columns[:, : self.k]
        self.lists.scores[part] = scores[:, : self.k]
        least = block.values[:, -1]
        safe = self._limits(least, offsets, errors) < scores[:, self.k - 1]
        safe |= (least == -np.inf) & (errors < np.inf)
        return part.start + np.flatnonzero(~safe)

    def _limits(
        self, least: NDArray[np.float32], offsets: NDArray, errors: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return what the score of an item that is no candidate cannot exceed: (n,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            highest = least.astype(np.float64) + offsets + errors
            limits = self._link(highest.astype(np.float32))
            return limits + LINK_ULPS * np.spacing(np.abs(limits))

    def _compare_with_all(self, rows: NDArray[np.intp]) -> None:
        """Fill the lists of some rows from the exact scores of all items."""
        if len(rows) == 0:
            return
        compare = all_scores(self.on.items, self.device)
        for part in chunks(len(rows), 4 * len(self.on.items)):
            own = rows[part]
            scores = self._scores(
                compare(self.queries[own]), self.on.biases, self.offsets[own]
            )
            hidden = self._hidden_of(own)
            if hidden is not None:
                scores[hidden.users, hidden.items] = -np.inf
            columns = top_k(scores, self.k)
            self.lists.positions[own] = columns
            self.lists.scores[own] = np.take_along_axis(scores, columns, axis=1)

    def _scores(
        self, dots: NDArray[np.float32], biases: NDArray, offsets: NDArray
    ) -> NDArray[np.float32]:
        dots += biases
        dots += offsets[:, None]
        return self._link(dots)

    def _link(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return scores if self.on.link is None else self.on.link(scores)

    def _hidden_of(self, rows: NDArray) -> History | None:
        return None if self.hidden is None else self.hidden.take(rows)


def _in_order(
    columns: NDArray[np.intp], scores: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Sort candidates, which nearly are sorted, by score and then by position."""
    rows = np.flatnonzero((scores[:, 1:] >= scores[:, :-1]).any(axis=1))
    order = np.lexsort((columns[rows], -scores[rows]), axis=1)
    columns[rows] = np.take_along_axis(columns[rows], order, axis=1)
    scores[rows] = np.take_along_axis(scores[rows], order, axis=1)
    return columns, scores
