"""Users, items and times of the rows of X."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions._ids import ITEM, TIME, USER, check_ids, check_times

Column = str | int | None


def read_ids(X: Any, column: Column, default: str, position: int) -> NDArray:
    """Read a column of ids.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_rows, n_columns)
        Interactions.
    column : str, int or None
        Name or position. None for the column named `default`, with or without a prefix
        such as ``ids__`` or, where there is none, the one at `position`.
    default : str
        Usual name of the column.
    position : int
        Usual position of the column.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        If there is no such column or an id is missing.
    """
    if column is None:
        column = _named(X, default)
    column = position if column is None else column
    argument = default.removesuffix("_id")
    return check_ids(read_column(X, column, argument), str(column))


def user_ids(X: Any, column: Column = None) -> NDArray:
    """Read the users; the first column holds them unless it is told otherwise."""
    return read_ids(X, column, USER, 0)


def item_ids(X: Any, column: Column = None) -> NDArray:
    """Read the items; the second column holds them unless it is told otherwise."""
    return read_ids(X, column, ITEM, 1)


def user_codes(X: Any, column: Column) -> NDArray[np.int64]:
    """Enumerate the users, from 0 for the smallest id."""
    return pd.factorize(user_ids(X, column), sort=True)[0]


def item_codes(X: Any, column: Column) -> NDArray[np.int64]:
    """Enumerate the items, from 0 for the smallest id."""
    return pd.factorize(item_ids(X, column), sort=True)[0]


def time_codes(X: Any, column: Column, times: Any) -> NDArray[np.int64]:
    """Enumerate the distinct times in their order; row order stands in for none.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_rows, n_columns)
        Interactions.
    column : str, int or None
        Name or position. None for the column named timestamp, if there is one.
    times : array-like of shape (n_rows,) or None
        Used instead of a column where given.

    Returns
    -------
    ndarray of shape (n_rows,)
    """
    n_rows = len(X)
    if times is not None:
        return _ordered(times, "groups", n_rows)
    if column is None:
        column = _named(X, TIME)
    if column is None:
        return np.arange(n_rows)
    return _ordered(read_column(X, column, "time"), f"time column {column!r}", n_rows)


def _named(X: Any, name: str) -> Any:
    """Find the column with a name, whatever its prefix."""
    names = column_names(X) or []
    found = [n for n in names if str(n).rpartition("__")[2] == name]
    return found[0] if found else None


def column_names(X: Any) -> list[Any] | None:
    """List the names of the columns; None for what has no names."""
    return list(X.columns) if hasattr(X, "columns") else None


def read_column(X: Any, column: str | int, argument: str) -> Any:
    """Pick one column by name or position.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_rows, n_columns)
        Interactions.
    column : str or int
        Name or position.
    argument : str
        What errors call the column's argument.

    Returns
    -------
    array-like of shape (n_rows,)

    Raises
    ------
    ValueError
        If there is no such column.
    """
    names = column_names(X)
    if names is not None:
        values = X[_name_of(names, column, argument)]
        return values if isinstance(values, pd.Series) else np.asarray(values)
    table = np.asarray(X, dtype=getattr(X, "dtype", object))
    if isinstance(column, str):
        raise ValueError(f"{argument}={column!r} is a name, but X has no column names")
    if table.ndim != 2 or not -table.shape[1] <= column < table.shape[1]:
        raise ValueError(
            f"{argument}={column} is out of range for X of shape {table.shape}"
        )
    return pd.Series(table[:, column]).infer_objects()


def _name_of(names: list[Any], column: str | int, argument: str) -> Any:
    if column in names:
        return column
    if isinstance(column, str):
        raise ValueError(f"{argument}={column!r} is not a column of X: {names}")
    if not -len(names) <= column < len(names):
        raise ValueError(
            f"{argument}={column} is out of range for {len(names)} columns"
        )
    return names[column]


def _ordered(times: Any, name: str, n_rows: int) -> NDArray[np.int64]:
    values = pd.Series(times) if not isinstance(times, pd.Series) else times
    if len(values) != n_rows:
        raise ValueError(f"{name} has {len(values)} entries, X has {n_rows} rows")
    return pd.factorize(check_times(values, name), sort=True)[0]
