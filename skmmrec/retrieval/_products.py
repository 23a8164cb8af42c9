"""Candidates by float32 products, on the CPU or on another device, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skmmrec.interactions import History
from skmmrec.retrieval._exact import chunks, sum_in_halves
from skmmrec.retrieval._exact_products import (
    MORE_ROUNDINGS,
    exact_dots,
    largest,
    send,
)
from skmmrec.retrieval._sparse import entry_rows
from skmmrec.runtime import fetch_each, free_memory

if TYPE_CHECKING:
    from torch import Tensor

# Most scores on a device at a time: 256 MB in float32, which keeps an H100 busy for
# some milliseconds. A block may take an eighth of what is free.
DEVICE_SCORES = 2**26
FREE_SHARE = 8
# Unit roundoff of float32 as processors sum it; tensor cores round sums more coarsely.
HOST_UNIT, DEVICE_UNIT = 2.0**-24, 2.0**-22
# What is lost of a product of float32 numbers that are split for TF32, see `split`.
SPLIT_ERROR = 2.0**-18
# With fewer in each, groups do not pay.
LEAST_GROUP = 2


class Block(NamedTuple):
    """Candidates of a block of queries, by position.

    Attributes
    ----------
    columns : ndarray of shape (n, n_candidates)
        Rows of the items, ascending.
    dots : ndarray of the same shape, float32
        Their products as `score_pairs` gives them; minus infinity is hidden.
    least : ndarray of shape (n,), float32
        What the value of no other item exceeds, more or less; minus infinity where all
        others are hidden.
    """

    columns: NDArray[np.intp]
    dots: NDArray[np.float32]
    least: NDArray[np.float32]


class HostProducts:
    """Products on the CPU.

    Parameters
    ----------
    items, biases : ndarray of shape (n_items, d) and (n_items,), float32
        What queries are compared with.
    longest : float
        No item is longer.
    n_candidates : int
        Of each query.
    """

    def __init__(
        self, items: NDArray, biases: NDArray, longest: float, n_candidates: int
    ) -> None:
        self.items = items
        self.biases = biases
        self.n_candidates = n_candidates
        self.n_groups = count_groups(len(items), n_candidates)
        self.longest = longest
        self._scores: NDArray[np.float32] | None = None

    def blocks(self, n_queries: int) -> Iterator[slice]:
        """Cut the queries into blocks."""
        return chunks(n_queries, len(self.items))

    def start(
        self,
        queries: NDArray[np.float32],
        hidden: History | None,
        added: csr_array | None = None,
    ) -> Callable[[], Block]:
        """Return what gives the candidates of a block."""
        n_queries, n_items = len(queries), len(self.items)
        if self._scores is None:
            # Used again by each block: new memory would cost as much as the product.
            width = padded(n_items, self.n_groups)
            self._scores = np.full((n_queries, width), -np.inf, np.float32)
        scores = self._scores[:n_queries]
        with np.errstate(over="ignore", invalid="ignore"):  # see `bound_errors`
            np.matmul(queries, self.items.T, out=scores[:, :n_items])
            scores[:, :n_items] += self.biases
            if added is not None:
                scores[entry_rows(added), added.indices] += added.data
        if hidden is not None:
            scores[hidden.users, hidden.items] = -np.inf
        columns, least = self._greatest(scores)
        dots = exact_dots(queries, self.items, columns, self.longest)
        dots[scores[np.arange(n_queries)[:, None], columns] == -np.inf] = -np.inf
        block = Block(np.minimum(columns, n_items - 1), dots, least)
        return lambda: block

    def _greatest(
        self, scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """As `greatest`, by numpy, which finds the k-th value in less time."""
        k, n_groups = self.n_candidates, self.n_groups
        if n_groups == 1 or len(scores) == 1:  # one row is not worth grouping
            return columns_of_greatest(scores, k)
        n_queries, width = scores.shape
        groups = scores.reshape(n_queries, -1, n_groups).max(axis=1)
        best = columns_of_greatest(groups, k)[0][:, None, :]
        steps = np.arange(0, width, n_groups)[:, None]
        columns = (best + steps).reshape(n_queries, -1)
        table, places = torch.from_numpy(scores), torch.from_numpy(columns)
        found, least = columns_of_greatest(table.gather(1, places).numpy(), k)
        return np.take_along_axis(columns, found, axis=1), least

    def bound_errors(
        self,
        queries: NDArray[np.float32],
        offsets: NDArray[np.float32],
        added: csr_array | None = None,
    ) -> NDArray[np.float64]:
        """Bound how far a value plus the offset is from the query's score: (n,).

        Infinity where sums may exceed the range of float32.
        """
        return self._bound(queries, offsets, added, HOST_UNIT, 0.0)

    def _bound(
        self,
        queries: NDArray,
        offsets: NDArray,
        added: csr_array | None,
        unit: float,
        lost: float,
    ) -> NDArray[np.float64]:
        """Errors of sums, N. Higham's gamma, and of underflow, numbers flushed to 0."""
        lengths = np.sqrt(np.einsum("nd,nd->n", queries, queries, dtype=np.float64))
        reach = lengths * self.longest + largest(self.biases) + np.abs(offsets)
        if added is not None:
            reach = reach + largest_of_rows(added)
        n = queries.shape[1] + MORE_ROUNDINGS
        limits = np.finfo(np.float32)
        errors = (n * unit / (1 - n * unit) + lost) * reach
        errors += n * float(limits.tiny) * (1 + lengths + self.longest)
        return np.where(reach < 0.9 * float(limits.max), errors, np.inf)


