"""Names of what callers may pass as tables, ids and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


class ToPandas(Protocol):
    """A table of another library, such as polars, that pandas can take over."""

    def to_pandas(self) -> pd.DataFrame | pd.Series:
        """Return the same data in pandas."""
        ...


Table: TypeAlias = pd.DataFrame | ToPandas | ArrayLike
"""A DataFrame, or what becomes one: rows are interactions, items or users."""

Ids: TypeAlias = pd.Index | pd.Series | ToPandas | ArrayLike
"""One id, or a column of ids."""

Numbers: TypeAlias = pd.Series | pd.DataFrame | ToPandas | ArrayLike
"""A column of numbers, or several: strengths, answers, weights."""

RawColumn: TypeAlias = (
    pd.Series | pd.DataFrame | ToPandas | Sequence[object] | NDArray[np.generic]
)
"""A column of raw content: texts, pictures, sounds, paths, missing values."""

RandomState: TypeAlias = int | np.random.RandomState | None
"""A seed, as scikit-learn takes it."""
