"""Arrow tables that are read once, part by part: files, folders, iterators."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from skmmrec.recommender import TableSource
from skmmrec.runtime import parquet_files_in, without_tensors

# Rows in memory at a time: 10 MB of vectors of 256 numbers.
ROWS = 10_000


class Source:
    """Rows of some columns, each of which can be found again by its number.

    Parameters
    ----------
    given : path, pyarrow.Table or iterable of tables or record batches
    name : str
        What errors call it.
    needed, optional : tuple of str
        Columns to read; the optional ones where there are any.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the columns that are read.

    Raises
    ------
    ValueError
        When there is nothing, a file cannot be read, or a column is missing. Of files,
        also when one has columns of other types than the first.
    TypeError
        When `given` is anything else.
    """

    def __init__(
        self,
        given: TableSource,
        name: str,
        needed: tuple[str, ...],
        optional: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self._needed, self._optional = needed, optional
        self._labels: list[str] = []
        self._firsts: list[int] = []
        if isinstance(given, str | Path):
            self.schema, self._pieces = self._of_files(_files(Path(given), name))
        else:
            self.schema, self._pieces = self._of_tables(given)

    def parts(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Return the rows in parts, each with the number of its first row."""
        place = 0
        for label, batches in self._pieces:
            self._labels.append(label)
            self._firsts.append(place)
            for batch in batches:
                yield place, batch
                place += len(batch)

    def where(self, place: int, row: int = 0) -> str:
        """Say in which file or table, and there in which row, a row was.

        It is `row` rows after the one whose number is `place`.
        """
        place += row
        piece = bisect_right(self._firsts, place) - 1
        return f"row {place - self._firsts[piece]} of {self._labels[piece]}"

    def _chosen(self, schema: pa.Schema, label: str) -> pa.Schema:
        """Choose the columns to read."""
        missing = [name for name in self._needed if name not in schema.names]
        if missing:
            raise ValueError(
                f"{self.name}: {label} has no column {missing[0]!r}; it has "
                f"{schema.names}"
            )
        names = [n for n in (*self._needed, *self._optional) if n in schema.names]
        twice = [name for name in names if schema.names.count(name) > 1]
        if twice:
            raise ValueError(f"{self.name}: {label} has column {twice[0]!r} twice")
        return pa.schema([schema.field(name) for name in names])

    def _same(self, schema: pa.Schema, label: str, first: str) -> None:
        """Refuse columns that differ from those of the first file or table."""
        chosen = self._chosen(schema, label)
        kinds, wanted = (
            {field.name: field.type for field in each} for each in (chosen, self.schema)
        )
        for name in {**wanted, **kinds}:
            if kinds.get(name) != wanted.get(name):
                raise ValueError(
                    f"{self.name}: column {name!r} is {kinds.get(name, 'missing')} in "
                    f"{label}, but {wanted.get(name, 'missing')} in {first}; give all "
                    "of it the same columns"
                )

    def _of_files(
        self, files: list[Path]
    ) -> tuple[pa.Schema, Iterator[tuple[str, Iterable[pa.RecordBatch]]]]:
        self.schema = self._chosen(self._read_schema(files[0]), str(files[0]))
        for path in files[1:]:
            self._same(self._read_schema(path), str(path), str(files[0]))
        return self.schema, ((str(path), self._read(path)) for path in files)

    def _read_schema(self, path: Path) -> pa.Schema:
        try:
            return without_tensors(pq.read_schema(path))
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(path, error) from error

    def _read(self, path: Path) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(ROWS, columns=self.schema.names):
                    yield without_tensors(batch.select(self.schema.names))
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: Path, error: Exception) -> ValueError:
        return ValueError(
            f"{self.name}: {path} cannot be read as a parquet file ({error}); write it "
            "again, or take it out of the folder"
        )

    def _of_tables(
        self, given: Any
    ) -> tuple[pa.Schema, Iterator[tuple[str, Iterable[pa.RecordBatch]]]]:
        given = [given] if isinstance(given, pa.Table | pa.RecordBatch) else given
        if not isinstance(given, Iterable):
            raise _no_table(given, self.name)
        tables = (_table(table, self.name) for table in given)
        first = next(tables, None)
        if first is None:
            raise ValueError(f"{self.name}: there is no table")
        self.schema = self._chosen(without_tensors(first.schema), _label(0))
        return self.schema, self._cut(chain([first], tables))

    def _cut(
        self, tables: Iterable[pa.Table]
    ) -> Iterator[tuple[str, Iterable[pa.RecordBatch]]]:
        for number, table in enumerate(tables):
            self._same(without_tensors(table.schema), _label(number), _label(0))
            chosen = table.select(self.schema.names).to_batches(max_chunksize=ROWS)
            yield _label(number), map(without_tensors, chosen)


def _files(path: Path, name: str) -> list[Path]:
    """List the files of a folder, or the file itself."""
    if not path.exists():
        raise FileNotFoundError(f"{name}: there is no {path}")
    files = parquet_files_in(path)
    if not files:
        raise ValueError(f"{name}: the folder {path} has no file *.parquet")
    return files


def _table(given: Any, name: str) -> pa.Table:
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    if not isinstance(given, pa.Table):
        raise _no_table(given, name)
    return given


def _no_table(given: object, name: str) -> TypeError:
    return TypeError(
        f"{name} must be a parquet file, a folder of them, or Arrow tables, got "
        f"{type(given).__name__}"
    )


def _label(number: int) -> str:
    return f"table {number}"
