"""The offline side: one parquet file a view, to which each publication is appended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureView
from feast.types import from_feast_to_pyarrow_type

from skmmrec.feature_store.backends.base import (
    EVENT,
    EVENT_ITEM,
    EVENT_USER,
    EVENT_Y,
    TIMESTAMP,
    DamagedStoreError,
    Row,
    Rows,
    key_ids,
    unpack,
    unpack_vectors,
)

from ._footers import check_footer, seal_footer

_ARROW = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "float32": pa.float32(),
    "ragged_float32": pa.float32(),
    "bool": pa.bool_(),
    "string": pa.string(),
}
_WHEN = pa.timestamp("us", tz="UTC")


def batch_schema(batch: Rows) -> pa.Schema:
    """Columns of the parquet file of users or items."""
    fields = [
        (batch.join_key, _ARROW[batch.id_type]),
        (batch.vector_name, pa.list_(pa.float32())),
        (batch.version_name, pa.string()),
        (TIMESTAMP, _WHEN),
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
            pa.repeat(pa.scalar(when, _WHEN), len(ids)),
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
            (TIMESTAMP, _WHEN),
        ]
    )


def view_schema(view: FeatureView) -> pa.Schema:
    """Columns of the parquet file of a registered view."""
    fields = [
        (field.name, from_feast_to_pyarrow_type(field.dtype))
        for field in (*view.entity_columns, *view.features)
    ]
    return pa.schema([*fields, (TIMESTAMP, _WHEN)])


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
        return _of_type(pa.array(read), kind)


def append_parquet(
    path: Path,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    when: datetime,
) -> None:
    """Add the rows of one event time to a parquet file, all or nothing.

    The rows of `tables` have the event time `when`. Those of this time that the file
    has already, which a killed process left, are replaced.

    Notes
    -----
    The file is rewritten beside itself, one row group in memory at a time, and swapped
    in at the end. Row groups of which no row stays are not read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _replace(path, schema, tables)
        return
    whole = _with_others(schema, path)
    kept = (_others(_with_schema(t, whole), when) for t in _row_groups(path, when))
    _replace(path, whole, chain(kept, (_with_schema(t, whole) for t in tables)))


def _with_others(schema: pa.Schema, path: Path) -> pa.Schema:
    """Add the columns that only a file has: of a later version, or put there by hand.

    They are of the past, as rows are.
    """
    with _opened(path) as file:
        others = [f for f in file.schema_arrow if f.name not in schema.names]
    return pa.schema([*schema, *others])


def _others(table: pa.Table, when: datetime) -> pa.Table:
    """Rows of other event times than `when`."""
    kept = pc.not_equal(table[TIMESTAMP], pa.scalar(when, _WHEN))
    return table if pc.all(kept).as_py() else table.filter(kept)


def forget_before(path: Path, oldest: datetime) -> None:
    """Leave out the rows from before a time, if there are any."""
    bound = pa.scalar(oldest, _WHEN)
    if pc.any(pc.less(event_times(path), bound)).as_py():
        rewrite_parquet(
            path, lambda table: table.filter(pc.greater_equal(table[TIMESTAMP], bound))
        )


def forget_time(path: Path, when: datetime) -> None:
    """Leave out the rows of one event time, if there are any."""
    if holds_time(path, when):
        rewrite_parquet(path, lambda table: _others(table, when))


def holds_time(path: Path, when: datetime) -> bool:
    """Tell whether a file has rows of an event time."""
    same = pc.equal(event_times(path), pa.scalar(when, _WHEN))
    return bool(pc.any(same).as_py())


def event_times(path: Path) -> pa.ChunkedArray:
    """Event times of all rows; none where there is no file."""
    if not path.exists():
        return pa.chunked_array([], _WHEN)
    return read_columns(path, [TIMESTAMP])[TIMESTAMP].cast(_WHEN)


def columns_in(path: Path) -> dict[str, pa.DataType]:
    """Return the types of the columns of a file, by their names.

    Raises DamagedStoreError when it cannot be read.
    """
    with _opened(path) as file:
        return {field.name: field.type for field in file.schema_arrow}


