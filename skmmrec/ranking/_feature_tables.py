"""Tables of features of users and items, as they were at the time of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_integer_dtype

from skmmrec.interactions import (
    TIME,
    USER,
    Interactions,
    check_ids,
    check_same_kind,
    check_same_unit,
    check_times,
    plain,
    take_over,
)


@dataclass(frozen=True)
class FeatureTable:
    """Rows of features by id and perhaps time.

    Attributes
    ----------
    key : str
        What the ids are: ``user_id`` or ``item_id``.
    index : Index
        Distinct ids.
    moments : ndarray of shape (n_moments,) or None
        Distinct times, ascending; None: rows hold always.
    keys : ndarray of shape (n_rows,)
        Position of each row's id, times n_moments + 1, and of its moment; ascending.
    values : DataFrame of n_rows rows
        The features.
    """

    key: str
    index: pd.Index
    moments: NDArray | None
    keys: NDArray[np.int64]
    values: pd.DataFrame

    @property
    def ids(self) -> NDArray:
        """Id of each row."""
        return self.index.to_numpy()[self.keys // _per_id(self.moments)]

    @property
    def times(self) -> NDArray | None:
        """Since when each row holds; None: always."""
        own = self.moments
        return None if own is None else own[self.keys % _per_id(own)]

    def look_up(self, ids: NDArray, times: NDArray | None) -> pd.DataFrame:
        """Features of ids as they were known before their times.

        Ids without a row get missing values; without times, the latest row of each id
        counts. A ValueError says that ids or times are of another kind than the
        table's.
        """
        check_same_kind(ids, self.index, self.key)
        first = self.index.get_indexer(ids) * _per_id(self.moments)
        ends = np.searchsorted(self.keys, first + self._n_before(times))
        starts = np.searchsorted(self.keys, first)
        rows = np.where(starts < ends, ends - 1, -1)
        return self.values.reindex(rows).reset_index(drop=True)

    def _n_before(self, times: NDArray | None) -> NDArray[np.intp] | int:
        """How many moments were before each time; None: all."""
        own = self.moments
        if own is None or times is None:
            return _per_id(own) - 1
        name = f"the times of the features by {self.key}"
        check_same_unit(own, times, name, "those of the rows to rank")
        # Strictly before: a row of the same moment may tell what was then chosen.
        if own.dtype.kind == "M":
            own, times = _in_one_unit(own, times)
        return np.searchsorted(own, times, side="left")


def read_features(
    table: Any,
    key: str,
    name: str,
    own: Sequence[str] = (),
    wanted: NDArray | None = None,
) -> FeatureTable | None:
    """Read a table of features.

    It has a column of ids, called `key` or by one of its `own` names, or ids as the
    index; and perhaps ``timestamp``. Errors call it `name`: a TypeError for what is no
    table, a ValueError for ids that are missing, or come twice where there are no
    times, or for an index without a name that has no more of the `wanted` ids than
    a column has.
    """
    if table is None:
        return None
    frame = take_over(table, name)
    column = next((known for known in (key, *own) if known in frame), None)
    if column is None and wanted is not None:
        _check_index(frame, key, name, wanted)
    ids = check_ids(_ids_in(frame, column, key, name), f"{name}[{(column or key)!r}]")
    times = check_times(frame[TIME], f"{name}[{TIME!r}]") if TIME in frame else None
    codes, index = pd.factorize(ids)
    if times is None and len(index) < len(ids):
        twice = pd.Series(ids).duplicated().to_numpy().argmax()
        raise ValueError(
            f"{name} has {key} {plain(ids[twice])!r} twice (row {twice}): give one row "
            f"for each, or a column {TIME!r} that says since when a row holds"
        )
    values = frame.drop(columns=[column, TIME], errors="ignore")
    values = values.reset_index(drop=True)
    if len(values.columns) == 0:
        raise ValueError(f"{name} has no column besides ids and times")
    moments, since = None, np.zeros(len(codes), np.intp)
    if times is not None:
        moments, since = np.unique(times, return_inverse=True)
    keys = codes * _per_id(moments) + since
    # Sorted here, so that a request need not do it to find its own rows.
    order = np.argsort(keys, kind="stable")
    in_order = values.take(order).reset_index(drop=True)
    return FeatureTable(key, pd.Index(index), moments, keys[order], in_order)


def check_tells_of(table: FeatureTable, rows: Interactions, name: str) -> None:
    """Refuse a table of features, which errors call `name`, that tells of no row."""
    if table.times is not None and rows.times is None:
        raise ValueError(
            f"{name} has a column {TIME!r} and X has none, so that nobody knows which "
            f"of its rows came first: give X one, or drop {name}'s"
        )
    ids = rows.users if table.key == USER else rows.items
    check_same_kind(ids, table.index, table.key)
    if not table.index.isin(ids).any():
        raise ValueError(
            f"{name} has no {table.key} of X, which are such as {plain(ids[0])!r}: its "
            f"own are such as {plain(next(iter(table.index), None))!r}"
        )


def _ids_in(
    frame: pd.DataFrame, column: str | None, key: str, name: str
) -> pd.Series | pd.Index:
    """Ids of a table: a column or the index, which must be more than row numbers."""
    if column is not None:
        return frame[column]
    index = frame.index
    if isinstance(index, pd.RangeIndex) and index.name is None:
        raise ValueError(
            f"{name} has no column {key!r}, and its index is a mere count of rows: "
            f"{list(frame)}. Rename the column of the ids to {key!r}, or set_index it"
        )
    return index


def _check_index(frame: pd.DataFrame, key: str, name: str, wanted: NDArray) -> None:
    """Refuse rows that were counted before some were taken out, in place of ids."""
    index = frame.index
    is_counted = index.name is None and is_integer_dtype(index.dtype)
    if not is_counted or isinstance(index, pd.RangeIndex):
        return
    ids = pd.Index(wanted).unique()
    n_found = ids.isin(index).sum()
    for label, values in frame.items():
        if not is_integer_dtype(values.dtype) or not values.is_unique:
            continue
        n_better = ids.isin(values).sum()
        if n_better and n_better >= n_found:
            raise ValueError(
                f"{name} has no column {key!r}, and of the {len(ids)} ids of X its "
                f"column {label!r} has {n_better}, its index {n_found}: rename the "
                f"column to {key!r}, or name the index {key!r} if the ids are there"
            )


def _per_id(moments: NDArray | None) -> int:
    """Keys of one id: its moments, and what comes after all of them."""
    return 2 if moments is None else len(moments) + 1


def _in_one_unit(own: NDArray, times: NDArray) -> tuple[NDArray, NDArray]:
    """Bring dates into the coarser unit of both, in which far ones fit.

    What is rounded there comes before the same times as it did: moments of a table are
    rounded down, and times of rows up.
    """
    if own.dtype == np.promote_types(own.dtype, times.dtype):
        return own.astype(times.dtype), times
    down = times.astype(own.dtype)
    return own, down + (down < times).astype(np.int64)
