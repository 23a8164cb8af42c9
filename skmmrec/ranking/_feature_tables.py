"""Tables of features of users and items, as they were at the time of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import (
    TIME,
    check_ids,
    check_same_kind,
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
    codes : ndarray of shape (n_rows,)
        Position of each row's id.
    times : ndarray of shape (n_rows,) or None
        Since when a row holds; None: always.
    values : DataFrame of n_rows rows
        The features.
    """

    key: str
    index: pd.Index
    codes: NDArray[np.intp]
    times: NDArray | None
    values: pd.DataFrame

    def look_up(self, ids: NDArray, times: NDArray | None) -> pd.DataFrame:
        """Features of ids as they were known before their times.

        Parameters
        ----------
        ids : ndarray of shape (n,)
            Those without a row get missing values.
        times : ndarray of shape (n,) or None
            None: the latest row of each id.

        Returns
        -------
        DataFrame of n rows

        Raises
        ------
        ValueError
            For ids or times of another kind than the table's.
        """
        check_same_kind(ids, self.index, self.key)
        codes = self.index.get_indexer(ids)
        rows = self._rows(codes, times)
        found = self.values.reindex(np.where((codes < 0) | (rows < 0), -1, rows))
        return found.reset_index(drop=True)

    def _rows(self, codes: NDArray, times: NDArray | None) -> NDArray[np.intp]:
        """Row of each code that was the last one before a time; -1 for none."""
        if self.times is None:
            own, asked, n = np.zeros(len(self.codes), int), np.ones(len(codes), int), 2
        else:
            own, asked, n = _in_one_order(self.times, times, len(codes), self.key)
        keys = self.codes * n + own
        order = np.argsort(keys, kind="stable")
        # Strictly before: a row of the same moment may tell what was then chosen.
        place = np.searchsorted(keys[order], codes * n + asked, side="left") - 1
        rows = order[np.maximum(place, 0)]
        return np.where((place >= 0) & (self.codes[rows] == codes), rows, -1)


def read_features(table: Any, key: str, name: str) -> FeatureTable | None:
    """Read a table of features.

    Parameters
    ----------
    table : DataFrame or None
        A column of ids, or ids as the index; and perhaps ``timestamp``.
    key : str
        Name of the column of ids.
    name : str
        What errors call it.

    Returns
    -------
    FeatureTable or None

    Raises
    ------
    TypeError
        For what is no table.
    ValueError
        For ids that are missing, or come twice where there are no times.
    """
    if table is None:
        return None
    frame = take_over(table, name)
    ids = check_ids(frame.get(key, frame.index), f"{name}[{key!r}]")
    times = check_times(frame[TIME], f"{name}[{TIME!r}]") if TIME in frame else None
    codes, index = pd.factorize(ids)
    if times is None and len(index) < len(ids):
        twice = pd.Series(ids).duplicated().to_numpy().argmax()
        raise ValueError(
            f"{name} has {key} {plain(ids[twice])!r} twice (row {twice}): give one row "
            f"for each, or a column {TIME!r} that says since when a row holds"
        )
    values = frame.drop(columns=[key, TIME], errors="ignore").reset_index(drop=True)
    if len(values.columns) == 0:
        raise ValueError(f"{name} has no column besides ids and times")
    return FeatureTable(key, pd.Index(index), codes, times, values)


def _in_one_order(
    own: NDArray, asked: NDArray | None, n_asked: int, key: str
) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Numbers of times in their order, and how many there may be."""
    if asked is None:
        ranks = np.unique(own, return_inverse=True)[1]
        n = len(own) + 1
        return ranks, np.full(n_asked, n - 1), n
    if own.dtype.kind != asked.dtype.kind and "M" in own.dtype.kind + asked.dtype.kind:
        raise ValueError(
            f"the features by {key} have times of type {own.dtype}, the rows to rank "
            f"of {asked.dtype}: give both as dates, or both as numbers of one unit"
        )
    ranks = np.unique(np.concatenate([own, asked]), return_inverse=True)[1]
    return ranks[: len(own)], ranks[len(own) :], len(ranks) + 1
