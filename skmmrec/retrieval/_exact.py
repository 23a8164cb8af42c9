"""Exact top-k retrieval, in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import ITEM
from skmmrec.runtime import survive_fork

if TYPE_CHECKING:
    import torch

# Most scores in memory at a time: 64 MB in float32.
CHUNK_SCORES = 16_000_000
# About how many a processor's cache holds: 4 MB in float32.
CACHE_SCORES = 1_000_000
# Fewer rows at a time would make a product of matrices one of vectors.
ROWS_IN_CACHE = 64
# Pairs of vectors multiplied at a time: 512 KB in float64 where they are 64 wide, which
# a second-level cache holds. Not tuned.
PAIRS_IN_CACHE = 1024


def score_pairs(left: NDArray, right: NDArray) -> NDArray[np.float32]:
    """Inner product row by row: the same for a pair in whatever batch it comes."""
    return _score_parts(len(left), lambda part: (left[part], right[part]))


def score_pairs_at(
    left: NDArray, rows: NDArray, right: NDArray, columns: NDArray
) -> NDArray[np.float32]:
    """As `score_pairs`, for rows of `left` and of `right` at these positions."""
    return _score_parts(
        len(rows), lambda part: (left[rows[part]], right[columns[part]])
    )


def _score_parts(
    n_pairs: int, pick: Callable[[slice], tuple[NDArray, NDArray]]
) -> NDArray[np.float32]:
    scores = np.empty(n_pairs, np.float32)
    for start in range(0, n_pairs, PAIRS_IN_CACHE):
        part = slice(start, start + PAIRS_IN_CACHE)
        left, right = pick(part)
        products = left.astype(np.float64)
        products *= right
        # The transposed copy makes each addition one of long rows.
        scores[part] = sum_in_halves(np.ascontiguousarray(products.T))
    return scores


def sum_in_halves(terms: Any) -> Any:
    """Sum over the first axis in a fixed order, in place, of an array or tensor.

    The second half is added to the first until one row is left. Libraries sum in an
    order that depends on processor and shape; this gives the same bits everywhere.
    """
    length = len(terms)
    if length == 0:
        return terms.sum(0)
    while length > 1:
        half = (length + 1) // 2
        terms[: length - half] += terms[half:length]
        length = half
    return terms[0]


def chunks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Slices of rows whose scores against `n_columns` items fit in bounded memory.

    There is one at least, so that no rows give an empty result and not an error.
    """
    columns = max(1, n_columns)
    step = max(ROWS_IN_CACHE, CACHE_SCORES // columns)
    step = max(1, min(step, CHUNK_SCORES // columns))
    for start in range(0, max(1, n_rows), step):
        yield slice(start, min(n_rows, start + step))


def top_k(scores: NDArray | torch.Tensor, k: int) -> NDArray[np.intp]:
    """Columns of the `k` greatest scores of each row, best first; ties by position.

    The scores may be a tensor on any device.
    """
    import torch

    n_columns = scores.shape[1]
    k = min(k, n_columns)
    if k == 0 or len(scores) == 0:
        return np.empty((len(scores), k), np.intp)
    survive_fork()
    table = (
        scores
        if isinstance(scores, torch.Tensor)
        else torch.from_numpy(np.require(scores, requirements=["C", "W"]))
    )
    values, columns = torch.topk(table, min(k + 1, n_columns), dim=1)
    best = columns[:, :k].cpu().numpy().astype(np.intp)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
    if tied.any():
        best[tied.cpu().numpy()] = _top_k_of_ties(table[tied].cpu().numpy(), k)
    return best


def _top_k_of_ties(scores: NDArray, k: int) -> NDArray[np.intp]:
    """As `top_k`, for rows in which scores are equal."""
    n_columns = scores.shape[1]
    kth = np.partition(scores, n_columns - k, axis=1)[:, [n_columns - k]]
    above, tied = scores > kth, scores == kth
    room = k - above.sum(axis=1, keepdims=True)
    kept = above | (tied & (tied.cumsum(axis=1) <= room))
    columns = kept.nonzero()[1].reshape(-1, k)
    best_first = np.argsort(
        -np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable"
    )
    return np.take_along_axis(columns, best_first, axis=1)


def ranked_frame(
    query: str, keys: Any, ids: pd.Index, columns: NDArray, scores: NDArray
) -> pd.DataFrame:
    """Table of ranked items, one row per query and rank; minus infinity is left out.

    `query` is the name of the first column, and `keys` are what the rows of `columns`
    answer: item positions, best first, of shape (n, k). Returns the columns `query`,
    ``item_id``, ``rank`` (from 1) and ``score`` (float32).
    """
    kept = np.isfinite(scores)
    rows, ranks = np.nonzero(kept)
    return pd.DataFrame(
        {
            query: pd.Index(keys).take(rows),
            ITEM: ids.take(columns[kept]),
            "rank": ranks + 1,
            "score": scores[kept].astype(np.float32),
        }
    )


def tell_recall(
    table: pd.DataFrame, recall: float = 1.0, search: str = "exact"
) -> pd.DataFrame:
    """Write into a table's `attrs` how its lists were found.

    `recall` is the share of the best items that such a search finds.
    """
    table.attrs.update(search=search, recall=float(recall))
    return table
