"""Times that are not read as such, since their column is not called so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions._caller import warn_caller
from skmmrec.interactions._frames import as_frame
from skmmrec.interactions._keys import ITEM, TIME, find_column
from skmmrec.interactions._order import sorted_by_item
from skmmrec.interactions._times import date_of_number

# A date, perhaps with a time of day, in the format of ISO 8601.
WRITTEN = re.compile(r"\s*\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?\s*")
# What columns of times are called: numbers in other ones may be ids or prices.
NAMED = re.compile(r"time|date|unix|epoch|(^|_)(ts|at)$", re.IGNORECASE)

# In which a value is looked for that tells what a column holds; some may be missing.
_ROWS = 100


def find_moments(table: Any, positions: Sequence[int], items: NDArray) -> int | None:
    """Find the first column of dates that differ between rows of one item.

    Parameters
    ----------
    table : DataFrame or ndarray of shape (n, n_columns)
        The columns; the first values of each tell dates, where types do not.
    positions : sequence of int
        Where to look.
    items : ndarray of shape (n,)
        The item of each row.

    Returns
    -------
    int or None
        Its position.
    """
    if not isinstance(table, pd.DataFrame):
        if getattr(table, "dtype", np.dtype(float)).kind not in "OTUM":
            return None
        table = pd.DataFrame(table)
    columns = ((p, table.iloc[:, p]) for p in positions)
    return next(
        (p for p, column in columns if _is_of_dates(column) and _vary(column, items)),
        None,
    )


def _is_of_dates(column: pd.Series) -> bool:
    """Tell dates, texts of dates, and seconds since 1970 that are called a time."""
    kind, is_named = column.dtype, NAMED.search(str(column.name)) is not None
    if pd.api.types.is_datetime64_any_dtype(kind):
        return True
    if pd.api.types.is_numeric_dtype(kind) and not is_named:  # most columns
        return False
    first = column.iloc[0] if len(column) else None
    if pd.api.types.is_scalar(first) and pd.isna(first):
        known = column.iloc[:_ROWS].dropna()
        first = known.iloc[0] if len(known) else None
    if isinstance(first, str):
        return WRITTEN.fullmatch(first) is not None
    if isinstance(first, int | float | np.integer | np.floating):
        return is_named and date_of_number(float(first)) is not None
    return isinstance(first, date | np.datetime64 | pd.Period)


def warn_of_unread_times(X: Any) -> None:
    """Say that the order of rows stands in for times which X seems to have."""
    if isinstance(X, pd.DataFrame):  # whose own slices may go by labels
        first = X.iloc[:_ROWS]
    else:
        first = as_frame(X[:_ROWS]) if hasattr(X, "columns") else None
    if first is None or first.shape[1] < 2:
        return
    named = find_column(list(first.columns), [ITEM])
    item = 1 if named is None else named
    places = [p for p in range(first.shape[1]) if _is_of_dates(first.iloc[:, p])]
    table = _columns(X, first.columns, [item, *(p for p in places if p != item)])
    items = table.iloc[:, 0].to_numpy()
    found = find_moments(table, range(1, table.shape[1]), items)
    if found is not None:
        name = table.columns[found]
        warn_caller(
            f"the column {name!r} of X holds dates that differ between rows of one "
            "item, and is not read: rows count as being in the order of time. Call it "
            f"{TIME!r} or, where a splitter sees X itself, give time_key={name!r}"
        )


def _columns(X: Any, names: pd.Index, places: list[int]) -> pd.DataFrame:
    """Take over some columns of a table: to convert all, texts among them, is slow."""
    if isinstance(X, pd.DataFrame):
        return X.iloc[:, places]
    table = as_frame(X.select([names[place] for place in places]))
    assert table is not None
    return table


def warn_of_sorted_rows(
    users: NDArray, items: NDArray, ids: pd.Index, consequence: str
) -> None:
    """Say that rows without times are sorted by item, which is no order of time.

    `users` and `items` are the positions of those of each row, `ids` those of items.
    """
    if sorted_by_item(users, items, np.zeros(len(users)), ids):
        warn_caller(
            "X has no times, and the rows of each user are sorted by item: "
            f"{consequence}. Give the column {TIME!r}, or rows in the order of time"
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
    found = find_moments(table, positions, items)
    if found is not None:
        name = f"number {found}"
        if isinstance(table, pd.DataFrame):
            name = repr(table.columns[found])
        warn_caller(
            f"the column {name} of X holds dates that differ between rows of one item, "
            "and is read as content, of which the first row counts. If it tells when "
            f"rows happened, call it {TIME!r}, in a DataFrame: "
            'set_output(transform="pandas") of a transformer keeps names'
        )


def _vary(dates: pd.Series, items: NDArray) -> bool:
    """Tell dates of rows from those of items, which do not differ between rows."""
    return bool(dates.groupby(items).nunique().max() > 1)
