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
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skmmrec.interactions import History
from skmmrec.retrieval._exact import chunks, top_k
from skmmrec.retrieval._exact_products import all_scores, bound_lengths
from skmmrec.retrieval._products import Block, DeviceProducts, HostProducts
from skmmrec.retrieval._sparse import entries_at
from skmmrec.runtime import is_out_of_memory, own_modes, survive_fork

# Candidates beyond those asked for. Neighbouring scores among the best are some
# thousand rounding errors apart, so that eight in a row hardly ever are ties.
MARGIN = 8
# Where the candidates are more than a share of 1/8 of the items, comparing with all of
# them in float64 is cheaper (20 ns a pair, against 170 for a candidate alone).
SHARE = 8
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

    A score is ``query @ item + bias + offset + added``, float32.

    Parameters
    ----------
    items : ndarray of shape (n_items, d), float32
        Vectors.
    biases : ndarray of shape (n_items,), float32, or None
        Added to the items' scores; None: nothing is.
    device : torch.device
        Where to compute.
    longest : float or None, default=None
        No item is longer, as `bound_lengths` tells of `items` or more; None: look.
    """

    def __init__(
        self,
        items: NDArray[np.float32],
        biases: NDArray[np.float32] | None,
        device: torch.device,
        longest: float | None = None,
    ) -> None:
        self.items = np.ascontiguousarray(items)
        none = np.zeros(len(items), np.float32)
        self.biases = none if biases is None else np.ascontiguousarray(biases)
        self.device = device
        self.longest = bound_lengths(items) if longest is None else longest

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        offsets: NDArray[np.float32] | None = None,
        hidden: History | None = None,
        added: csr_array | None = None,
    ) -> Lists:
        """Rank the items for each query.

        Queries have shape (n, d). `offsets` are added to all scores of a query, and
        `added`, of shape (n, n_items), to those of single items; its columns ascend.
        `hidden` are items to leave out.
        """
        survive_fork()
        task = _Task(self, np.ascontiguousarray(queries), k, offsets, hidden, added)
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
        added: csr_array | None,
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
        self.added = added
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
        n_candidates = min(self.k + MARGIN, n_items)
        if n_candidates * SHARE >= n_items:
            self._compare_with_all(np.arange(n_queries))
            return
        # The modes of torch change nothing in how candidates are found on the CPU.
        on_cpu = self.device.type == "cpu"
        with nullcontext() if on_cpu else own_modes():
            rows = np.concatenate([*self._rank_candidates(n_candidates)])
        if len(rows):
            self._compare_with_all(rows)

    def _rank_candidates(self, n_candidates: int) -> Iterator[NDArray[np.intp]]:
        """Fill the lists where that is safe, and yield the other rows.

        The next block is on its way while one is ranked here.
        """
        products = self._products(n_candidates)
        errors = products.bound_errors(self.queries, self.offsets, self.added)
        started: deque[tuple[slice, Callable[[], Block]]] = deque()
        for part in products.blocks(len(self.queries)):
            hidden = self._hidden_of(np.arange(part.start, part.stop))
            added = None if self.added is None else self.added[part]
            started.append((part, products.start(self.queries[part], hidden, added)))
            if len(started) == 2:
                part, fetch = started.popleft()
                yield self._rank_block(part, fetch(), errors[part])
        for part, fetch in started:
            yield self._rank_block(part, fetch(), errors[part])

    def _products(self, n_candidates: int) -> HostProducts:
        values = self.on.items, self.on.biases, self.on.longest, n_candidates
        if self.device.type == "cpu":
            return HostProducts(*values)
        return DeviceProducts(*values, self.device)

    def _rank_block(
        self, part: slice, block: Block, errors: NDArray[np.float64]
    ) -> NDArray[np.intp]:
        """Fill the lists of a block; return the rows where others may be missing."""
        offsets = self.offsets[part]
        more = None
        if self.added is not None:
            rows = np.arange(len(offsets))[:, None]
            more = entries_at(self.added[part], rows, block.columns)
        biases = self.on.biases[block.columns]
        scores = self._scores(block.dots, biases, offsets, more)
        scores[block.dots == -np.inf] = -np.inf
        order = _best_first(scores)[:, : self.k]
        self.lists.positions[part] = np.take_along_axis(block.columns, order, axis=1)
        self.lists.scores[part] = ranked = np.take_along_axis(scores, order, axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            # What the score of an item that is no candidate cannot exceed.
            limits = block.least.astype(np.float64) + offsets + errors
        safe = limits < ranked[:, -1]
        safe |= (block.least == -np.inf) & (errors < np.inf)
        return part.start + np.flatnonzero(~safe)

    @own_modes()
    def _compare_with_all(self, rows: NDArray[np.intp]) -> None:
        """Fill the lists of some rows from the exact scores of all items."""
        compare = all_scores(self.on.items, self.device)
        for part in chunks(len(rows), 4 * len(self.on.items)):
            own = rows[part]
            more = None if self.added is None else self.added[own].toarray()
            scores = self._scores(
                compare(self.queries[own]), self.on.biases, self.offsets[own], more
            )
            hidden = self._hidden_of(own)
            if hidden is not None:
                scores[hidden.users, hidden.items] = -np.inf
            if SHARE * self.k < len(self.on.items):
                columns = top_k(scores, self.k)
            else:
                columns = _best_first(scores)[:, : self.k]
            self.lists.positions[own] = columns
            self.lists.scores[own] = np.take_along_axis(scores, columns, axis=1)

    def _scores(
        self,
        dots: NDArray[np.float32],
        biases: NDArray,
        offsets: NDArray,
        added: NDArray | None,
    ) -> NDArray[np.float32]:
        dots += biases
        dots += offsets[:, None]
        if added is not None:
            dots += added
        return dots

    def _hidden_of(self, rows: NDArray) -> History | None:
        if self.hidden is None or len(rows) == len(self.queries):
            return self.hidden
        return self.hidden.take(rows)


def _best_first(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Order each row by falling score, then by place, in one sort of whole numbers."""
    bits = (scores + np.float32(0)).view(np.int32)  # -0 becomes 0
    # Floats below 0 grow with falling bits.
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    keys *= -(2**32)
    keys += np.arange(scores.shape[1])
    keys.sort(axis=1)
    keys &= 2**32 - 1
    return keys
