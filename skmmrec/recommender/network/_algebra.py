"""Linear algebra beside the training: in NumPy on the host, or on an accelerator.

Functions that do much of it take arrays and an accelerator, and are written once for
arrays of NumPy and tensors: what both call the same, they compute the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from skmmrec.interactions import unit_vectors
from skmmrec.retrieval import chunks

Array: TypeAlias = Any
"""An ndarray, or a tensor on an accelerator."""

# Numbers of one matrix on an accelerator: 64 MB in float64, enough to keep it busy.
ON_ACCELERATOR = 8_000_000
# Powers of two that float32 and its inverse hold without losing digits: up to 126.
MOST_BITS = 126


def accelerator(device: torch.device) -> torch.device | None:
    """Return where float64 is computed beside a training on a device.

    Returns
    -------
    torch.device or None
        The device, if it is a GPU with float64, which MPS has not; None: NumPy
        computes, on the host.
    """
    return device if device.type == "cuda" else None


def place(array: Array, where: torch.device | None) -> Array:
    """Bring an array to where it is computed with; None: it stays as it is.

    It is copied where it can only be read, as one of a file that is mapped into memory.
    """
    if where is None or isinstance(array, Tensor):
        return array
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(where)


def to_host(array: Array) -> NDArray:
    """Bring an array back."""
    return array.cpu().numpy() if isinstance(array, Tensor) else array


def namespace(array: Array) -> ModuleType:
    """Return the functions for an array, under the names that NumPy gives them."""
    return torch if isinstance(array, Tensor) else np


def as_float64(array: Array) -> Array:
    """Return the same numbers in float64."""
    return array.double() if isinstance(array, Tensor) else array.astype(np.float64)


def unit(vectors: Array) -> Array:
    """Scale rows to length 1, however long they are; a row of zeros stays one."""
    if not isinstance(vectors, Tensor):
        return unit_vectors(vectors)
    if vectors.numel():
        # As on the host, by powers of two: no square is too large or too small then.
        exponents = torch.frexp(vectors.abs().amax(1, keepdim=True)).exponent
        vectors = torch.ldexp(vectors, -exponents.clamp(-MOST_BITS, MOST_BITS))
    return F.normalize(vectors, eps=float(np.finfo(np.float32).tiny))


def row_blocks(
    n_rows: int, n_columns: int, where: torch.device | None
) -> Iterator[slice]:
    """Slices of rows whose matrix of `n_columns` fits in bounded memory, at least one.

    On the host they fit into a processor's cache.
    """
    if where is None:
        yield from chunks(n_rows, n_columns)
        return
    step = max(1, ON_ACCELERATOR // max(1, n_columns))
    for start in range(0, max(1, n_rows), step):
        yield slice(start, min(n_rows, start + step))
