"""Parquet files of items: which there are, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skmmrec.catalog._blocks import Blocks, to_blocks
from skmmrec.catalog._parquet_layout import Layout, Modality
from skmmrec.interactions import check_ids, plain
from skmmrec.runtime import parquet_files_in, without_tensors

# Rows that are read at a time: of 1,000 float32 numbers, 64 MB. Not tuned.
ROWS_AT_ONCE = 16_384


def parquet_files(folder: str | PathLike[str]) -> list[Path]:
    """List the files of a folder as `parquet_files_in` does.

    Raises ValueError if there is none.
    """
    root = Path(folder)
    paths = parquet_files_in(root)
    if not paths:
        what = "has no *.parquet file" if root.is_dir() else "does not exist"
        raise ValueError(f"{str(folder)!r} {what}: give a parquet file or a folder")
    return paths


@contextmanager
def reading_file(path: Path) -> Iterator[None]:
    """Name the file in what goes wrong while it is read.

    Raises ValueError for a file that is no parquet or is damaged, and says what is
    wrong in it.
    """
    try:
        yield
    except (pa.ArrowException, ValueError, OSError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error


def read_schema(path: Path) -> tuple[pa.Schema, int]:
    """Read the schema of a file, and its number of rows."""
    with reading_file(path), pq.ParquetFile(path) as file:
        return without_tensors(file.schema_arrow), file.metadata.num_rows


def find_widths(paths: Sequence[Path], layout: Layout) -> Layout:
    """Learn the length of plain lists from the first that there is.

    Raises ValueError for a modality without any list.
    """
    for name, modality in layout.modalities.items():
        if modality.width is None:
            width = next(_lengths_of(paths, name), None)
            if width is None:
                raise ValueError(
                    f"modality {name!r} has no vector in any file: leave it out, "
                    "from_parquet(folder, modalities=[...])"
                )
            layout = layout.with_width(name, width)
    return layout


def _lengths_of(paths: Sequence[Path], name: str) -> Iterator[int]:
    for path in paths:
        with reading_file(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=[name]):
                column = batch.column(0)
                if column.null_count < len(column):
                    yield pc.list_value_length(column.drop_null())[0].as_py()


def read_keys(path: Path, key: str) -> NDArray:
    """Read the ids of a file; errors name row and file."""
    with reading_file(path), pq.ParquetFile(path) as file:
        return check_ids(file.read([key])[key], key)


def join_keys(parts: Sequence[NDArray], paths: Sequence[Path], key: str) -> NDArray:
    """Put the ids of all files into one array, each of them once.

    Raises ValueError for files whose ids are of different kinds, and for an id that is
    there twice, and names the files.
    """
    held = [(part, path) for part, path in zip(parts, paths, strict=True) if len(part)]
    for part, path in held:
        if (part.dtype == object) != (held[0][0].dtype == object):
            raise ValueError(
                f"{path}: {key} {plain(part[0])!r} is of another type than "
                f"{plain(held[0][0][0])!r} in {held[0][1]}: give all ids one type"
            )
    ids = check_ids(np.concatenate([part for part, _ in held]), key)
    later = pd.Index(ids).duplicated()
    if later.any():
        _refuse_repeated(ids, int(later.argmax()), parts, paths, key)
    return ids


def _refuse_repeated(
    ids: NDArray, row: int, parts: Sequence[NDArray], paths: Sequence[Path], key: str
) -> None:
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])

    def place(at: int) -> str:
        number = int(np.searchsorted(starts, at, side="right")) - 1
        return f"row {at - starts[number]} of {paths[number]}"

    first = int(np.flatnonzero(ids[:row] == ids[row])[0])
    raise ValueError(
        f"{key} {plain(ids[row])!r} in {place(row)} occurs in {place(first)} already: "
        "each item may be there once"
    )


def read_rows(path: Path, layout: Layout) -> Iterator[Blocks]:
    """Read the content of a file, part by part.

    Raises ValueError for lists of another length, and numbers that are infinite or
    missing among others, and names the row, the file and the modality.
    """
    first = 0
    with reading_file(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=layout.columns):
            yield blocks_of(without_tensors(batch), layout, first)
            first += len(batch)


def blocks_of(batch: pa.RecordBatch, layout: Layout, first: int = 0) -> Blocks:
    """Turn columns into blocks; `first` is the row that errors count from."""
    parts = [
        _block_of(batch, name, modality, first)
        for name, modality in layout.modalities.items()
    ]
    values = {name: block for part in parts for name, block in part.values.items()}
    numbers = frozenset[str]().union(*(part.numbers for part in parts))
    return Blocks(values, np.hstack([part.mask for part in parts]), numbers)


def _block_of(
    batch: pa.RecordBatch, name: str, modality: Modality, first: int
) -> Blocks:
    table: Any
    if modality.is_list:
        table = _matrix(batch.column(name), name, modality.width or 0, first)
    else:
        table = batch.select(list(modality.columns)).to_pandas()
    places = {name: np.arange(modality.width or 0)}
    numbers = {name} if modality.is_number else ()
    return to_blocks(table, places, numbers, modality.columns, first)


def _matrix(column: pa.Array, name: str, width: int, first: int) -> NDArray:
    """Make rows of lists, with NaN where there is none."""
    is_there = column.is_valid().to_numpy(zero_copy_only=False)
    lists = column.drop_null()
    if len(lists) == 0:
        return np.full((len(column), width), np.nan, np.float32)
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != width)
    if len(odd):
        raise ValueError(
            f"modality {name!r} has {lengths[odd[0]]} numbers in row "
            f"{first + np.flatnonzero(is_there)[odd[0]]}, and {width} in others"
        )
    values = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    if is_there.all():
        return values
    matrix = np.full((len(column), width), np.nan, np.result_type(values, np.float32))
    matrix[is_there] = values
    return matrix