def read_columns(path: Path, names: list[str]) -> pa.Table:
    """Read some columns of a file.

    Raises DamagedStoreError when it cannot be read.
    """
    with _opened(path) as file:
        return file.read(names).select(names)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file to read it, and tell damage from all else."""
    try:
        check_footer(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    # KeyError, ValueError: damaged names of columns, or names and messages that are no
    # UTF-8.
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # an error of the system; the file may be sound
        raise DamagedStoreError(
            f"{path} is damaged and cannot be read ({error}); restore it from a "
            "backup, or move it away and publish again, which begins a new history"
        ) from error


def _row_groups(path: Path, without: datetime | None = None) -> Iterator[pa.Table]:
    """Read a file by row groups, but those all of whose rows have a time."""
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            times = _times_of(file.metadata.row_group(group))
            if times is None or times != (without, without):
                yield file.read_row_group(group)


def _times_of(group: pq.RowGroupMetaData) -> tuple[datetime, datetime] | None:
    """Return the first and the last event time in a row group, where it is known."""
    columns = (group.column(number) for number in range(group.num_columns))
    for column in columns:
        if column.path_in_schema == TIMESTAMP and column.is_stats_set:
            found = column.statistics
            zoned = found.has_min_max and isinstance(found.min, datetime)
            if zoned and found.min.tzinfo and not found.null_count:
                return found.min, found.max
    return None


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Choose columns; those that were not written yet are empty."""
    columns = [
        _of_type(table[field.name], field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _of_type(
    column: pa.ChunkedArray | pa.Array, kind: pa.DataType
) -> pa.ChunkedArray | pa.Array:
    """Cast a column; what a feature held before it became of another kind is empty."""
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(column), kind)


def rewrite_parquet(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a file, one row group in memory at a time, all or nothing."""
    with _opened(path) as old:
        schema = old.schema_arrow
    _replace(path, schema, map(change, _row_groups(path)))


def _replace(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write beside the file, and swap the new one in at the end."""
    partial = partial_of(path)
    try:
        # Damage of a page is then found when it is read.
        with pq.ParquetWriter(
            partial,
            schema,
            write_page_checksum=True,
            # Looking for vectors' numbers that repeat, of which there are none, takes
            # six times longer than all the rest, and compressing them, which makes them
            # no smaller, as long again as writing.
            use_dictionary=[f.name for f in schema if not pa.types.is_list(f.type)],
            compression={
                _path_of(f): "snappy"
                for f in schema
                if f.type != pa.list_(pa.float32())
            },
        ) as writer:
            for table in tables:
                # An empty row group would stay for good.
                if len(table):
                    writer.write_table(table)
        seal_footer(partial)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)


def _path_of(field: pa.Field) -> str:
    """Name the column in a parquet file that has the values of a field."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


def partial_of(path: Path) -> Path:
    """Return the file beside `path` that is written and then takes its place.

    Its name begins with a dot: whoever reads a folder of files takes it for none.
    """
    return path.with_name(f".{path.name}.partial")


def write_empty(path: Path, schema: pa.Schema) -> None:
    """Write a file without rows, unless there is one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, schema, ())


def check_readable(path: Path) -> None:
    """Raise a DamagedStoreError for a file that is none, or whose rows have no time."""
    if path.exists():
        with _opened(path) as file:
            file.schema_arrow.names.index(TIMESTAMP)


def check_pages(path: Path) -> None:
    """Raise a DamagedStoreError for a file whose rows cannot all be read."""
    check_readable(path)
    for _ in _row_groups(path):
        continue


def _vector_column(matrix: np.ndarray) -> pa.ListArray:
    """Rows of a matrix as an Arrow column of float32 lists, without a copy."""
    n, dim = matrix.shape
    # Arrow refuses what does not fit into 32 bits, where NumPy would go on from below.
    offsets = pa.array(np.arange(0, (n + 1) * dim, dim), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))
