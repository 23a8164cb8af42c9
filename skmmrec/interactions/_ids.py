"""User and item ids: one type per column, never missing."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

USER = "user_id"
ITEM = "item_id"
TIME = "timestamp"


def check_ids(ids: Any, name: str) -> np.ndarray:
    """Validate a column of ids.

    Parameters
    ----------
    ids : array-like of shape (n,)
        Integers, floats or strings.
    name : str
        What errors call the column.

    Returns
    -------
    ndarray of shape (n,)
        int64, float64 or object (of str).

    Raises
    ------
    ValueError
        For a missing id, or numbers and strings in one column.
    TypeError
        For an id that is neither a number nor a string.
    """
    ids = ids.to_pandas() if hasattr(ids, "to_pandas") else ids
    column = np.asarray(ids, dtype=object) if not hasattr(ids, "dtype") else ids
    missing = np.flatnonzero(pd.isna(column))
    if len(missing):
        raise ValueError(
            f"{name} is missing (NaN or None) in row {missing[0]} "
            f"({len(missing)} such rows)"
        )
    kind = pd.api.types.infer_dtype(column, skipna=False)
    if kind in ("integer", "boolean"):
        return _check_int64(column, name)
    if kind in ("floating", "mixed-integer-float", "decimal"):
        return _check_finite(np.asarray(column, dtype=np.float64), name)
    if kind in ("string", "categorical", "empty"):
        return _check_strings(np.asarray(column, dtype=object), name)
    raise _bad_type(column, name)


def _check_int64(ids: Any, name: str) -> np.ndarray:
    too_large = np.flatnonzero(np.asarray(ids > np.iinfo(np.int64).max))
    if len(too_large):
        raise ValueError(
            f"{name} in row {too_large[0]} does not fit into 64 bits, signed"
        )
    return np.asarray(ids, dtype=np.int64)


def _check_finite(ids: np.ndarray, name: str) -> np.ndarray:
    infinite = np.flatnonzero(~np.isfinite(ids))
    if len(infinite):
        raise ValueError(f"{name} contains infinity in row {infinite[0]}")
    return ids


def _check_strings(ids: np.ndarray, name: str) -> np.ndarray:
    """Check categories by their values, which may be numbers."""
    if all(isinstance(value, str) for value in ids):
        return ids
    return check_ids(pd.Series(ids.tolist()), name)


def _bad_type(column: Any, name: str) -> Exception:
    first: dict[str, int] = {}
    for row, value in enumerate(column):
        first.setdefault("str" if isinstance(value, str) else type(value).__name__, row)
    odd = next((k for k in first if k not in ("str", "int", "float", "bool")), None)
    if odd is not None:
        return TypeError(
            f"{name} argument must be a string or a number, "
            f"got {odd} in row {first[odd]}"
        )
    rows = ", ".join(f"{kind} in row {row}" for kind, row in first.items())
    return ValueError(f"{name} mixes types ({rows}); give all ids one type")


def check_times(times: Any, name: str) -> np.ndarray:
    """Validate a column of times, so that sorting it sorts by time.

    Parameters
    ----------
    times : array-like of shape (n,)
        Numbers, dates, or texts in the format of ISO 8601, which count as UTC where
        they name no time zone.
    name : str
        What errors call the column.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError
        For a missing time, other text, or times of several types.
    """
    column = pd.Series(np.asarray(times)).infer_objects()
    missing = np.flatnonzero(column.isna())
    if len(missing):
        raise ValueError(
            f"{name} is missing (NaN or None) in row {missing[0]} "
            f"({len(missing)} such rows)"
        )
    kind = pd.api.types.infer_dtype(column, skipna=False)
    if kind == "string":
        parsed = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
        odd = np.flatnonzero(parsed.isna())
        if len(odd):
            raise ValueError(
                f"{name} in row {odd[0]} is {column.iloc[odd[0]]!r}, no time in the "
                "format of ISO 8601: convert the column first, for example by "
                "pandas.to_datetime"
            )
        return parsed.to_numpy()
    if kind.startswith("mixed") and kind != "mixed-integer-float":
        types = sorted({type(value).__name__ for value in column})
        raise ValueError(f"{name} mixes types ({', '.join(types)})")
    return column.to_numpy()


def check_same_kind(new: np.ndarray, known: pd.Index, name: str) -> None:
    """Refuse numbers among strings, and strings among numbers.

    Raises
    ------
    ValueError
        Where the ids that are new are of another kind than those that are known.
    """
    if len(new) == 0 or len(known) == 0:
        return
    numbers = [pd.api.types.is_numeric_dtype(ids.dtype) for ids in (new, known)]
    kinds = ["number" if are_numbers else "string" for are_numbers in numbers]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{name} {plain(new[0])!r} is a {kinds[0]}, but the known ids are "
            f"{kinds[1]}s"
        )


def plain(value: Any) -> Any:
    """Python's own number instead of NumPy's, for messages and JSON."""
    return value.item() if isinstance(value, np.generic) else value


def sorted_index(ids: np.ndarray) -> pd.Index:
    """Index of the distinct ids, sorted, so that no row order shows in a model."""
    return (
        pd.Index(np.unique(ids)) if ids.dtype != object else pd.Index(sorted(set(ids)))
    )


def hashed(index: pd.Index) -> pd.Index:
    """Build the hash table of an index, and return the index.

    pandas builds it on first use; threads that use an index for the first time together
    find a table that is half full.
    """
    index.is_unique  # noqa: B018 - builds it
    return index


def as_list(ids: Any) -> Any:
    """Put a single id into a list; refuse a table of ids."""
    if isinstance(ids, str) or np.ndim(ids) == 0:
        return [ids]
    if getattr(ids, "ndim", 1) != 1:
        raise ValueError(f"ids must be a list or a column, got shape {ids.shape}")
    return ids


def check_k(k: Any) -> None:
    """Refuse a `k` that is no positive integer."""
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be at least 1 and whole, got {k!r}")
