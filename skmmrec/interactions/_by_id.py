"""What callers say of each id, in a Series indexed by it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from skmmrec.interactions._ids import check_ids

_HOW = "indexed by id, as table.set_index(key)[column] is"


def check_by_id(values: Any, name: str) -> None:
    """Refuse what is no Series indexed by id.

    Errors are those of `check_series` and `check_has_ids`.
    """
    check_series(values, name)
    check_has_ids(values, name)


def check_series(values: Any, name: str) -> None:
    """Refuse what is no Series of pandas, by a TypeError that says how to make one."""
    if isinstance(values, pd.DataFrame):
        raise TypeError(f"{name} must be a Series, got a DataFrame: it is {_HOW}")
    if not isinstance(values, pd.Series):
        kind = type(values)
        kind_name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
        kind_name = kind_name.removeprefix("builtins.")
        raise TypeError(f"{name} must be a Series of pandas, {_HOW}, got {kind_name}")


def check_has_ids(values: pd.Series | pd.DataFrame, name: str) -> None:
    """Refuse the index that pandas gives where there is none: rows would pass for ids.

    A ValueError says what to do, also where ids do count from 0.
    """
    index = values.index
    if isinstance(index, pd.RangeIndex) and index.name is None and len(index):
        raise ValueError(
            f"{name} has no ids in its index, which is a mere count of rows: it is "
            f"{_HOW}. If the ids are these numbers, say so by a name of the index, as "
            f"{name}.rename_axis('item_id') does"
        )


def groups_of(ids: pd.Index, groups: pd.Series) -> pd.Series:
    """Look up the group of each id.

    Parameters
    ----------
    ids : Index of length n
        Whose groups to look up.
    groups : Series
        Indexed by id.

    Returns
    -------
    Series of length n

    Raises
    ------
    TypeError
        If `groups` is no Series of pandas.
    ValueError
        If an id has no group or occurs twice in `groups`, or its index has no ids.
    """
    check_by_id(groups, "groups")
    groups = groups.set_axis(pd.Index(check_ids(groups.index, "the index of groups")))
    if groups.index.has_duplicates:
        twice = groups.index[groups.index.duplicated()].tolist()[0]
        raise ValueError(f"groups has {twice!r} more than once: it is {_HOW}")
    found = groups.reindex(ids)
    if found.isna().any():
        lacking = ids[found.isna()].tolist()[0]
        if lacking in groups.index:
            raise ValueError(
                f"groups has a missing value for {lacking!r} "
                f"({int(groups.isna().sum())} such values): fill them, such as by a "
                "group of their own"
            )
        raise ValueError(f"groups has no group for {lacking!r}: it is {_HOW}")
    return found
