"""One column of raw content, from whatever table or sequence holds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from decimal import Decimal
from string import Formatter
from typing import Any
from unicodedata import category

import numpy as np
import pandas as pd

from skmmrec.interactions import how_to_read
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
        One entry per row. Lists of paths or the like, which parquet files give as
        arrays, are lists.

    Raises
    ------
    ValueError
        If `X` has more than one column, or no row.
    TypeError
        If `X` is not a column at all.
    """
    _refuse_unread(X, owner)
    is_column = hasattr(X, "__len__") and getattr(X, "ndim", 1) > 0
    if isinstance(X, str | bytes) or not is_column:
        raise TypeError(
            f"{owner} expects one column of items, got a single "
            f"{type(X).__name__}: wrap it in a list."
        )
    if isinstance(X, Mapping | Set):
        raise TypeError(
            f"{owner} expects one column of items, got a {type(X).__name__}, which "
            "has no rows in an order: give a list, or a DataFrame."
        )
    items = _from_table(X, owner) if hasattr(X, "columns") else _from_sequence(X, owner)
    if not items:
        raise ValueError(f"{owner} found 0 rows, while at least 1 is required.")
    return [item.tolist() if _is_list(item) else item for item in items]


def _refuse_unread(X: Any, owner: str) -> None:
    """Refuse tables that say what is to be read, and have not read it."""
    # That which is lazy first: to name the columns, polars may have to read a file.
    if hasattr(X, "iloc") or not (hasattr(X, "lazy") or hasattr(X, "columns")):
        return
    if advice := how_to_read(X):
        raise TypeError(
            f"{owner} expects one column of items, got {type(X).__name__}: give "
            f"{advice}"
        )


def _is_list(item: Any) -> bool:
    """Tell an array that stands for a list from pixels and samples."""
    return isinstance(item, np.ndarray) and item.ndim == 1 and item.dtype.kind in "OU"


def fill_template(template: str, table: Any, owner: str) -> list[str | None]:
    """Fill a format string with the columns that it names, one text per row.

    A missing value leaves its place empty; a row whose values are all missing is None.

    Raises
    ------
    ValueError
        If the template is none, names no column, or one that `table` does not have,
        or a value cannot be formatted as it says; names the row.
    """
    filled: list[str | None] = []
    for row, text in enumerate(try_template(template, table, owner)):
        if isinstance(text, ContentError):
            raise ContentError(f"{owner}: row {row}: {text}") from text
        filled.append(text)
    return filled


def try_template(
    template: str, table: Any, owner: str
) -> list[str | ContentError | None]:
    """Fill a format string as `fill_template` does; what cannot be filled is an error.

    Returns
    -------
    list
        For each row a text, None, or what is wrong with it.
    """
    names = list(dict.fromkeys(_named_columns(template, owner)))
    known = _names_of(table)
    absent = [name for name in names if name not in known]
    if absent or not names:
        raise ValueError(
            f"{owner}(template={template!r}) names the columns {names}, got {known}."
        )
    columns = {name: as_items(_one_column(table, name), owner) for name in names}
    rows = zip(*columns.values(), strict=True)
    return [_fill(template, dict(zip(columns, row, strict=True))) for row in rows]


def is_missing(item: Any) -> bool:
    """Tell whether an item is None, NaN, NaT, pd.NA or blank, or a list of these.

    Or masked as a whole. A text is blank that shows nothing: it is empty, or has spaces
    and characters of no width alone, of which tokenizers make nothing.
    """
    if isinstance(item, list):
        return all(is_missing(part) for part in item)
    if isinstance(item, str):
        return _is_blank(item)
    if item is None or item is pd.NA or item is pd.NaT:
        return True
    if isinstance(item, np.ma.MaskedArray):
        return item.size > 0 and bool(np.ma.getmaskarray(item).all())
    if isinstance(item, np.datetime64 | np.timedelta64):
        return bool(np.isnat(item))
    if isinstance(item, Decimal):
        return item.is_nan()
    return isinstance(item, float | np.floating) and bool(np.isnan(item))


# What Unicode calls characters that show nothing: those that control, that format, such
# as a space of no width or the mark of a file's byte order, and spaces.
_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}


def _is_blank(text: str) -> bool:
    rest = text.strip()
    if not rest or rest[0].isalnum():
        return not rest
    return all(category(character) in _UNSEEN for character in rest)


def refuse_mask(array: Any, parts: str) -> None:
    """Refuse an item some of whose `parts` are masked.

    Raises
    ------
    ContentError
        It says how many.
    """
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        n = int(np.ma.getmaskarray(array).sum())
        raise ContentError(
            f"has {n} masked {parts}: fill them, by .filled(...), or mask all of it"
        )


def checked_text(item: Any) -> str:
    """Return an item that is a text, as UTF-8 knows it, or raise.

    Raises
    ------
    ContentError
        If it is not a str, or holds half of a character. Such halves come from text
        that was cut inside a character, or decoded with ``errors="surrogateescape"``.
    """
    if not isinstance(item, str):
        advice: dict[type, str] = {
            bytes: ": decode it by .decode()",
            list: ": join it by ' '.join(...)",
        }
        raise ContentError(
            f"expected a text, got {type(item).__name__}{advice.get(type(item), '')}"
        )
    try:
        item.encode()
    except UnicodeEncodeError as error:
        raise ContentError(
            f"is not a text that UTF-8 can encode: {item[error.start]!r} at position "
            f"{error.start}. Decode the bytes it came from by their own encoding, or "
            'drop such characters by text.encode(errors="ignore").decode()'
        ) from error
    return str.__str__(item)  # of an enum, `str` is another text


class _Blank:
    """What stands for a missing value: nothing, whatever format is asked for."""

    def __format__(self, spec: str) -> str:
        return ""

    def __repr__(self) -> str:
        return ""


def _named_columns(template: str, owner: str) -> Iterator[str]:
    """Yield the names in a format string, and those in its formats."""
    try:
        for _, name, spec, _ in Formatter().parse(template):
            if name is not None:
                yield name
                yield from _named_columns(spec or "", owner)
    except ValueError as error:
        raise ValueError(
            f"{owner}(template={template!r}) is no format string: {error}."
        ) from error


def _fill(template: str, row: dict[str, Any]) -> str | ContentError | None:
    known = {name: value for name, value in row.items() if not is_missing(value)}
    if not known:
        return None
    try:
        return template.format(**{**dict.fromkeys(row, _Blank()), **known})
    except (TypeError, ValueError) as error:
        return ContentError(f"does not fit the template {template!r}: {error}")


def _names_of(table: Any) -> list[Any]:
    """Return the names of a table's columns; Arrow's has the columns themselves."""
    return list(getattr(table, "column_names", getattr(table, "columns", [])))


def _one_column(table: Any, name: str) -> Any:
    return table.select([name]) if hasattr(table, "column_names") else table[[name]]


def _from_table(table: Any, owner: str) -> list[Any]:
    _require_one_column(table.shape[1], owner)
    if hasattr(table, "column_names"):
        return _from_sequence(table.column(0), owner)
    column = table.iloc[:, 0] if hasattr(table, "iloc") else table[:, 0]
    return _from_sequence(column, owner)


def _from_sequence(column: Any, owner: str) -> list[Any]:
    if isinstance(column, np.ndarray):
        return _from_array(column, owner)
    if isinstance(column, pd.api.extensions.ExtensionArray):
        return list(column.tolist())
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
