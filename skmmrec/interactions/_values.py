"""Columns of any library as NumPy arrays: nothing is rounded, nothing is missing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def read_values(column: Any, name: str) -> NDArray:
    """Read a column of pandas, polars, Arrow or NumPy, or a list.

    Dictionaries and categories are read by their values.

    Returns numbers, datetime64 in UTC, timedelta64 or, for all else, objects. A
    ValueError, which calls the column `name`, is for a missing value, or for what is no
    column.
    """
    if isinstance(column, pd.Series | pd.Index | pd.api.extensions.ExtensionArray):
        return _of_pandas(column, name)
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    if isinstance(column, pa.ChunkedArray):
        return _of_arrow(column, name)
    for convert in ("to_arrow", "to_pandas"):
        if hasattr(column, convert) and not isinstance(column, pd.DataFrame):
            return read_values(_converted(column, convert), name)
    if hasattr(column, "__array__"):
        return _of_numpy(column, name)
    if not is_column(column):
        raise ValueError(f"{name} must be a column or a list, got {column!r:.100}")
    return _complete(to_objects(column), name)


def is_column(values: Any) -> bool:
    """Tell a list or a column of any library from a single value, a set or a stream."""
    if isinstance(values, Sequence):
        return not isinstance(values, str | bytes)
    ways = ("__array__", "to_arrow", "to_pandas", "to_pylist")
    return any(hasattr(values, way) for way in ways)


def on_host(values: Any) -> Any:
    """Return a tensor as what NumPy reads, wherever it lies; others as they are."""
    return values.detach().cpu() if hasattr(values, "detach") else values


def _converted(column: Any, convert: str) -> Any:
    """Take over a column of polars; of its types that Arrow lacks, value by value."""
    if str(getattr(column, "dtype", "")) == "Object":  # whose bytes Arrow would hold
        return column.to_list()
    try:
        return getattr(column, convert)()
    except pa.ArrowException:
        return column.to_list()


def _of_numpy(column: Any, name: str) -> NDArray:
    if isinstance(column, np.ma.MaskedArray):
        refuse_missing(np.ma.getmaskarray(column), name)
    try:
        values = np.asarray(on_host(column))
    except (RuntimeError, TypeError, ValueError) as error:  # of a type NumPy lacks
        raise ValueError(f"{name} cannot be read as a column: {error}") from error
    if values.ndim != 1:
        raise ValueError(f"{name} must be one column, got shape {values.shape}")
    if values.dtype.kind == "V":
        raise ValueError(f"{name} must be one column, got {values.dtype}")
    return _complete(
        values.astype(object) if values.dtype.kind in "UT" else values, name
    )


def _of_pandas(column: Any, name: str) -> NDArray:
    if isinstance(column, pd.MultiIndex):
        return to_objects(column)
    refuse_missing(_is_missing(column), name)
    array: Any = getattr(column, "array", column)
    dtype = array.dtype
    if isinstance(dtype, pd.ArrowDtype):
        return read_values(pa.array(array), name)
    if isinstance(dtype, pd.CategoricalDtype):
        return read_values(array.categories.take(array.codes), name)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return array.tz_convert(None).to_numpy()
    if isinstance(dtype, pd.StringDtype):
        return np.asarray(array, dtype=object)
    # The type of NumPy beneath Int64 and its like; for other types their own.
    values = array.to_numpy(dtype=getattr(dtype, "numpy_dtype", None))
    return _complete(values, name)


def _of_arrow(column: pa.ChunkedArray, name: str) -> NDArray:
    kind = column.type
    if isinstance(kind, pa.DictionaryType):
        chunks = [chunk.dictionary_decode() for chunk in column.chunks]
        return _of_arrow(pa.chunked_array(chunks, kind.value_type), name)
    if isinstance(kind, pa.BaseExtensionType):
        chunks = [chunk.storage for chunk in column.chunks]
        return _of_arrow(pa.chunked_array(chunks, kind.storage_type), name)
    if pa.types.is_run_end_encoded(kind):
        chunks = [pc.run_end_decode(chunk) for chunk in column.chunks]
        return _of_arrow(pa.chunked_array(chunks, kind.value_type), name)
    refuse_missing(column.is_null().to_numpy(), name)
    return _complete(_of_plain_arrow(column), name)


def _of_plain_arrow(column: pa.ChunkedArray) -> NDArray:
    kind, types = column.type, pa.types
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return column.to_numpy()
    if types.is_timestamp(kind):
        return _ticks(column).view(f"datetime64[{kind.unit}]")
    if types.is_duration(kind):
        return _ticks(column).view(f"timedelta64[{kind.unit}]")
    if types.is_date(kind):
        return _ticks(column.cast(pa.date64())).view("datetime64[ms]")
    return to_objects(column.to_pylist())


def _ticks(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return column.cast(pa.int64()).to_numpy()


def to_objects(values: Any) -> NDArray:
    """Keep the values as they are, tuples among them."""
    return pd.Series(list(values), dtype=object).to_numpy()


def _complete(values: NDArray, name: str) -> NDArray:
    refuse_missing(_is_missing(values), name)
    native: NDArray = values.astype(values.dtype.newbyteorder("="), copy=False)
    return native


def _is_missing(values: Any) -> NDArray[np.bool_]:
    try:
        return np.asarray(pd.isna(values))
    except ArithmeticError:  # A signalling NaN among decimals stops pandas.
        quiet = [None if isinstance(v, Decimal) and v.is_nan() else v for v in values]
        return pd.isna(to_objects(quiet))


def unmasked(values: Any) -> Any:
    """Return a masked array with missing values where it is masked; others as they are.

    NumPy drops a mask in silence when it converts such an array.

    These are NaN among floats and None among all else.
    """
    if not (isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values)):
        return values
    if values.dtype.kind == "f":
        return values.filled(np.nan)
    found = np.array(values.data, dtype=object)
    found[np.ma.getmaskarray(values)] = None
    return found


def refuse_missing(missing: NDArray[np.bool_], name: str) -> None:
    """Name the first row that is missing.

    Raises ValueError if any is.
    """
    rows = np.flatnonzero(missing)
    if len(rows):
        raise ValueError(
            f"{name} is missing (NaN or None) in row {rows[0]} ({len(rows)} such rows)"
        )
