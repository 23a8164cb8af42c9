"""Columns of numbers and dates as float64."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence, Set
from numbers import Integral, Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

DAY = np.timedelta64(1, "D")
EPOCH = np.datetime64("1970-01-01")
# The mean length of a year of the Gregorian calendar, which repeats after 400 years.
DAYS_PER_YEAR = 365.2425

# What pandas calls columns of objects that are numbers.
NUMERIC_KINDS = {
    "boolean", "date", "datetime", "datetime64", "decimal", "floating", "integer",
    "mixed-integer-float", "period", "timedelta", "timedelta64",
}  # fmt: skip


def is_numeric(column: pd.Series) -> bool:
    """Tell whether a column contains numbers, truth values, dates or durations."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    if _is_time(column.dtype) or types.is_numeric_dtype(column.dtype):
        return True
    if types.is_string_dtype(column.dtype) and column.dtype != object:
        return False
    kind = types.infer_dtype(column, skipna=True)
    if kind != "mixed":
        return kind in NUMERIC_KINDS
    return all(_is_number(value) for value in column[column.notna()])


def _is_time(dtype: Any) -> bool:
    return types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype)


def _is_number(value: Any) -> bool:
    return isinstance(value, Number | np.bool_ | dt.date | dt.timedelta | np.datetime64)


def as_floats(column: pd.Series, label: Any) -> NDArray[np.float64]:
    """Read a column; dates become years, durations days, and missing values NaN.

    The column holds numbers of any type, truth values, dates with or without a time
    zone, or durations. A ValueError names the column, by `label`, and the row of what
    is no number.
    """
    if types.is_datetime64_any_dtype(column.dtype):
        times = pd.DatetimeIndex(column)
        if times.tz is not None:
            times = times.tz_convert("UTC").tz_localize(None)
        return np.asarray(_years(times.to_numpy()))
    if types.is_timedelta64_dtype(column.dtype):
        return pd.TimedeltaIndex(column).to_numpy() / DAY
    if types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    values = np.empty(len(column))
    for row, value in enumerate(column):
        try:
            values[row] = np.nan if _is_missing(value) else _as_float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"content column {label!r} is not numeric in row {row}: "
                f"{value!r:.100}. {_advice(value, label)}"
            ) from error
    return values


def no_content(table: pd.DataFrame) -> str:
    """Say that no column can be read without an encoder, and how one of vectors can."""
    columns = list(table.columns)
    told = (
        "items has no content: without an encoder, columns named like 'image__0' are "
        f"expected; got {columns}"
    )
    of_vectors = [name for name in columns if _is_vector(table[name].dropna()[:1])]
    return f"{told}. {_how_to_spread(of_vectors[0])}" if of_vectors else told


def _is_vector(first: pd.Series) -> bool:
    """Tell whether the first value that is there, if any, is a sequence of numbers."""
    return any(
        types.is_list_like(value)
        and isinstance(value, Sequence | np.ndarray)
        and len(value) > 0
        and all(isinstance(part, Number) for part in value)
        for value in first
    )


def _how_to_spread(label: Any) -> str:
    prefix = str(label).partition("__")[0]
    return (
        "A vector takes one column for each of its numbers: spread it by "
        f"pd.DataFrame(np.stack(items[{label!r}]), items.index)"
        f".add_prefix('{prefix}__')."
    )


def _advice(value: Any, label: Any) -> str:
    """Say how to make numbers of a column."""
    if types.is_list_like(value) and not isinstance(value, Mapping | Set):
        codes = ""
        if any(isinstance(part, str | Integral) for part in value):
            codes = (
                "Codes or tags are words: join them by items[...].map(lambda codes: "
                "' '.join(map(str, codes))) for a CountVectorizer(token_pattern="
                "r'\\S+', binary=True). "
            )
        return codes + _how_to_spread(label)
    return (
        "Encode raw content first, for example by a ColumnTransformer with a "
        "OneHotEncoder for categories and a TextEncoder for words; make numbers and "
        "dates of text by pd.to_numeric and pd.to_datetime."
    )


def _is_missing(value: Any) -> bool:
    return value is None or (types.is_scalar(value) and bool(pd.isna(value)))


def _as_float(value: Any) -> float:
    if isinstance(value, pd.Period):
        value = value.to_timestamp()
    if isinstance(value, dt.date | np.datetime64):
        time = pd.Timestamp(value)
        if time.tz is not None:
            time = time.tz_convert("UTC").tz_localize(None)
        return float(_years(time.to_datetime64()))
    if isinstance(value, dt.timedelta | np.timedelta64):
        return float(pd.Timedelta(value).to_timedelta64() / DAY)
    return float(value)


def _years(times: Any) -> Any:
    """Years as numbers: noon of the second of July 2021 is close to 2021.5."""
    return 1970 + (times - EPOCH) / DAY / DAYS_PER_YEAR
