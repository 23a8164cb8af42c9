"""The offline side: one parquet file a view, to which each publication is appended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.types import from_feast_to_pyarrow_type

from skmmrec.feature_store.backends.base import (
    EVENT,
    EVENT_ITEM,
    EVENT_USER,
    EVENT_Y,
    TIMESTAMP,
    Row,
    Rows,
    key_ids,
    unpack,
    unpack_vectors,
)

from ._parquet import (
    WHEN,
    Going,
    of_type,
    opened,
    replace,
    rewrite_without,
)

_ARROW = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "float32": pa.float32(),
    "ragged_float32": pa.float32(),
    "bool": pa.bool_(),
    "string": pa.string(),
}
_INSTANT = timedelta(microseconds=1)


def batch_schema(batch: Rows) -> pa.Schema:
    """Columns of the parquet file of users or items."""
    fields = [
        (batch.join_key, _ARROW[batch.id_type]),
        (batch.vector_name, pa.list_(pa.float32())),
        (batch.version_name, pa.string()),
        (TIMESTAMP, WHEN),
    ]
    fields += [(name, arrow_type(kind)) for name, kind in batch.kinds.items()]
    return pa.schema(fields)


def batch_tables(batch: Rows, size: int, when: datetime) -> Iterator[pa.Table]:
    """Return the rows for the parquet file, at most `size` at a time."""
    schema = batch_schema(batch)
    for ids, matrix, columns in batch.slices(size):
        arrays = [
            pa.array(ids, _ARROW[batch.id_type]),
            _vector_column(matrix),
            pa.repeat(batch.version, len(ids)),
            pa.repeat(pa.scalar(when, WHEN), len(ids)),
        ]
        arrays += [pa.array(c.values, arrow_type(c.kind)) for c in columns]
        yield pa.table(arrays, schema=schema)


def arrow_type(kind: str) -> pa.DataType:
    """Return the type of a column of a kind."""
    scalar = _ARROW[kind.removesuffix("_list")]
    return pa.list_(scalar) if kind.endswith("_list") else scalar


def event_schema(batches: tuple[Rows, Rows]) -> pa.Schema:
    """Columns of the parquet file of pushed events."""
    users, items = batches
    return pa.schema(
        [
            (EVENT, pa.string()),
            (EVENT_USER, _ARROW[users.id_type]),
            (EVENT_ITEM, _ARROW[items.id_type]),
            (EVENT_Y, pa.float64()),
            (TIMESTAMP, WHEN),
        ]
    )


def view_schema(view: FeatureView) -> pa.Schema:
    """Columns of the parquet file of a registered view."""
    fields = [
        (field.name, from_feast_to_pyarrow_type(field.dtype))
        for field in (*view.entity_columns, *view.features)
    ]
    return pa.schema([*fields, (TIMESTAMP, WHEN)])


def rows_table(view: FeatureView, rows: Sequence[Row], when: datetime) -> pa.Table:
    """Make a table of rows that were published online, for the parquet file."""
    schema, join_key = view_schema(view), view.join_keys[0]
    of_one_length = {field.name for field in view.features if field.vector_length}
    columns = []
    for name, kind in zip(schema.names, schema.types, strict=True):
        if name == join_key:
            values = key_ids(join_key, [row.key for row in rows]).tolist()
        elif name == TIMESTAMP:
            values = [when] * len(rows)
        else:
            packed = [row.features.get(name, b"") for row in rows]
            columns.append(_unpacked(packed, kind, name in of_one_length))
            continue
        columns.append(pa.array(values, kind))
    return pa.table(columns, schema=schema)


def _unpacked(values: list[bytes], kind: pa.DataType, of_one_length: bool) -> pa.Array:
    """Make a column of serialized values; vectors, where all have one, by bytes."""
    if of_one_length and kind == pa.list_(pa.float32()) and all(values):
        return _vector_column(unpack_vectors(values)).cast(kind)
    read = [unpack(value) for value in values]
    try:
        return pa.array(read, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # the feature is of another kind now
        return of_type(pa.array(read), kind)


def append_parquet(
    path: Path,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    when: datetime,
) -> None:
    """Add the rows of one event time to a parquet file, all or nothing.

    Parameters
    ----------
    path : Path
    schema : pyarrow.Schema
    tables : iterable of pyarrow.Table
        Rows of the event time `when`. Those of this time that the file has already,
        which a killed process left, are replaced.
    when : datetime

    Notes
    -----
    The file is written anew beside itself, and swapped in at the end. Row groups that
    stay as they are, as most do, are copied as bytes, and checked; of the others, one
    at a time is in memory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, schema, tables, Going(when, when) if path.exists() else None)


def forget_before(path: Path, oldest: datetime) -> None:
    """Leave out the rows from before a time, if there are any."""
    bound = pa.scalar(oldest, WHEN)
    if pc.any(pc.less(event_times(path), bound)).as_py():
        rewrite_without(
            path, Going(datetime.min.replace(tzinfo=UTC), oldest - _INSTANT)
        )


def forget_time(path: Path, when: datetime) -> None:
    """Leave out the rows of one event time, if there are any."""
    if holds_time(path, when):
        rewrite_without(path, Going(when, when))


def holds_time(path: Path, when: datetime) -> bool:
    """Tell whether a file has rows of an event time."""
    same = pc.equal(event_times(path), pa.scalar(when, WHEN))
    return bool(pc.any(same).as_py())


def event_times(path: Path) -> pa.ChunkedArray:
    """Event times of all rows; none where there is no file."""
    if not path.exists():
        return pa.chunked_array([], WHEN)
    return read_columns(path, [TIMESTAMP])[TIMESTAMP].cast(WHEN)


def read_columns(path: Path, names: list[str]) -> pa.Table:
    """Read some columns of a file.

    Raises
    ------
    DamagedStoreError
        When it cannot be read.
    """
    with opened(path) as file:
        return file.read(names).select(names)


def write_empty(path: Path, schema: pa.Schema) -> None:
    """Write a file without rows, unless there is one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, schema, ())


def check_readable(path: Path) -> None:
    """Raise a DamagedStoreError for a file that is none, or whose rows have no time."""
    if path.exists():
        with opened(path) as file:
            file.schema_arrow.names.index(TIMESTAMP)


def _vector_column(matrix: np.ndarray) -> pa.ListArray:
    """Rows of a matrix as an Arrow column of float32 lists, without a copy."""
    n, dim = matrix.shape
    offsets = np.arange(0, (n + 1) * dim, dim, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))
