"""Parquet files of raw items: what they hold, and slices of their rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from skmmrec.runtime import (
    is_same_type,
    is_text,
    parquet_files_in,
    parquet_identity,
    plain_type,
    whole_path,
    with_long_indices,
)

# Rows that are read at a time: of pictures of 50 kB, 50 MB. Not tuned.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class InputFile:
    """A parquet file.

    Attributes
    ----------
    name : str
        Its path from the folder that holds all of them.
    path : str
        Absolute.
    n_rows : int
        Number of rows.
    schema : Schema
        Names and types of its columns.
    identity : str
        Size, time of change, and a hash of the footer: another one is another file.
    """

    name: str
    path: str
    n_rows: int
    schema: pa.Schema
    identity: str


@dataclass(frozen=True)
class Slice:
    """Rows of a file that become one partition.

    Attributes
    ----------
    name : str
        Of the partition.
    path : str
        The file.
    start, stop : int
        The first row, and that after the last.
    """

    name: str
    path: str
    start: int
    stop: int

    @property
    def label(self) -> str:
        """What errors call it."""
        return f"{self.path} (rows count from its row {self.start})"


def input_files(path: str | os.PathLike) -> list[InputFile]:
    """Look at a parquet file, or at all in a folder and those in it, sorted by name.

    Files and folders whose names begin with a dot or an underscore are no data.

    Raises ValueError if there is none, no row, or a file that is not parquet, and names
    the file.
    """
    root = whole_path(Path(path).expanduser())
    if not root.exists():
        raise ValueError(f"items: there is no file or folder {str(root)!r}")
    files = [_look_at(path, root) for path in parquet_files_in(root)]
    if not any(file.n_rows for file in files):
        raise ValueError(f"items: no row in any *.parquet file of {str(root)!r}")
    return files


def _look_at(path: Path, root: Path) -> InputFile:
    with reading_file(str(path)), pq.ParquetFile(path) as file:
        n_rows, schema = file.metadata.num_rows, file.schema_arrow.remove_metadata()
    name = path.relative_to(root.parent).as_posix()
    return InputFile(name, str(path), n_rows, schema, parquet_identity(path))


def common_schema(files: list[InputFile], columns: list[str] | None) -> pa.Schema:
    """Return the names and types that all files have.

    A column that is empty in a file, and has no type there, has that of the others.

    `columns` are those that matter; None: all of the first file, which there must be. A
    ValueError names a file that lacks a column or has it with another type.
    """
    names = files[0].schema.names if columns is None else columns
    return pa.schema([_common_field(files, name) for name in names])


def _common_field(files: list[InputFile], name: str) -> pa.Field:
    known, where = pa.null(), files[0].path
    for file in files:
        if name not in file.schema.names:
            raise ValueError(
                f"items: {file.path} has no column {name!r}; its columns are "
                f"{file.schema.names}"
            )
        if file.schema.names.count(name) > 1:
            raise ValueError(f"items: {file.path} has several columns named {name!r}")
        found = _wide(file.schema.field(name).type)
        if pa.types.is_null(known):
            known, where = found, file.path
        if not is_same_type(found, known):
            raise ValueError(
                f"items: column {name!r} is {found} in {file.path}, but {known} in "
                f"{where}: write it with one type in all files"
            )
    return pa.field(name, known)


def _wide(kind: pa.DataType) -> pa.DataType:
    """Return a type that has room for the values of all files."""
    if pa.types.is_dictionary(kind):
        return with_long_indices(kind)
    if plain_type(kind) == pa.binary():
        return pa.large_binary()
    return pa.large_string() if is_text(kind) else kind


def columns_with_gaps(files: Iterable[InputFile], schema: pa.Schema) -> list[str]:
    """List the columns of whole numbers and truth values that lack some in any file.

    pandas has other types for these: so they must be known before some rows are read.
    """
    kinds = [f for f in schema if pa.types.is_integer(f.type) or f.type == pa.bool_()]
    if not kinds:
        return []
    found = {name for file in files for name in _gaps_in(file.path, kinds)}
    return [field.name for field in kinds if field.name in found]


def _gaps_in(path: str, fields: list[pa.Field]) -> Iterator[str]:
    with reading_file(path), pq.ParquetFile(path) as file:
        footer = file.metadata
        places = {footer.schema.column(n).path: n for n in range(footer.num_columns)}
        for field in fields:
            counts = [
                _n_missing(footer.row_group(number).column(places[field.name]))
                for number in range(footer.num_row_groups)
            ]
            if None in counts:  # the writer has not said
                counts = [file.read([field.name])[field.name].null_count]
            if any(counts):
                yield field.name


def _n_missing(column: pq.ColumnChunkMetaData) -> int | None:
    facts = column.statistics
    return facts.null_count if facts is not None and facts.has_null_count else None


def cut(files: list[InputFile], size: int) -> list[Slice]:
    """Cut files into slices of at most `size` rows, in order."""
    bounds = [
        (file.path, start, min(start + size, file.n_rows))
        for file in files
        for start in range(0, file.n_rows, size)
    ]
    n_digits = max(5, len(str(len(bounds))))
    return [
        Slice(f"part-{number:0{n_digits}}.parquet", *bound)
        for number, bound in enumerate(bounds)
    ]


def read_slice(part: Slice, schema: pa.Schema) -> pa.Table:
    """Read some columns of some rows.

    Raises ValueError if the file is damaged or has changed, and names it.
    """
    with reading_file(part.path), pq.ParquetFile(part.path) as file:
        batches = list(_batches(file, part, schema.names))
    if sum(map(len, batches)) != part.stop - part.start:
        raise ValueError(f"items: {part.path} has changed while it was read")
    return pa.Table.from_batches(batches).select(schema.names).cast(schema)


def _batches(
    file: pq.ParquetFile, part: Slice, columns: list[str]
) -> Iterator[pa.RecordBatch]:
    groups, position = _overlapping(file.metadata, part)
    for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=groups, columns=columns):
        begin = max(part.start - position, 0)
        end = min(part.stop - position, len(batch))
        if begin < end:
            yield batch.slice(begin, end - begin)
        position += len(batch)
        if position >= part.stop:
            return


def _overlapping(metadata: pq.FileMetaData, part: Slice) -> tuple[list[int], int]:
    """Return the row groups that a slice has rows of, and the first row of these."""
    groups: list[int] = []
    first = position = 0
    for number in range(metadata.num_row_groups):
        end = position + metadata.row_group(number).num_rows
        if position < part.stop and end > part.start:
            first = first if groups else position
            groups.append(number)
        position = end
    return groups, first


def first_rows(files: Iterable[InputFile], schema: pa.Schema) -> pa.Table:
    """Return some rows in which every column that has values anywhere has one.

    Files are searched in order; a ValueError names one that is damaged.
    """
    rows, empty = schema.empty_table(), list(schema.names)
    for file in files:
        with reading_file(file.path):
            rows = _completed(rows, empty, file.path)
        empty = [name for name in empty if not rows.filter(_is_there(name)).num_rows]
        if not empty:
            break
    return rows


def _completed(rows: pa.Table, names: list[str], path: str) -> pa.Table:
    """Add the first rows of a file that have values in some columns."""
    data = ds.dataset(path, schema=rows.schema, format="parquet")
    for name in names:
        if not len(rows):
            rows = data.head(1)
        if not rows.filter(_is_there(name)).num_rows:
            found = data.scanner(filter=_is_there(name), batch_size=_ROWS_AT_ONCE)
            rows = pa.concat_tables([rows, found.head(1)])
    return rows


def _is_there(name: str) -> Any:
    return ~ds.field(name).is_null(nan_is_null=True)


@contextmanager
def reading_file(path: str) -> Iterator[None]:
    """Name a file in what its damage raises."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ValueError(
            f"items: {path} cannot be read; perhaps the file is damaged: {error}"
        ) from error
