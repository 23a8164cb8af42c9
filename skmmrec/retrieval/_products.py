"""Candidates by float32 products, on the CPU or on another device, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec.interactions import History
from skmmrec.retrieval._exact import chunks, score_pairs_at, sum_in_halves
from skmmrec.runtime import free_memory

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
# Roundings of a score beside those of the sum: the addition of bias and offset, here
# and in `predict`, and what is left to the terms of second order.
MORE_ROUNDINGS = 8
# With fewer in each, groups do not pay.
LEAST_GROUP = 4


class Block(NamedTuple):
    """Candidates of a block of queries, roughly best first.

    Attributes
    ----------
    columns : ndarray of shape (n, n_candidates)
        Rows of the items.
    values : ndarray of the same shape, float32
        Their products, more or less, with the bias; minus infinity is hidden.
    dots : ndarray of the same shape, float32
        Their products as `score_pairs` gives them.
    """

    columns: NDArray[np.intp]
    values: NDArray[np.float32]
    dots: NDArray[np.float32]


class HostProducts:
    """Products on the CPU.

    Parameters
    ----------
    items, biases : ndarray of shape (n_items, d) and (n_items,), float32
        What queries are compared with.
    n_candidates : int
        Of each query.
    """

    def __init__(self, items: NDArray, biases: NDArray, n_candidates: int) -> None:
        self.items = items
        self.biases = biases
        self.n_candidates = n_candidates
        self.n_groups = count_groups(len(items), n_candidates)
        self._scores: NDArray[np.float32] | None = None

    def blocks(self, n_queries: int) -> Iterator[slice]:
        """Cut the queries into blocks."""
        return chunks(n_queries, len(self.items))

    def start(
        self, queries: NDArray[np.float32], hidden: History | None
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
        if hidden is not None:
            scores[hidden.users, hidden.items] = -np.inf
        table = torch.from_numpy(scores)
        values, found = greatest(table, self.n_candidates, self.n_groups)
        columns = found.clamp_(max=n_items - 1).numpy().astype(np.intp, copy=False)
        rows = np.repeat(np.arange(n_queries), self.n_candidates)
        dots = score_pairs_at(queries, rows, self.items, columns.ravel())
        block = Block(columns, values.numpy(), dots.reshape(columns.shape))
        return lambda: block

    def bound_errors(
        self, queries: NDArray[np.float32], offsets: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """How far a value with the offset may be from the query's score: (n,).

        Infinity where sums may exceed the range of float32.
        """
        return self._bound(queries, offsets, HOST_UNIT, 0.0)

    def _bound(
        self, queries: NDArray, offsets: NDArray, unit: float, lost: float
    ) -> NDArray[np.float64]:
        """Errors of sums, N. Higham's gamma, and of underflow, numbers flushed to 0."""
        lengths = np.sqrt(np.einsum("nd,nd->n", queries, queries, dtype=np.float64))
        # Cheaper than the greatest length, and above it.
        longest = queries.shape[1] ** 0.5 * _largest(self.items)
        reach = lengths * longest + _largest(self.biases) + np.abs(offsets)
        n = queries.shape[1] + MORE_ROUNDINGS
        limits = np.finfo(np.float32)
        errors = (n * unit / (1 - n * unit) + lost) * reach
        errors += n * float(limits.tiny) * (1 + lengths + longest)
        return np.where(reach < 0.9 * float(limits.max), errors, np.inf)


