"""One column of raw content, from whatever table or sequence holds it."""

from __future__ import annotations

from collections.abc import Iterable
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd

from skmmrec.runtime._errors import ContentError


def as_items(X: Any, owner: str) -> list[Any]:
    """Return the items of a single column as a list.

    Parameters
    ----------
    X : Series, one-column DataFrame, sequence or array
        May come from pandas, polars or pyarrow. An array has shape (n,) or (n, 1), or
        holds one item, such as a picture, per entry of its first axis.
    owner : str
        The name that error messages begin with.

    Returns
    -------
    items : list
        One entry per row.

    Raises
    ------
    ValueError
        If `X` has more than one column, or no row.
    TypeError
        If `X` is not a column at all.
    """
    if isinstance(X, str | bytes) or not hasattr(X, "__len__"):
        raise TypeError(
            f"{owner} expects one column of items, got a single "
            f"{type(X).__name__}: wrap it in a list."
        )
    items = _from_table(X, owner) if hasattr(X, "columns") else _from_sequence(X, owner)
    if not items:
        raise ValueError(f"{owner} found 0 rows, while at least 1 is required.")
    return items


def fill_template(template: str, table: Any, owner: str) -> list[str | None]:
    """Fill a format string with the columns that it names, one text per row.

    A missing value leaves its place empty; a row whose values are all missing is None.

    Raises
    ------
    ValueError
        If the template names no column, or one that `table` does not have.
    """
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    known = list(getattr(table, "columns", []))
    absent = [name for name in names if name not in known]
    if absent or not names:
        raise ValueError(
            f"{owner}(template={template!r}) names the columns {names}, got {known}."
        )
    columns = {name: as_items(table[[name]], owner) for name in names}
    rows = zip(*columns.values(), strict=True)
    return [_fill(template, dict(zip(columns, row, strict=True))) for row in rows]


def is_missing(item: Any) -> bool:
    """Tell whether an item is None, NaN, NaT, pd.NA or blank, or a list of these."""
    if isinstance(item, list):
        return all(is_missing(part) for part in item)
    if isinstance(item, str):
        return not item.strip()
    if item is None or item is pd.NA or item is pd.NaT:
        return True
    return isinstance(item, float | np.floating) and bool(np.isnan(item))


def checked_text(item: Any) -> str:
    """Return an item that is a text, as UTF-8 knows it, or raise.

    Raises
    ------
    ContentError
        If it is not a str, or holds half of a character. Such halves come from text
        that was cut inside a character, or decoded with ``errors="surrogateescape"``.
    """
    if not isinstance(item, str):
        raise ContentError(f"expected a text, got {type(item).__name__}")
    try:
        item.encode()
    except UnicodeEncodeError as error:
        raise ContentError(
            f"is not a text that UTF-8 can encode: {item[error.start]!r} at position "
            f"{error.start}. Decode the bytes it came from by their own encoding, or "
            'drop such characters by text.encode(errors="ignore").decode()'
        ) from error
    return str(item)


def _fill(template: str, row: dict[str, Any]) -> str | None:
    known = {name: value for name, value in row.items() if not is_missing(value)}
    return template.format(**{**dict.fromkeys(row, ""), **known}) if known else None


def _from_table(table: Any, owner: str) -> list[Any]:
    _require_one_column(table.shape[1], owner)
    column = table.iloc[:, 0] if hasattr(table, "iloc") else table[:, 0]
    return _from_sequence(column, owner)


def _from_sequence(column: Any, owner: str) -> list[Any]:
    if isinstance(column, np.ndarray):
        return _from_array(column, owner)
    for method in ("to_list", "to_pylist"):
        if hasattr(column, method):
            return list(getattr(column, method)())
    if not isinstance(column, Iterable):
        raise TypeError(f"{owner} cannot read a column from {type(column).__name__}.")
    items = list(column)
    nested = bool(items) and all(isinstance(i, list) and len(i) == 1 for i in items)
    return [item[0] for item in items] if nested else items


def _from_array(array: np.ndarray, owner: str) -> list[Any]:
    if array.ndim == 2:
        _require_one_column(array.shape[1], owner)
        array = array[:, 0]
    return array.tolist() if array.ndim == 1 else list(array)


def _require_one_column(n_columns: int, owner: str) -> None:
    if n_columns != 1:
        raise ValueError(
            f"{owner} encodes one column, got {n_columns}. Use "
            "sklearn.compose.make_column_transformer with one encoder per column."
        )
