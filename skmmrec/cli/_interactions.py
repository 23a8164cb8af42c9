"""Who met what, from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from skmmrec.cli._command import note
from skmmrec.datasets import Kind, TableFiles, read_interactions, read_table
from skmmrec.interactions import ITEM, TIME, USER


@dataclass(frozen=True)
class Rows:
    """Interactions as `fit` takes them.

    Attributes
    ----------
    source : TableFiles
        Where they are from.
    X : DataFrame of shape (n, 2) or (n, 3)
        Users, items and, if there are any, times, in this order; the time is called
        ``timestamp``.
    y : Series of length n or None
        Strengths; above 0 is liked.
    weights : Series of length n or None
        How much each row counts.
    """

    source: TableFiles
    X: pd.DataFrame
    y: pd.Series | None
    weights: pd.Series | None = None

    def take(self, rows: Any) -> Rows:
        """Return some rows, by position."""
        y, weights = (
            None if column is None else column.iloc[rows]
            for column in (self.y, self.weights)
        )
        return Rows(self.source, self.X.iloc[rows], y, weights)

    def named(self, *names: str) -> Rows:
        """Call the first columns otherwise."""
        columns = [*names, *self.X.columns[len(names) :]]
        return replace(self, X=self.X.set_axis(columns, axis=1))

    def usual(self) -> Rows:
        """Call the ids as tables of results do."""
        return self.named(USER, ITEM)


def read_rows(source: TableFiles, given: Mapping[str, Any]) -> Rows:
    """Read interactions by the options of a command.

    These are ``user``, ``item``, ``rating``, ``neutral``, ``weights`` and ``time``.
    """
    user, item, time = given["user"], given["item"], given["time"]
    rating, weights = given["rating"], given["weights"]
    numbers = [name for name in (rating, weights) if name is not None]
    if time is None and TIME in source.columns():
        time = TIME
    read: Any
    if source.is_parquet:
        keys = {"user_key": user, "item_key": item, "time_key": time}
        X, read = read_interactions(source.path, y=numbers or None, **keys)
    else:
        X, read = _read_csv(source, user, item, numbers, time)
    _tell_of_others(source, [user, item, time, *numbers])
    y = None if rating is None else read[rating] - given["neutral"]
    return Rows(source, X, y, None if weights is None else read[weights])


def _tell_of_others(source: TableFiles, read: Sequence[str | None]) -> None:
    """Name columns that are not read: stars without --rating would all be likes."""
    others = [repr(name) for name in source.columns() if name not in read]
    if others:
        shown = ", ".join(others[:5]) + ", ..." * (len(others) > 5)
        note(
            f"{source.path} has columns that are not read: {shown}. Name those to "
            "read by --time, --rating and --weights."
        )


def _read_csv(
    source: TableFiles, user: str, item: str, numbers: list[str], time: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    kinds: dict[str, Kind] = {user: "id", item: "id"}
    if time is not None:
        kinds[time] = "time"
    for name in numbers:
        kinds[name] = "number"
    named = [name for name in (user, item, time, *numbers) if name is not None]
    if len(kinds) < len(named):
        raise ValueError(f"a column is named twice: {named}")
    table = read_table(source, kinds)
    for name in kinds:
        _check_complete(table[name], name, source.path)
    X = table[[n for n in (user, item, time) if n]].rename(columns={time: TIME})
    return X, table[numbers]


def _check_complete(column: pd.Series, name: str, path: Path) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"{path}: column {name!r} is empty in row {missing.argmax()} "
            f"({missing.sum()} such rows): fill it, or leave these rows out"
        )
