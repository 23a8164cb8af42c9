"""One vector for an item of several parts, such as windows, chunks or pictures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np


def encode_parts(
    items: list[list[Any]],
    weights: list[list[float]],
    encode: Callable[[list[Any]], np.ndarray],
    pooling: str = "mean",
) -> np.ndarray:
    """Encode the parts of items and pool them item by item.

    Parameters
    ----------
    items : list of list
        The parts of each item, at least one.
    weights : list of list of float
        The weight of each part in the mean.
    encode : callable
        Encodes a list of parts. It gets at most ``len(items)`` of them, so that an item
        of many parts needs no more memory than a batch of items of one part.
    pooling : {"mean", "max", "mean+max"}, default="mean"
        The weighted mean, the elementwise maximum, or both side by side.

    Returns
    -------
    vectors : ndarray of shape (len(items), dim), float32
        With 2 * dim columns for ``"mean+max"``.
    """
    parts = list(chain.from_iterable(items))
    size = len(items)
    starts = range(0, len(parts), size)
    vectors = np.concatenate([encode(parts[i : i + size]) for i in starts])
    return pool_parts(vectors, weights, pooling)


def pool_parts(
    vectors: np.ndarray, weights: list[list[float]], pooling: str = "mean"
) -> np.ndarray:
    """Pool the vectors of all parts item by item, as `encode_parts` does."""
    first = np.cumsum([0, *(len(item) for item in weights[:-1])])
    pooled = []
    if "mean" in pooling:
        flat = np.fromiter(chain.from_iterable(weights), float)[:, None]
        total = np.add.reduceat(vectors * flat, first)
        pooled.append(total / np.add.reduceat(flat, first))
    if "max" in pooling:
        pooled.append(np.maximum.reduceat(vectors, first))
    return np.hstack(pooled, dtype=np.float32)
