"""Users, items and times of the rows of X."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions._ids import check_ids
from skmmrec.interactions._keys import (
    ITEM,
    TIME,
    USER,
    column_names,
    find_column,
    refuse_other_role,
)
from skmmrec.interactions._no_tables import refuse_no_table
from skmmrec.interactions._times import check_times
from skmmrec.interactions._unread_times import warn_of_unread_times
from skmmrec.interactions._values import on_host

Column = str | int | None


def read_ids(X: Any, column: Column, names: Sequence[str], position: int) -> NDArray:
    """Read a column of ids.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_rows, n_columns)
        Interactions.
    column : str, int or None
        Name or position. None for the first of `names` that is there, with or without a
        prefix such as ``ids__`` or, where there is none, the one at `position`.
    names : sequence of str
        Usual names of the column.
    position : int
        Usual position of the column: 0 for users, 1 for items.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        If there is no such column, an id is missing, or the column at `position` has a
        name that says that it is something else.
    """
    refuse_no_table(X, wanted=[names] if column is None else [])
    role, held = ("user", "item")[position], column_names(X)
    if column is None and held is not None and len(held) > position:
        found = find_column(held, names)
        if found is None:
            refuse_other_role(held, position, role)
            found = position
        return check_ids(*_at(X, held, found))
    return check_ids(*_pick(X, position if column is None else column, f"{role}_key"))


def user_ids(X: Any, column: Column = None, names: Sequence[str] = (USER,)) -> NDArray:
    """Read the users; the first column holds them unless it is told otherwise."""
    return read_ids(X, column, names, 0)


def item_ids(X: Any, column: Column = None, names: Sequence[str] = (ITEM,)) -> NDArray:
    """Read the items; the second column holds them unless it is told otherwise."""
    return read_ids(X, column, names, 1)


def user_codes(X: Any, column: Column) -> NDArray[np.int64]:
    """Enumerate the users, from 0 for the smallest id."""
    return pd.factorize(user_ids(X, column), sort=True)[0]


def item_codes(X: Any, column: Column) -> NDArray[np.int64]:
    """Enumerate the items, from 0 for the smallest id."""
    return pd.factorize(item_ids(X, column), sort=True)[0]


def time_codes(X: Any, column: Column, times: Any) -> NDArray[np.int64]:
    """Enumerate the distinct times in their order; row order stands in for none.

    `column` is a name or position; None: the column named timestamp, if there is one,
    with a UserWarning where another holds dates. `times`, where given, are used
    instead.
    """
    refuse_no_table(X, wanted=[(TIME,)] if column is None and times is None else [])
    n_rows = len(X)
    if times is not None:
        return _ordered(times, "groups", n_rows)
    names = column_names(X) or []
    if column is not None:
        values, label = _pick(X, column, "time_key")
    elif (found := find_column(names, [TIME])) is not None:
        values, label = _at(X, names, found)
    else:
        warn_of_unread_times(X)
        return np.arange(n_rows)
    return _ordered(values, f"time column {label!r}", n_rows)


def has_times(X: Any, column: Column, times: Any) -> bool:
    """Tell whether `time_codes` reads times, and not the order of the rows."""
    if times is not None or column is not None:
        return True
    return find_column(column_names(X) or [], [TIME]) is not None


def read_column(X: Any, column: str | int, argument: str) -> Any:
    """Pick one column by name or position.

    A name may have a prefix such as ``ids__``. A ValueError, which calls the argument
    by its name, says that there is no such column.
    """
    return _pick(X, column, argument)[0]


def _pick(X: Any, column: str | int, argument: str) -> tuple[Any, str]:
    """Pick a column; also what errors call it."""
    names = column_names(X)
    if names is not None:
        return _at(X, names, _position_of(names, column, argument))
    table = np.asarray(on_host(X), dtype=None if hasattr(X, "dtype") else object)
    if isinstance(column, str):
        raise ValueError(f"{argument}={column!r} is a name, but X has no column names")
    if table.ndim != 2 or not -table.shape[1] <= column < table.shape[1]:
        raise ValueError(
            f"{argument}={column} is out of range for X of shape {table.shape}"
        )
    return table[:, column], str(column)


def _at(X: Any, names: list[Any], position: int) -> tuple[Any, str]:
    if names.count(names[position]) > 1:
        raise ValueError(
            f"X has several columns named {names[position]!r}: rename all but one"
        )
    values = X.iloc[:, position] if hasattr(X, "iloc") else X[names[position]]
    return values, str(names[position])


def _position_of(names: list[Any], column: str | int, argument: str) -> int:
    if column in names:
        return names.index(column)
    if isinstance(column, str):
        found = find_column(names, [column])
        if found is None:
            raise ValueError(f"{argument}={column!r} is not a column of X: {names}")
        return found
    if not -len(names) <= column < len(names):
        raise ValueError(
            f"{argument}={column} is out of range for {len(names)} columns"
        )
    return int(column)


def _ordered(times: Any, name: str, n_rows: int) -> NDArray[np.int64]:
    values = check_times(times, name)
    if len(values) != n_rows:
        raise ValueError(f"{name} has {len(values)} entries, X has {n_rows} rows")
    return np.unique(values, return_inverse=True)[1]
