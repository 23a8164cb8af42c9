"""One vector for an item of several parts, such as windows, chunks or pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from skmmrec.runtime import start_in_turn

# Lists of parts that are on an accelerator's queue at a time.
_IN_FLIGHT = 2


def encode_parts(
    items: list[list[Any]],
    weights: list[list[float]],
    encode: Callable[[list[Any]], np.ndarray],
) -> np.ndarray:
    """Encode the parts of items and pool them item by item.

    Each item has at least one part, and each part a weight in the mean. `encode` gets
    at most ``len(items)`` parts, so that an item of many parts needs no more memory
    than a batch of items of one part. Returns the weighted mean of each item's parts,
    float32.
    """
    vectors = [encode(parts) for parts in _lists(items)]
    return pool_parts(np.concatenate(vectors), weights)


def start_parts(
    items: list[list[Any]],
    weights: list[list[float]],
    start: Callable[[list[Any]], Callable[[], np.ndarray]],
    pooling: str = "mean",
) -> Callable[[], np.ndarray]:
    """Begin to encode the parts of items, as in `encode_parts`.

    `start` begins to encode a list of parts; it returns a function that waits for the
    vectors, and so does this. `pooling` is the weighted mean, the elementwise maximum,
    or both side by side: 2 * dim columns.
    """
    wait = start_in_turn(start, _lists(items), _IN_FLIGHT)
    return lambda: pool_parts(np.concatenate(wait()), weights, pooling)


def _lists(items: list[list[Any]]) -> Iterator[list[Any]]:
    """Yield all parts in lists of at most as many as there are items."""
    parts = list(chain.from_iterable(items))
    size = len(items)
    return (parts[i : i + size] for i in range(0, len(parts), size))


def pool_parts(
    vectors: np.ndarray, weights: list[list[float]], pooling: str = "mean"
) -> np.ndarray:
    """Pool the vectors of all parts item by item, as `start_parts` does."""
    if len(vectors) == len(weights) and "+" not in pooling:
        return vectors.astype(np.float32, copy=False)  # each item has one part
    first = np.cumsum([0, *(len(item) for item in weights[:-1])])
    pooled = []
    if "mean" in pooling:
        flat = np.fromiter(chain.from_iterable(weights), float)[:, None]
        total = np.add.reduceat(vectors * flat, first)
        pooled.append(total / np.add.reduceat(flat, first))
    if "max" in pooling:
        pooled.append(np.maximum.reduceat(vectors, first))
    return np.hstack(pooled, dtype=np.float32)
