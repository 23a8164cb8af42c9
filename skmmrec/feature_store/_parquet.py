"""Parquet files: each written beside the one whose place it takes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skmmrec.feature_store.backends.base import TIMESTAMP, DamagedStoreError

from ._row_groups import Copy, Footer

WHEN = pa.timestamp("us", tz="UTC")


class Going(NamedTuple):
    """The rows that go: those from the first to the last of two event times."""

    first: datetime
    last: datetime

    def spares(self, times: tuple[datetime, datetime] | None) -> bool:
        """Tell whether none goes of rows between two times; None: nobody knows."""
        return times is not None and (times[1] < self.first or times[0] > self.last)

    def takes(self, times: tuple[datetime, datetime] | None) -> bool:
        """Tell whether all of them go."""
        return times is not None and self.first <= times[0] <= times[1] <= self.last

    def rest(self, table: pa.Table) -> pa.Table:
        """Return the rows that stay."""
        times = table[TIMESTAMP]
        earlier = pc.less(times, pa.scalar(self.first, WHEN))
        later = pc.greater(times, pa.scalar(self.last, WHEN))
        stays = pc.or_(earlier, later)
        return table if pc.all(stays).as_py() else table.filter(stays)


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file to read it, and tell damage from all else."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    # Names of columns may be others or, as the messages that have them, no text.
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if getattr(error, "errno", None) is not None:
            raise  # of the system: there is nothing wrong with the file
        raise DamagedStoreError(
            f"{path} is damaged and cannot be read ({error}); restore it from a "
            "backup, or move it away and publish again, which begins a new history"
        ) from error


def row_groups(
    path: Path, wanted: Callable[[pq.ParquetFile, int], bool] | None = None
) -> Iterator[pa.Table]:
    """Read a file by row groups, but those that are not wanted."""
    with opened(path) as file:
        for group in range(file.num_row_groups):
            if wanted is None or wanted(file, group):
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
        of_type(table[field.name], field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def of_type(
    column: pa.ChunkedArray | pa.Array, kind: pa.DataType
) -> pa.ChunkedArray | pa.Array:
    """Cast a column; what a feature held before it became of another kind is empty."""
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(len(column), kind)


def rewrite_parquet(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a file, one row group in memory at a time, all or nothing."""
    replace(path, _schema_of(path), map(change, row_groups(path)))


def rewrite_without(path: Path, going: Going) -> None:
    """Leave out the rows of some time, all or nothing."""
    replace(path, _schema_of(path), (), going)


def _schema_of(path: Path) -> pa.Schema:
    with opened(path) as file:
        return file.schema_arrow


def replace(
    path: Path,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    going: Going | None = None,
) -> None:
    """Write beside the file, and swap the new one in at the end.

    With `going`, all other rows of the file stay, before those of `tables`.
    """
    partial, rows = partial_of(path), rows_of(path)
    try:
        if going is None:
            _write(partial, schema, tables)
        else:
            lasting = _lasting_groups(path, schema, going)
            others = _other_rows(path, schema, going, lasting)
            _write(rows, schema, chain(others, tables))
            _join(partial, path, lasting.values(), rows)
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        rows.unlink(missing_ok=True)
    os.replace(partial, path)


def _lasting_groups(path: Path, schema: pa.Schema, going: Going) -> dict[int, bytes]:
    """Find the row groups of a file that stay as they are, by their numbers."""
    with opened(path) as file:
        footer, metadata = Footer.of(path), file.metadata
        if not footer.is_like(_footer_of(schema)):
            return {}
        return {
            number: group
            for number, group in enumerate(footer.groups)
            if going.spares(_times_of(metadata.row_group(number)))
        }


def _other_rows(
    path: Path, schema: pa.Schema, going: Going, lasting: Container[int]
) -> Iterator[pa.Table]:
    """Read what stays of the row groups of a file that change."""

    def wanted(file: pq.ParquetFile, group: int) -> bool:
        times = _times_of(file.metadata.row_group(group))
        return group not in lasting and not going.takes(times)

    for table in row_groups(path, wanted):
        yield going.rest(_with_schema(table, schema))


def _join(partial: Path, path: Path, lasting: Iterable[bytes], rows: Path) -> None:
    """Write a file of some row groups of one, and all of another."""
    footer = Footer.of(rows)
    with open(partial, "wb") as target:
        copy = Copy(target)
        with opened(path):
            copy.add(path, lasting)
        copy.add(rows, list(footer.groups))
        copy.finish(footer)


def _footer_of(schema: pa.Schema) -> Footer:
    """Return the footer of a file with some columns."""
    sink = io.BytesIO()
    with _writer(sink, schema):
        pass
    sink.seek(0)
    return Footer.read(sink)


def _write(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    with _writer(path, schema) as writer:
        for table in tables:
            # An empty row group would stay for good.
            if len(table):
                writer.write_table(table)


def _writer(target: Path | BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        target,
        schema,
        # Damage of a page is then found when it is read.
        write_page_checksum=True,
        # Looking for vectors' numbers that repeat, of which there are none, takes
        # six times longer than all the rest, and compressing them, which makes them
        # no smaller, as long again as writing.
        use_dictionary=[f.name for f in schema if not pa.types.is_list(f.type)],
        compression={
            _path_of(f): "snappy" for f in schema if f.type != pa.list_(pa.float32())
        },
    )


def _path_of(field: pa.Field) -> str:
    """Name the column in a parquet file that has the values of a field."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


def partial_of(path: Path) -> Path:
    """Return the file beside `path` that is written and then takes its place."""
    return path.with_name(path.name + ".partial")


def rows_of(path: Path) -> Path:
    """Return the file that new rows are in until they are joined to those before."""
    return path.with_name(path.name + ".rows.partial")
