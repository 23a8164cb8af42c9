"""Ranks and scores of lists that the caller gives."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions._reading import check_numbers

RANK, SCORE = "rank", "score"


def check_ranks(column: Any, name: str = "recommendations") -> NDArray:
    """Refuse a rank that is missing or no number: texts sort by their letters.

    `column` is that of the ranks in a table that errors call `name`. The ValueError
    names a row.
    """
    if column.ndim != 1:
        raise ValueError(f"{name} has several columns named {RANK!r}")
    missing = np.flatnonzero(column.isna())
    if len(missing):
        raise ValueError(f"{RANK} is missing (NaN or None) in row {missing[0]}")
    ranks: NDArray = column.to_numpy()
    if ranks.dtype.kind in "iuf":
        return ranks
    for row, rank in enumerate(ranks):
        if not isinstance(rank, Real | Decimal) or isinstance(rank, bool):
            raise ValueError(
                f"{RANK} must be numbers, got {rank!r} in row {row}: convert them, "
                "for example by pandas.to_numeric"
            )
    return ranks


def ranks_in(table: pd.DataFrame, name: str = "recommendations") -> NDArray | None:
    """Return the ranks of a table that errors call `name`; None where it has none."""
    return check_ranks(table[RANK], name) if RANK in table else None


def read_scores(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the scores of a table; a ValueError names a row whose score is none."""
    options = {"ensure_all_finite": False, "ensure_min_samples": 0}
    scores = check_numbers(table[SCORE], SCORE, **options)
    odd = np.flatnonzero(~np.isfinite(scores))
    if len(odd):
        raise ValueError(f"score in row {odd[0]} is not finite: {scores[odd[0]]}")
    return scores
