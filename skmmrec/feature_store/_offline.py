"""The offline side: one parquet file a view, to which each publication is appended."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ._definitions import TIMESTAMP


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
    partial = path.with_name(path.name + ".partial")
    with pq.ParquetWriter(partial, schema) as writer:
        for table in _row_groups(path, schema):
            writer.write_table(table)
        for table in tables:
            writer.write_table(table)
    os.replace(partial, path)


def _row_groups(path: Path, schema: pa.Schema) -> Iterable[pa.Table]:
    if not path.exists():
        return
    with pq.ParquetFile(path) as old:
        for group in range(old.num_row_groups):
            table = old.read_row_group(group)
            yield _with_schema(table, schema)


def _with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Choose columns; those that an older version did not write are empty."""
    columns = [
        table[field.name]
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)


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


def vector_column(matrix: np.ndarray) -> pa.ListArray:
    """Rows of a matrix as an Arrow column of float32 lists, without a copy."""
    n, dim = matrix.shape
    offsets = np.arange(0, (n + 1) * dim, dim, dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))
