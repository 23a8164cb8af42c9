"""Tables of pandas, polars, Arrow and the like as those of pandas."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from skmmrec.interactions._ids import check_ids
from skmmrec.interactions._keys import ITEM, USER
from skmmrec.interactions._no_tables import how_to_read, refuse_names

# pandas turns integers into floats where any is missing, and 1999 into 1999.0: these
# of its types do not.
_WITH_GAPS = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def as_frame(table: object) -> pd.DataFrame | None:
    """Return a table of pandas, or of a library like polars, as pandas; or None.

    It has all columns, also those that pandas wrote to an Arrow table as its index,
    integers of polars and Arrow stay integers where some are missing, and numbers are
    in the order of bytes of this machine.
    """
    if isinstance(table, pd.DataFrame):
        return _in_native_order(table)
    if hasattr(table, "to_native"):  # of narwhals
        return as_frame(table.to_native())
    if isinstance(table, pa.Table | pa.RecordBatch):
        return _of_arrow(table)
    if not hasattr(table, "to_pandas"):
        return None
    is_polars = hasattr(table, "get_columns")
    frame = table.to_pandas(**(_options(table) if is_polars else {}))
    return _without_gaps(frame) if isinstance(frame, pd.DataFrame) else None


def _in_native_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn the bytes of numbers that a file keeps the other way round, as FITS does.

    pandas has such columns, and cannot take rows of them.
    """
    kinds = enumerate(frame.dtypes)
    foreign = [n for n, kind in kinds if not getattr(kind, "isnative", True)]
    if foreign:
        frame = frame.copy(deep=False)
    for place in foreign:
        values = frame.iloc[:, place].to_numpy()
        frame.isetitem(place, values.astype(values.dtype.newbyteorder("=")))
    return frame


def _options(table: Any) -> dict[str, Any]:
    """Say how to convert a table of Arrow or polars: as usual, if it has no gaps."""
    if isinstance(table, pa.Table | pa.RecordBatch):
        columns = [c for c in table.columns if pa.types.is_integer(c.type)]
        has_gaps = any(column.null_count for column in columns)
    else:
        columns = [c for c in table.get_columns() if c.dtype.is_integer()]
        has_gaps = any(column.null_count() for column in columns)
    return {"types_mapper": _WITH_GAPS.get} if has_gaps else {}


def _of_arrow(table: pa.Table | pa.RecordBatch) -> pd.DataFrame:
    options = _options(table)
    try:
        frame = table.to_pandas(**options)
    except (TypeError, ValueError):  # pandas wrote types that it cannot read again
        frame = table.to_pandas(ignore_metadata=True, **options)
    names = table.schema.names
    hidden = [level for level in frame.index.names if level in names]
    if hidden:
        frame = frame.reset_index(hidden)
        frame = frame[[name for name in names if name in frame.columns]]
    return _without_gaps(frame)


def _without_gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """Give columns of integers of which none is missing the types of NumPy."""
    for place, kind in enumerate(frame.dtypes):
        if kind in _WITH_GAPS.values() and not frame.iloc[:, place].hasnans:
            frame.isetitem(place, frame.iloc[:, place].to_numpy(kind.numpy_dtype))
    return frame


def id_table(table: Any, name: str) -> pd.DataFrame:
    """Take over a table of pandas, polars or Arrow, with its ids checked.

    The columns ``user_id`` and ``item_id`` are checked where they are there; ids are
    int64, float64 or str, as everywhere in this package. Errors call the table `name`:
    a TypeError for what is none, a ValueError for ids that are missing or cannot be
    told apart.
    """
    frame = take_over(table, name)
    ids = {
        column: check_ids(frame[column], f"{name}[{column!r}]")
        for column in (USER, ITEM)
        if column in frame.columns
    }
    return frame.assign(**ids)


def take_over(table: Any, name: str) -> pd.DataFrame:
    """Return a table of pandas, polars or Arrow as pandas.

    Raises TypeError for what is no table, and ValueError for names of several levels or
    given twice.
    """
    frame = as_frame(table)
    if frame is None:
        advice = how_to_read(table)
        raise TypeError(
            f"{name} must be a DataFrame, got {type(table).__name__}"
            + (f": give {advice}" if advice else "")
        )
    refuse_names(frame, name)
    return frame
