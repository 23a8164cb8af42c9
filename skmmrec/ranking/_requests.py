"""Requests: who asks for a list, at which moment and in which context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import (
    TIME,
    USER,
    Interactions,
    Table,
    as_frame,
    check_ids,
    check_same_unit,
    check_times,
    column_names,
    plain,
    read_column,
)

# What the caller may give: the same for all, or a row for each user.
Context: TypeAlias = Mapping[str, Any] | pd.DataFrame


@dataclass(frozen=True)
class Requests:
    """Distinct requests in rows of interactions.

    Attributes
    ----------
    table : DataFrame of n rows
        ``user_id``, ``timestamp`` where the rows have times, and the context.
    of_row : ndarray of shape (n_rows,)
        Position of each row's request.
    """

    table: pd.DataFrame
    of_row: NDArray[np.int64]

    def keep(self, kept: NDArray[np.int64]) -> Requests:
        """Keep the requests at some positions; rows of others are at -1."""
        new = np.full(len(self.table), -1)
        new[kept] = np.arange(len(kept))
        return Requests(self.table.iloc[kept].reset_index(drop=True), new[self.of_row])


def read_context(X: Table, names: Sequence[str], rows: Interactions) -> pd.DataFrame:
    """Read the columns of X that tell the context, but for the times.

    `rows` is what was read of X; ``timestamp`` among the names needs times there. A
    ValueError names a column that is not there.
    """
    if TIME in names and rows.times is None:
        raise ValueError(
            f"context={list(names)} names {TIME!r}, which is not a column of X: "
            f"{column_names(X)}"
        )
    columns = {
        name: np.asarray(read_column(X, name, "context"))
        for name in names
        if name != TIME
    }
    return pd.DataFrame(columns, index=range(len(rows)))


def requests_in(
    rows: Interactions, context: pd.DataFrame, names: Sequence[str]
) -> Requests:
    """Group rows by user and context; a request is made at its earliest row.

    `context` is as `read_context` gives it, and `names` are the columns that tell
    requests of one user apart; ``timestamp`` may be one. Requests are in the order of
    their earliest rows.
    """
    table = pd.DataFrame({USER: rows.users})
    if rows.times is not None:
        table[TIME] = rows.times
    if len(context.columns):  # of an empty one, pandas warns
        table = pd.concat([table, context], axis=1)
    order = np.arange(len(rows))
    if rows.times is not None:
        order = np.argsort(rows.times, kind="stable")
    by_time = table.iloc[order]
    keys = [USER, *names]
    groups = by_time.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
    of_row = np.empty(len(rows), np.int64)
    of_row[order] = groups
    first = np.unique(groups, return_index=True)[1]
    return Requests(by_time.iloc[first].reset_index(drop=True), of_row)


def requests_of(
    users: NDArray | pd.Index,
    context: Context | None,
    names: Sequence[str],
    moment: Any,
) -> pd.DataFrame:
    """One request for each user, as the caller describes it.

    Parameters
    ----------
    users : array of shape (n,)
        Who asks.
    context : mapping, DataFrame or None
        Values for all, or a table with ``user_id`` and a row for each user.
    names : sequence of str
        Columns that the ranker knows, besides times.
    moment : object
        Time of those for whom none is given; None: there are no times.

    Returns
    -------
    DataFrame of n rows

    Raises
    ------
    ValueError
        For a column that is missing or unknown, or a user without a row.
    TypeError
        For a context of another type, or one with several values in a mapping.
    """
    table = pd.DataFrame({USER: np.asarray(users)})
    given = _given(table[USER], context)
    if moment is not None:
        table[TIME] = _times_of(given, moment, len(table))
    _check_names(given, names, has_times=moment is not None)
    for name in names:
        table[name] = given[name]
    return table


def _times_of(given: Mapping[str, Any], moment: Any, n: int) -> NDArray | list[Any]:
    if TIME not in given:
        return [moment] * n
    times = check_times(given[TIME], f"context[{TIME!r}]")
    check_moments(times, moment, "the times of context")
    return times


def check_moments(times: NDArray | None, moment: Any, name: str) -> None:
    """Refuse times of another unit than those of `fit`, of which `moment` is one.

    Where one of both has no times there is nothing to compare. The ValueError calls
    them `name`.
    """
    if times is not None and moment is not None:
        check_same_unit(times, np.array([moment]), name, "those of fit")


def tells_time(context: Context | None) -> bool:
    """Tell whether a context says when."""
    return context is not None and TIME in context


def _given(users: pd.Series, context: Context | None) -> dict[str, Any]:
    if context is None:
        return {}
    if isinstance(context, Mapping):
        _refuse_lists(context)
        return {name: [value] * len(users) for name, value in context.items()}
    frame = as_frame(context)
    if frame is None:
        raise TypeError(
            "context must be a mapping of names to values or a DataFrame with a row "
            f"for each user, got {type(context).__name__}"
        )
    rows = _rows_of(users, frame)
    return {str(name): frame[name].to_numpy()[rows] for name in frame if name != USER}


def _refuse_lists(context: Mapping[str, Any]) -> None:
    """Refuse a value for each user where one for all is told."""
    for name, value in context.items():
        if pd.api.types.is_list_like(value):
            raise TypeError(
                f"context[{name!r}] must be one value for all, got "
                f"{type(value).__name__}: for one of each user give a DataFrame with "
                f"{USER!r} and {name!r}"
            )


def _rows_of(users: pd.Series, frame: pd.DataFrame) -> NDArray[np.intp]:
    """Row of each user in a table of contexts."""
    if USER not in frame:
        raise ValueError(f"context has no column {USER!r}: {list(frame)}")
    index = pd.Index(check_ids(frame[USER], f"context[{USER!r}]"))
    if index.has_duplicates:
        twice = index[index.duplicated()][0]
        raise ValueError(
            f"context has user {plain(twice)!r} twice: ask for one moment at a time"
        )
    rows = index.get_indexer(users)
    if (rows < 0).any():
        raise ValueError(
            f"context has no row for user {plain(users[(rows < 0).argmax()])!r}"
        )
    return rows


def _check_names(
    given: Mapping[str, Any], names: Sequence[str], has_times: bool
) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise ValueError(
            f"the ranker was fitted with context {list(names)}, and {missing[0]!r} is "
            f"not given: give context={{{missing[0]!r}: ...}}, or a DataFrame with "
            f"{USER!r} and such a column"
        )
    known = {*names, TIME} if has_times else {*names}
    unknown = sorted({*given} - known)
    if unknown:
        raise ValueError(
            f"context has {unknown[0]!r}, which the ranker does not know: it was "
            f"fitted with {sorted(known)}"
        )


def moment_after(times: NDArray | None) -> Any:
    """Return the moment just after the latest of times; None for none."""
    if times is None:
        return None
    latest = times.max()
    if isinstance(latest, np.floating):
        return np.nextafter(latest, np.inf)
    if isinstance(latest, np.datetime64 | np.timedelta64):
        unit: Any = np.datetime_data(latest.dtype)[0]
        return latest + np.timedelta64(1, unit)
    return int(latest) + 1  # Python's own: small types would start again below 0


def moment_now(moment: Any) -> Any:
    """Return the time of now, where times are dates; else the latest one known."""
    if not isinstance(moment, np.datetime64):
        return moment
    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")


def ids_at(index: pd.Index, rows: NDArray) -> pd.Index | NDArray:
    """Ids at positions; at -1 that of somebody whom nobody knows."""
    if index.dtype.kind in "iuf":
        stranger: Any = index.max() + 1
    else:
        stranger = uuid4().hex
    return index.append(pd.Index([stranger])).take(rows)