class DeviceProducts(HostProducts):
    """Products on another device, where no call waits for another.

    Parameters
    ----------
    items, biases, longest, n_candidates
        As for `HostProducts`.
    device : torch.device
        With float64 or, as MPS, without.
    """

    def __init__(
        self,
        items: NDArray,
        biases: NDArray,
        longest: float,
        n_candidates: int,
        device: torch.device,
    ) -> None:
        super().__init__(items, biases, longest, n_candidates)
        self.device = device
        self.splits = device.type == "cuda" and uses_tf32()
        self._items = send(items, device)
        self._biases = send(biases, device)
        self._factors = split(self._items, (0, 1, 0)) if self.splits else self._items
        self._table: Tensor | None = None

    def blocks(self, n_queries: int) -> Iterator[slice]:
        """Cut the queries into blocks."""
        n_items, dim = self.items.shape
        # Pairs of candidates are of float64, twice.
        width = max(padded(n_items, self.n_groups), 4 * self.n_candidates * dim)
        # Scores are of four bytes.
        most = min(DEVICE_SCORES, free_memory(self.device) / (4 * FREE_SHARE))
        step = max(1, int(most // width))
        for start in range(0, n_queries, step):
            yield slice(start, min(n_queries, start + step))

    def start(
        self,
        queries: NDArray[np.float32],
        hidden: History | None,
        added: csr_array | None = None,
    ) -> Callable[[], Block]:
        """Start the computing, and return what waits for the candidates."""
        places, more = None, None
        width = padded(len(self.items), self.n_groups)
        if hidden is not None:
            places = send(hidden.users * width + hidden.items, self.device)
        if added is not None:
            at = entry_rows(added) * width + added.indices
            more = send(at, self.device), send(added.data, self.device)
        found = self.find(send(queries, self.device), places, more)
        fetch = fetch_each(*found)

        def finish() -> Block:
            columns, least, hides, *dots = fetch()
            if not dots:
                dots = [exact_dots(queries, self.items, columns, self.longest)]
            dots[0][hides] = -np.inf
            return Block(columns.astype(np.intp, copy=False), dots[0], least)

        return finish

    def find(
        self,
        users: Tensor,
        places: Tensor | None,
        more: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, ...]:
        """Find the candidates.

        Parameters
        ----------
        users : Tensor of shape (n, d)
            Queries.
        places : Tensor of shape (n_hidden,), int64, or None
            Items to leave out: positions in the flat table of scores.
        more : tuple of Tensor of shape (n_added,), or None
            Such positions, each once, and what is added there.

        Returns
        -------
        columns, least, hides, dots : tuple of Tensor
            As in a `Block`, and which are hidden; `dots` where there is float64.
        """
        n_items = len(self._items)
        if self._table is None:
            size = (len(users), padded(n_items, self.n_groups))
            self._table = torch.full(size, -torch.inf, device=users.device)
        scores = self._table[: len(users)]
        factors = split(users, (0, 0, 1)) if self.splits else users
        out = scores[:, :n_items]
        torch.addmm(self._biases, factors, self._factors.T, out=out)
        if more is not None:
            scores.view(-1).index_add_(0, *more)
        if places is not None:
            scores.view(-1).index_fill_(0, places, -torch.inf)
        values, columns = greatest(scores, self.n_candidates, self.n_groups)
        columns, order = columns.clamp_(max=n_items - 1).sort(dim=1)
        found = columns, values[:, -1], values.gather(1, order) == -torch.inf
        if self.device.type == "mps":
            return found
        terms = self._items[columns].double()
        terms *= users.double()[:, None]
        dots = sum_in_halves(terms.permute(2, 0, 1).contiguous())
        return *found, dots.float()

    def bound_errors(
        self,
        queries: NDArray[np.float32],
        offsets: NDArray[np.float32],
        added: csr_array | None = None,
    ) -> NDArray[np.float64]:
        """Bound how far a value plus the offset is from the query's score: (n,)."""
        lost = SPLIT_ERROR if self.splits else 0.0
        return self._bound(queries, offsets, added, DEVICE_UNIT, lost)


def largest_of_rows(matrix: csr_array) -> NDArray[np.float64]:
    """Greatest absolute value of each row; 0 where nothing is stored."""
    greatest = np.zeros(matrix.shape[0])
    np.maximum.at(greatest, entry_rows(matrix), np.abs(matrix.data))
    return greatest


def count_groups(n_columns: int, k: int) -> int:
    """Choose the groups of columns for which `greatest` looks at the fewest values."""
    n_groups = max(1, isqrt(n_columns * k))
    return n_groups if n_columns >= LEAST_GROUP * n_groups else 1


def padded(n_columns: int, n_groups: int) -> int:
    """Columns of which each group has the same number."""
    return -(-n_columns // n_groups) * n_groups


def greatest(scores: Tensor, k: int, n_groups: int) -> tuple[Tensor, Tensor]:
    """`k` greatest values of each row, and their columns.

    The greatest are in the `k` groups with the greatest maxima, so that most columns
    are only looked at for these. A group is every `n_groups`-th column.
    """
    if n_groups == 1:
        return torch.topk(scores, k, dim=1)
    n_rows, width = scores.shape
    groups = scores.view(n_rows, -1, n_groups)
    best = torch.topk(groups.amax(1), k, dim=1, sorted=False).indices
    steps = torch.arange(0, width, n_groups, device=scores.device)
    columns = (best[:, None, :] + steps[:, None]).view(n_rows, -1)
    values, places = torch.topk(scores.gather(1, columns), k, dim=1)
    return values, columns.gather(1, places)


def columns_of_greatest(
    table: NDArray[np.float32], k: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Columns of the `k` greatest values of each row, ascending, and the least value.

    Any will do of those that are equal to it.
    """
    n_rows, width = table.shape
    least = np.partition(table, width - k, axis=1)[:, width - k]
    found = table < least[:, None]
    np.logical_not(found, out=found)  # unlike `>=`, keeps NaN
    if np.count_nonzero(found) != n_rows * k:
        tied = np.flatnonzero(np.count_nonzero(found, axis=1) != k)
        chosen = torch.topk(torch.from_numpy(table[tied]), k, dim=1).indices
        found[tied] = False
        found[tied[:, None], chosen.numpy()] = True
    places = np.flatnonzero(found).reshape(n_rows, k)
    places -= np.arange(0, n_rows * width, width)[:, None]
    return places, least


def uses_tf32() -> bool:
    """Whether CUDA multiplies matrices of float32 in TF32, as the caller decides."""
    matmul = torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):
        return matmul.fp32_precision == "tf32"
    return bool(matmul.allow_tf32)


def split(vectors: Tensor, parts: tuple[int, ...]) -> Tensor:
    """Numbers that TF32 holds, beside each other: high halves (0) and low halves (1).

    The product with (0, 0, 1) on one side and (0, 1, 0) on the other lacks the product
    of the low halves alone, 2**-20 of the whole; TF32 keeps a low half to 2**-11.
    """
    # TF32 lacks the last 13 bits of float32.
    high = (vectors.view(torch.int32) & ~0x1FFF).view(torch.float32)
    halves = (high, vectors - high)
    return torch.cat([halves[part] for part in parts], dim=1)