class DeviceProducts(HostProducts):
    """Products on another device, where no call waits for another.

    Parameters
    ----------
    items, biases, n_candidates
        As for `HostProducts`.
    device : torch.device
        With float64 or, as MPS, without.
    """

    def __init__(
        self,
        items: NDArray,
        biases: NDArray,
        n_candidates: int,
        device: torch.device,
    ) -> None:
        super().__init__(items, biases, n_candidates)
        self.device = device
        self.splits = device.type == "cuda" and uses_tf32()
        self._items = _send(items, device)
        self._biases = _send(biases, device)
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
        self, queries: NDArray[np.float32], hidden: History | None
    ) -> Callable[[], Block]:
        """Start the computing, and return what waits for the candidates."""
        places = None
        if hidden is not None:
            width = padded(len(self.items), self.n_groups)
            places = _send(hidden.users * width + hidden.items, self.device)
        found = self.find(_send(queries, self.device), places)
        fetch = _fetch(*found)

        def finish() -> Block:
            columns, values, *dots = fetch()
            if not dots:
                rows = np.repeat(np.arange(len(queries)), self.n_candidates)
                pairs = score_pairs_at(queries, rows, self.items, columns.ravel())
                dots = [pairs.reshape(columns.shape)]
            return Block(columns.astype(np.intp, copy=False), values, dots[0])

        return finish

    def find(self, users: Tensor, places: Tensor | None) -> tuple[Tensor, ...]:
        """Columns, values and, where there is float64, products of the candidates."""
        n_items = len(self._items)
        if self._table is None:
            size = (len(users), padded(n_items, self.n_groups))
            self._table = torch.full(size, -torch.inf, device=users.device)
        scores = self._table[: len(users)]
        factors = split(users, (0, 0, 1)) if self.splits else users
        out = scores[:, :n_items]
        torch.addmm(self._biases, factors, self._factors.T, out=out)
        if places is not None:
            scores.view(-1).index_fill_(0, places, -torch.inf)
        values, columns = greatest(scores, self.n_candidates, self.n_groups)
        columns.clamp_(max=n_items - 1)
        if self.device.type == "mps":
            return columns, values
        terms = self._items[columns].double()
        terms *= users.double()[:, None]
        dots = sum_in_halves(terms.permute(2, 0, 1).contiguous())
        return columns, values, dots.float()

    def bound_errors(
        self, queries: NDArray[np.float32], offsets: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """How far a value with the offset may be from the query's score: (n,)."""
        lost = SPLIT_ERROR if self.splits else 0.0
        return self._bound(queries, offsets, DEVICE_UNIT, lost)


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


def all_scores(
    items: NDArray[np.float32], device: torch.device
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return what gives the scores of `score_pairs` with all items: (n, n_items).

    Products in float64 give the same float32 numbers, unless these change within the
    error of the product; those few pairs are computed one by one.
    """
    place = torch.device("cpu") if device.type == "mps" else device
    vectors = _send(items, place).double()
    sizes = vectors.abs()
    n = items.shape[1] + MORE_ROUNDINGS
    share = 2 * n * float(np.finfo(np.float64).eps)

    def compare(queries: NDArray[np.float32]) -> NDArray[np.float32]:
        users = _send(queries, place).double()
        products = users @ vectors.T
        errors = share * (users.abs() @ sizes.T)
        low = (products - errors).float()
        unsure = low != (products + errors).float()
        rows, columns = (found.cpu().numpy() for found in unsure.nonzero().T)
        scores: NDArray[np.float32] = low.cpu().numpy()
        scores[rows, columns] = score_pairs_at(queries, rows, items, columns)
        return scores

    return compare


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


def _send(array: NDArray, device: torch.device) -> Tensor:
    """Copy to a device without waiting for what runs there."""
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _fetch(*tensors: Tensor) -> Callable[[], list[NDArray]]:
    """Start to copy to the host, and return what waits for the copies."""
    if tensors[0].device.type != "cuda":
        return lambda: [tensor.cpu().numpy() for tensor in tensors]
    copies = [
        torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        for tensor in tensors
    ]
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(tensors[0].device))

    def wait() -> list[NDArray]:
        done.synchronize()
        return [copy.numpy() for copy in copies]

    return wait


def _largest(values: NDArray[np.float32]) -> float:
    """Greatest absolute value."""
    return float(max(values.max(initial=0), -values.min(initial=0)))
