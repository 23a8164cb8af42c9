"""What people give for a table of interactions that is none, and what to give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from skmmrec.interactions._keys import (
    TIME,
    Keys,
    column_names,
    find_column,
)


def refuse_no_table(X: Any, wanted: Sequence[Sequence[str]]) -> None:
    """Refuse what has no rows of one interaction each, or parts of them in its index.

    Lists, arrays and tables of any library pass. A TypeError is for a sparse
    matrix of users and items, a dict or an array of records, a lazy table or a stream;
    it says how to make a table of it. A ValueError is for rows of several lengths,
    names in several levels or given twice, and columns that will be looked for,
    `wanted` by any of their names, and are in the index.
    """
    if issparse(X):
        raise TypeError(
            f"X is a sparse matrix of shape {X.shape}, but must have one row per "
            "interaction: with pairs = X.tocoo(), give "
            "X=np.column_stack([pairs.row, pairs.col]) and y=pairs.data; or, if a "
            "ColumnTransformer made it of ids and content, give that "
            "sparse_threshold=0"
        )
    if advice := how_to_read(X):
        raise TypeError(
            "X must be a table with one row per interaction, got "
            f"{type(X).__name__}: give {advice}"
        )
    _refuse_ragged(X)
    refuse_names(X, "X")
    if isinstance(X, pd.DataFrame) and any(
        level is not None for level in X.index.names
    ):
        _refuse_index(X, wanted)


def _refuse_ragged(X: Any) -> None:
    """Refuse a list in which a row is longer or shorter than the first."""
    if not isinstance(X, list | tuple):
        return
    widths = [len(row) if isinstance(row, list | tuple) else None for row in X]
    odd = next((n for n, width in enumerate(widths) if width != widths[0]), None)
    if odd is not None and None not in (widths[0], widths[odd]):
        raise ValueError(
            f"X has {widths[0]} values in row 0 and {widths[odd]} in row {odd}: "
            "all rows need the same columns"
        )


def refuse_names(X: Any, name: str) -> None:
    """Refuse names of several parts, as of `DataFrame.agg`, and a name given twice.

    Raises ValueError, which calls the table `name`.
    """
    if isinstance(X, pd.DataFrame) and isinstance(X.columns, pd.MultiIndex):
        n_levels = X.columns.nlevels
        raise ValueError(
            f"{name} has names of columns in {n_levels} level{'s'[: n_levels - 1]}, "
            f"such as {X.columns[0]!r}: name each column by one text, by "
            f"{name}.set_axis([...], axis=1)"
        )
    twice = [n for n, number in Counter(column_names(X) or []).items() if number > 1]
    if twice:
        raise ValueError(
            f"{name} has several columns named {twice[0]!r}: rename all but one"
        )


def wanted_columns(keys: Keys) -> tuple[tuple[str, ...], ...]:
    """Names of each column that a recommender looks for."""
    return keys.user, keys.item, (TIME,)


def _refuse_index(X: pd.DataFrame, wanted: Sequence[Sequence[str]]) -> None:
    """Refuse an index that is called like a column that is not there."""
    columns = list(X.columns)
    for names in wanted:
        found = [level for level in X.index.names if level in names]
        if found and find_column(columns, names) is None:
            raise ValueError(
                f"X has {found[0]!r} in its index and not in its columns, which are "
                f"{columns}: give X.reset_index()"
            )


def how_to_read(X: Any) -> str | None:
    """Say how to make a table; None where there is one already."""
    if hasattr(X, "collect") and hasattr(X, "lazy"):
        return "what its collect() returns"
    for method in ("read_all", "fetchdf", "toPandas"):  # Arrow, DuckDB, Spark
        if hasattr(X, method):
            return f"what its {method}() returns"
    if isinstance(X, Mapping) or _holds_records(X):
        return "pandas.DataFrame of it"
    if isinstance(X, str | bytes):
        return "what is in that file, by pandas.read_csv or the like"
    if _has_names(X):
        is_lazy = hasattr(X, "compute")  # of Dask
        return "what its compute() returns" if is_lazy else "a DataFrame of pandas"
    if isinstance(X, Iterator) or not _is_sized(X):
        return "pandas.DataFrame(list(...))" if isinstance(X, Iterable) else "a table"
    return None


def _has_names(X: Any) -> bool:
    """Tell a table whose columns have names that would be lost in an array of it."""
    return (
        hasattr(X, "columns")
        and not isinstance(X, pd.DataFrame)
        and not any(hasattr(X, way) for way in ("to_pandas", "to_native"))
    )


def _holds_records(X: Any) -> bool:
    """Tell rows with names of their own: of NumPy, or a list of dicts."""
    if isinstance(X, list | tuple):
        return bool(X) and isinstance(X[0], Mapping)
    return isinstance(X, np.ndarray) and X.dtype.names is not None


def _is_sized(X: Any) -> bool:
    return hasattr(X, "__len__") or hasattr(X, "__array__") or hasattr(X, "shape")
