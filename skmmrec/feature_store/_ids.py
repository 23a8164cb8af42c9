"""Ids as a store keeps them: whole numbers or texts, each checked by its row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from skmmrec import interactions
from skmmrec.feature_store.backends.base import Id
from skmmrec.interactions import exact_below

_SMALLEST, _LARGEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_TYPES = {"int64": "whole numbers", "string": "strings"}


class IdTypeError(TypeError, ValueError):
    """An id is of another type than those of the store."""


def store_ids(values: Any, kind: str, name: str) -> list[Id | None]:
    """Read a column of ids, of which some may be missing.

    Parameters
    ----------
    values : array-like of shape (n,)
        Ids. Floats that are whole count as integers.
    kind : {"int64", "string"}
        Type of the ids in the store.
    name : str
        What errors call the column.

    Returns
    -------
    list of length n
        Python's own ``int`` or ``str``; None where an id is missing.

    Raises
    ------
    ValueError
        For a number that is not whole, infinite or so large that it may be another one,
        or a text that cannot be encoded in UTF-8. It names column and row.
    IdTypeError
        For an id of another type than `kind`; a TypeError and a ValueError.
    """
    column = _as_column(values)
    if kind == "int64" and column.dtype in (np.int64, np.int32):
        return list(column.tolist())
    read = _whole if kind == "int64" else _text
    own = column.dtype if column.dtype.kind == "f" else None
    dtype = np.dtype(getattr(own, "numpy_dtype", own))  # None is float64
    missing = pd.isna(column).to_numpy()
    return [
        None if absent else read(value, name, row, dtype)
        for row, (value, absent) in enumerate(zip(column, missing, strict=True))
    ]


def check_encodable(texts: Iterable[object], name: str) -> None:
    """Raise a ValueError that names the first text that UTF-8 has no bytes for.

    Those that are no texts are passed over. Errors call them `name`.
    """
    for text in texts:
        try:
            isinstance(text, str) and text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{name} {text!r:.100} cannot be encoded in UTF-8: it holds half a "
                "character (a surrogate); mend it where it is read or made"
            ) from error


def places_in(
    lists: Sequence[Sequence[Id]], ids: Sequence[Id]
) -> tuple[np.ndarray, np.ndarray]:
    """Find where the ids of lists are among others.

    No two of `ids` are the same. Returns the place of each id in the lists, one list
    after the other, -1 for one that is not there; and the lengths of the lists.
    """
    lengths = np.fromiter(map(len, lists), np.intp, len(lists))
    kind = object if any(isinstance(each, str) for each in ids[:1]) else np.int64
    wanted = np.fromiter(chain.from_iterable(lists), kind, int(lengths.sum()))
    places: np.ndarray = pd.Index(ids, dtype=kind).get_indexer(wanted)
    return places, lengths


def _as_column(values: Any) -> pd.Series:
    values = values.to_pandas() if hasattr(values, "to_pandas") else values
    if not hasattr(values, "dtype"):
        values = np.fromiter(values, dtype=object, count=len(values))
    return pd.Series(values, dtype=values.dtype)


def _whole(value: Any, name: str, row: int, dtype: np.dtype) -> int:
    """Read a number, which came in a column of `dtype` if it is a float."""
    if isinstance(value, Integral | np.bool_):
        whole = int(value)
    elif isinstance(value, Real) or hasattr(value, "to_integral_value"):
        whole = _whole_of_fraction(value, name, row, dtype)
    else:
        raise _of_another_type(value, name, row, "int64")
    if not _SMALLEST <= whole <= _LARGEST:
        raise ValueError(f"{name} in row {row} does not fit into 64 bits, signed")
    return whole


def _whole_of_fraction(value: Any, name: str, row: int, dtype: np.dtype) -> int:
    if not np.isfinite(float(value)):
        raise ValueError(f"{name} is infinite in row {row}")
    if value != int(value):
        raise ValueError(
            f"{name} is {value} in row {row}, but ids are whole numbers in this store"
        )
    dtype = value.dtype if isinstance(value, np.floating) else dtype
    is_float = isinstance(value, float | np.floating)
    if is_float and abs(float(value)) >= exact_below(dtype):
        raise ValueError(
            f"{name} is {value} in row {row}, a float of {dtype.itemsize} bytes, which "
            "cannot tell such ids apart: give them as integers"
        )
    return int(value)


def _text(value: Any, name: str, row: int, dtype: np.dtype) -> str:
    if not isinstance(value, str):
        raise _of_another_type(value, name, row, "string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} in row {row} cannot be encoded in UTF-8: {value!r:.100}"
        ) from error
    return plain_text(value)


def plain_text(value: object) -> str:
    """Return Python's own text; of a member of an enum that is a text, not its name."""
    return str.__str__(value) if isinstance(value, str) else str(value)


def _of_another_type(value: Any, name: str, row: int, kind: str) -> IdTypeError:
    return IdTypeError(
        f"{name} is of type {kind} in this store, whose ids are {_TYPES[kind]}; got "
        f"{type(value).__name__} in row {row}: {value!r:.100}"
    )


def refuse_missing(ids: Sequence[Id | None], name: str) -> list[Id]:
    """Raise a ValueError that names the first row without an id."""
    interactions.refuse_missing(np.array([v is None for v in ids], bool), name)
    return [value for value in ids if value is not None]
