"""The offline side: one parquet file a view, to which each publication is appended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skmmrec.feature_store.backends.base import (
    EVENT,
    EVENT_ITEM,
    EVENT_USER,
    EVENT_Y,
    TIMESTAMP,
    Batch,
    Column,
)

_ARROW = {"int64": pa.int64(), "string": pa.string()}
_WHEN = pa.timestamp("us", tz="UTC")


def batch_schema(batch: Batch) -> pa.Schema:
    """Columns of the parquet file of users or items."""
    fields = [
        (batch.join_key, _ARROW[batch.id_type]),
        (batch.vector_name, pa.list_(pa.float32())),
        (batch.version_name, pa.string()),
        (TIMESTAMP, _WHEN),
    ]
    fields += [(column.name, _arrow_type(column)) for column in batch.columns]
    return pa.schema(fields)


def batch_table(batch: Batch, start: int, stop: int, when: datetime) -> pa.Table:
    """Rows ``[start, stop)`` for the parquet file."""
    n = stop - start
    columns = [
        pa.array(batch.ids[start:stop], _ARROW[batch.id_type]),
        _vector_column(batch.matrix[start:stop]),
        pa.array([batch.version] * n),
        pa.array([when] * n, _WHEN),
    ]
    columns += [
        pa.array(column.values[start:stop], _arrow_type(column))
        for column in batch.columns
    ]
    return pa.table(columns, schema=batch_schema(batch))


def _arrow_type(column: Column) -> pa.DataType:
    scalar = _ARROW[column.kind.removesuffix("_list")]
    return pa.list_(scalar) if column.kind.endswith("_list") else scalar


def event_schema(batches: tuple[Batch, Batch]) -> pa.Schema:
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


def append_parquet(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], when: datetime
) -> None:
    """Add rows of one event time to a parquet file, all or nothing.

    The file is rewritten beside itself, one row group in memory at a time, and swapped
    in at the end. Rows of an event time that the file already ends with are not added
    twice.
    """
    if _latest(path) == when:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    old = _row_groups(path) if path.exists() else ()
    _replace(path, schema, chain((_with_schema(t, schema) for t in old), tables))


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Choose columns; those that an older version did not write are empty."""
    columns = [
        table[field.name]
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def rewrite_parquet(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a file, one row group in memory at a time, all or nothing."""
    with pq.ParquetFile(path) as old:
        schema = old.schema_arrow
    _replace(path, schema, map(change, _row_groups(path)))


def _replace(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write beside the file, and swap the new one in at the end."""
    partial = path.with_name(path.name + ".partial")
    with pq.ParquetWriter(partial, schema) as writer:
        for table in tables:
            writer.write_table(table)
    os.replace(partial, path)


def write_empty(path: Path, schema: pa.Schema) -> None:
    """Write a file without rows, unless there is one."""
    if not path.exists():
        append_parquet(path, schema, (), datetime.min)


def _latest(path: Path) -> datetime | None:
    """Latest event time in the file, from its statistics."""
    if not path.exists():
        return None
    with pq.ParquetFile(path) as file:
        column = file.schema_arrow.get_field_index(TIMESTAMP)
        groups = range(file.num_row_groups)
        chunks = [file.metadata.row_group(g).column(column) for g in groups]
        return max((c.statistics.max for c in chunks if c.statistics), default=None)


def _vector_column(matrix: np.ndarray) -> pa.ListArray:
    """Rows of a matrix as an Arrow column of float32 lists, without a copy."""
    n, dim = matrix.shape
    offsets = np.arange(0, (n + 1) * dim, dim, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))
