"""Times that are not read as such, since their column is not called so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions._caller import warn_caller
from skmmrec.interactions._keys import ITEM, TIME, find_column


def find_dates(table: Any, positions: Sequence[int]) -> int | None:
    """Find the first column of dates; its first value tells, where types do not.

    Parameters
    ----------
    table : DataFrame or ndarray of shape (n, n_columns)
        The columns.
    positions : sequence of int
        Where to look.

    Returns
    -------
    int or None
        Its position.
    """
    if not isinstance(table, pd.DataFrame):
        if getattr(table, "dtype", np.dtype(float)).kind not in "OM":
            return None
        table = pd.DataFrame(table)
    return next((p for p in positions if _is_of_dates(table.iloc[:, p])), None)


def _is_of_dates(column: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    if column.dtype != object or len(column) == 0:
        return False
    return isinstance(column.iloc[0], date | np.datetime64)


def warn_of_unread_times(X: Any) -> None:
    """Say that the order of rows stands in for times which X seems to have."""
    if not isinstance(X, pd.DataFrame) or X.shape[1] < 2:
        return
    item = find_column(list(X.columns), [ITEM])
    items = X.iloc[:, 1 if item is None else item].to_numpy()
    found = find_dates(X, range(X.shape[1]))
    if found is not None and _are_of_rows(X.iloc[:, found], items):
        name = X.columns[found]
        warn_caller(
            f"the column {name!r} of X holds dates that differ between rows of one "
            "item, and is not read: rows count as being in the order of time. Call it "
            f"{TIME!r}, or give time_key={name!r}"
        )


def warn_of_moments(
    table: pd.DataFrame | NDArray, positions: Sequence[int], items: NDArray
) -> None:
    """Say that dates of rows would count as content of items.

    Parameters
    ----------
    table : DataFrame or ndarray of shape (n, n_columns)
        A flat table.
    positions : sequence of int
        Its columns of content.
    items : ndarray of shape (n,)
        The item of each row.
    """
    found = find_dates(table, positions)
    if found is None:
        return
    is_named = isinstance(table, pd.DataFrame)
    frame = pd.DataFrame(table)
    if _are_of_rows(frame.iloc[:, found], items):
        name = f"{frame.columns[found]!r}" if is_named else f"number {found}"
        warn_caller(
            f"the column {name} of X holds dates that differ between rows of one item, "
            "and is read as content, of which the first row counts. If it tells when "
            f"rows happened, call it {TIME!r}, in a DataFrame: "
            'set_output(transform="pandas") of a transformer keeps names'
        )


def _are_of_rows(dates: pd.Series, items: NDArray) -> bool:
    """Tell dates of rows from those of items, which do not differ between rows."""
    return bool(dates.groupby(items).nunique().max() > 1)
