"""Vectors and weights that items are asked by; nothing here needs Feast."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from skmmrec.catalog import Blocks
from skmmrec.interactions import unmasked

if TYPE_CHECKING:
    from skmmrec.feature_store.backends.base import Id

    from ._types import Content, Contents

# What the fused vectors are called beside further ones.
MAIN = "item"
# Characters of a message about content: it may quote a whole picture.
MAX_MESSAGE = 80


class Query(NamedTuple):
    """What is asked: items by their ids, or content by its vectors.

    Attributes
    ----------
    keys : sequence
        What the answer calls each of the n questions.
    items : list of ids, or None
    content : mapping of str to float32 ndarray of shape (n, dim)
        A row of NaN where one of the questions has no such vector.
    """

    keys: Sequence[Any]
    items: list[Id] | None
    content: Mapping[str, np.ndarray]


def content_query(content: Content | Contents) -> Query:
    """Read vectors that are asked by; a ValueError names those that are odd."""
    if isinstance(content, Blocks):
        given: Mapping[str, Content] = _block_matrices(content)
    else:
        given = content if isinstance(content, Mapping) else {MAIN: content}
    if not given:
        raise ValueError(_nothing_to_ask_by(content))
    keys = next((c.index for c in given.values() if isinstance(c, pd.DataFrame)), None)
    matrices = {name: _matrix(name, values, keys) for name, values in given.items()}
    sizes = {name: len(matrix) for name, matrix in matrices.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"content must have as many rows for each vector, got {sizes}")
    n = next(iter(sizes.values()))
    return Query(range(n) if keys is None else keys, None, matrices)


def _block_matrices(blocks: Blocks) -> dict[str, np.ndarray]:
    """Return the vectors of each modality that any row has."""
    pairs = zip(blocks.values.items(), blocks.mask.T, strict=True)
    return {
        name: np.where(mask[:, None], values, np.float32(np.nan))
        for (name, values), mask in pairs
        if name not in blocks.numbers and mask.any()
    }


def _shortened(message: str) -> str:
    """Cut a message after `MAX_MESSAGE` characters."""
    return message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} ..."


def _nothing_to_ask_by(content: Content | Contents) -> str:
    if not isinstance(content, Blocks):
        return "content has no vectors"
    return (
        f"content has no vectors: of its {len(content)} rows, each is missing or could "
        "not be read, or has numbers alone, which are not searched by"
    )


def _matrix(name: str, values: Content, keys: pd.Index | None) -> np.ndarray:
    if isinstance(values, pd.DataFrame) and not values.index.equals(keys):
        raise ValueError(f"content[{name!r}] has another index than the one before it")
    try:
        matrix = np.atleast_2d(np.asarray(unmasked(values), np.float32))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"content[{name!r}] is no table of numbers: {_shortened(str(error))}. "
            "Raw content is encoded first: content=catalog.encode(...)"
        ) from error
    if matrix.ndim != 2:
        raise ValueError(
            f"content[{name!r}] must have shape (n, dim), got {matrix.shape}"
        )
    bad = ~np.isfinite(matrix).all(axis=1) & ~absent_rows(matrix)
    if bad.any():
        raise ValueError(f"content[{name!r}] is not finite in row {np.argmax(bad)}")
    return matrix


def checked_weights(
    weights: Mapping[str, float] | None, query: Query
) -> dict[str, float]:
    """Return the weights above 0, by default the same for what is asked by.

    Raises TypeError when `weights` is no mapping of names to numbers; ValueError for a
    weight below 0 or not finite, weights that are all 0, or content without a weight.
    """
    if weights is None:
        return dict.fromkeys(query.content or [MAIN], 1.0)
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"weights must be a mapping of names, got {type(weights).__name__}"
        )
    for name, weight in weights.items():
        if not isinstance(weight, Real) or isinstance(weight, bool):
            raise TypeError(f"weights[{name!r}] must be a number, got {weight!r:.100}")
        if not math.isfinite(weight) or weight < 0:
            raise ValueError(f"weights[{name!r}] must be 0 or more, got {weight!r}")
    idle = sorted(set(query.content) - set(weights))
    if idle:
        raise ValueError(f"content has {idle[0]!r}, of which weights says nothing")
    found = {name: float(weight) for name, weight in weights.items() if weight > 0}
    if not found:
        raise ValueError("weights must have one above 0")
    largest = max(found.values())  # so that no sum is too large for a float
    return {name: weight / largest for name, weight in found.items()}


def absent_rows(matrix: np.ndarray) -> np.ndarray:
    """Mark the rows that are NaN alone: who has no such vector."""
    absent: np.ndarray = np.isnan(matrix).all(axis=1)
    return absent
