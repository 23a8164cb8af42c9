"""The scores of `score_pairs` by products in float64, which are quicker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec.retrieval._exact import PAIRS_IN_CACHE, score_pairs_at
from skmmrec.runtime import to_device

if TYPE_CHECKING:
    from torch import Tensor

# Roundings of a score beside those of the sum: bias, offset and memory are added, here
# and in `predict`; the rest covers terms of second order.
MORE_ROUNDINGS = 8


def exact_dots(
    queries: NDArray[np.float32],
    items: NDArray[np.float32],
    columns: NDArray[np.intp],
    longest: float,
) -> NDArray[np.float32]:
    """Products of each query with the items in its row of `columns`: (n, k).

    As `score_pairs` gives them. Columns past the end count as the last; no item is
    longer than `longest`.
    """
    dim, k = items.shape[1], columns.shape[1]
    step = max(1, PAIRS_IN_CACHE // k)
    single = np.empty((min(step, len(queries)), k, dim), np.float32)
    double, dots = np.empty(single.shape), np.empty(columns.shape)
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        own = columns[part]
        near, wide = single[: len(own)], double[: len(own)]
        items.take(own, axis=0, out=near, mode="clip")
        wide[...] = near
        users = queries[part].astype(np.float64)
        np.matmul(wide, users[:, :, None], out=dots[part][:, :, None])
    sizes = np.sqrt(np.einsum("nd,nd->n", queries, queries, dtype=np.float64))
    errors = double_error(dim) * longest * sizes[:, None]
    scores, rows, places = round_products(dots, errors)
    last = np.minimum(columns[rows, places], len(items) - 1)
    scores[rows, places] = score_pairs_at(queries, rows, items, last)
    return scores


def round_products(
    products: NDArray[np.float64], errors: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    """Round to float32, and tell where another sum might have been rounded otherwise.

    Returns what every sum within the errors is rounded to, and the rows and columns of
    the few entries that are to be summed as `score_pairs` does.
    """
    rounded: NDArray[np.float32] = (products + errors).astype(np.float32)
    products -= errors
    unsure = np.flatnonzero(products.astype(np.float32) != rounded)
    rows, columns = np.divmod(unsure, products.shape[1])
    return rounded, rows, columns


def double_error(dim: int) -> float:
    """Bound how far two sums in float64 are apart, over the sum of absolute terms."""
    return 4 * (dim + MORE_ROUNDINGS) * float(np.finfo(np.float64).eps)


def all_scores(
    items: NDArray[np.float32], device: torch.device
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return what gives the products of `score_pairs` with all items: (n, n_items)."""
    place = torch.device("cpu") if device.type == "mps" else device
    single = send(items, place)
    sizes, double = single.abs(), single.double()
    share = double_error(items.shape[1])
    # The error of products that are flushed to 0.
    least = items.shape[1] * float(np.finfo(np.float32).tiny)

    def compare(queries: NDArray[np.float32]) -> NDArray[np.float32]:
        users = send(queries, place)
        products = (users.double() @ double.T).cpu().numpy()
        terms = (users.abs() @ sizes.T).cpu().numpy()
        scores, rows, columns = round_products(products, share * (terms + least))
        scores[rows, columns] = score_pairs_at(queries, rows, items, columns)
        return scores

    return compare


def send(array: NDArray, device: torch.device) -> Tensor:
    """Copy to a device without waiting for what runs there."""
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    return to_device(tensor, device)


def bound_lengths(vectors: NDArray[np.float32]) -> float:
    """Bound the length of the longest vector from above, cheaply."""
    return float(vectors.shape[1] ** 0.5 * largest(vectors))


def largest(values: NDArray[np.float32]) -> float:
    """Greatest absolute value."""
    return float(max(values.max(initial=0), -values.min(initial=0)))
