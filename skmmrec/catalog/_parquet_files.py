"""Parquet files of items: which there are, what is in them, and whether they agree."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skmmrec.catalog._blocks import Blocks, group_columns, single_columns, to_blocks
from skmmrec.interactions import check_ids, plain

# Key of the schema's metadata, where a writer may say which modalities are numbers.
METADATA = b"skmmrec"
# Rows that are read at a time: of 1,000 float32 numbers, 64 MB. Not tuned.
ROWS_AT_ONCE = 16_384


def parquet_files(folder: str | PathLike[str]) -> list[Path]:
    """List the files of a folder and its sub folders, in the order of their names.

    What begins with ``_`` or ``.`` is left out, as all engines do. A single file is
    itself.

    Raises
    ------
    ValueError
        If there is none.
    """
    root = Path(folder)
    if root.is_file():
        return [root]
    found = [p.relative_to(root) for p in root.rglob("*.parquet") if p.is_file()]
    shown = [p for p in found if not any(part[0] in "_." for part in p.parts)]
    if not shown:
        what = "has no *.parquet file" if root.is_dir() else "does not exist"
        raise ValueError(f"{str(folder)!r} {what}: give a parquet file or a folder")
    return [root / p for p in sorted(shown, key=lambda p: p.as_posix())]


@contextmanager
def reading_file(path: Path) -> Iterator[None]:
    """Name the file in what goes wrong while it is read.

    Raises
    ------
    ValueError
        For a file that is no parquet or is damaged, and what is wrong in it.
    """
    try:
        yield
    except (pa.ArrowException, ValueError, OSError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error


@dataclass(frozen=True)
class Modality:
    """Where the vectors or numbers of a modality are.

    Attributes
    ----------
    columns : tuple of str
        One column of lists, or columns of numbers.
    is_list : bool
        Which of them.
    is_number : bool
        Whether size counts, and not direction.
    width : int or None
        Numbers of each item; None: the lists tell, which all have the same length.
    """

    columns: tuple[str, ...]
    is_list: bool
    is_number: bool
    width: int | None

    @property
    def dtype(self) -> type:
        """Type of its block."""
        return np.float64 if self.is_number else np.float32


@dataclass(frozen=True)
class Layout:
    """What the columns of a table of items are.

    Attributes
    ----------
    key : str
        Column of the ids.
    modalities : dict of str to Modality
        In the order of the columns.
    """

    key: str
    modalities: dict[str, Modality]

    @property
    def columns(self) -> list[str]:
        """Columns of content."""
        return [c for modality in self.modalities.values() for c in modality.columns]

    def with_width(self, name: str, width: int) -> Layout:
        """Fix the length of the lists of a modality."""
        fixed = replace(self.modalities[name], width=width)
        return replace(self, modalities=self.modalities | {name: fixed})


def read_layout(
    schema: pa.Schema, key: str | None, wanted: Sequence[str] | None
) -> Layout:
    """Find the key and the modalities of a schema.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of a table of items.
    key : str or None
        Column of the ids; None: the one that metadata names, or ``item_id``.
    wanted : sequence of str or None
        The modalities to read; None: all that are recognised.

    Raises
    ------
    ValueError
        For a column that is not there, or holds no numbers, or no modality at all.
    """
    told = _told(schema)
    key = key or told.get("key") or "item_id"
    _check_key(schema, key)
    numbers = set(told.get("numbers", ()))
    lists = [f.name for f in schema if f.name != key and _is_list_of_numbers(f.type)]
    plain_numbers = [f.name for f in schema if f.name != key and _is_number(f.type)]
    named = [name for name in plain_numbers if "__" in name]
    groups = {
        modality: tuple(named[place] for place in places)
        for modality, places in group_columns(named, len(named), None).items()
    }
    found = {
        name: Modality((name,), True, name in numbers, _length(schema, name))
        for name in lists
    }
    single = single_columns({n: np.arange(len(c)) for n, c in groups.items()})
    for name, columns in groups.items():
        is_number = name in numbers or name in single
        found[name] = Modality(columns, False, is_number, len(columns))
    for name in {*numbers, *(wanted or ())} & set(plain_numbers) - set(found):
        found[name] = Modality((name,), False, True, 1)
    order = {name: place for place, name in enumerate(schema.names)}
    in_order = sorted(found, key=lambda name: order[found[name].columns[0]])
    return Layout(key, _chosen({name: found[name] for name in in_order}, wanted))


def _chosen(
    found: dict[str, Modality], wanted: Sequence[str] | None
) -> dict[str, Modality]:
    if isinstance(wanted, str):
        raise ValueError(f"modalities must be a list of names, got {wanted!r}")
    unknown = [name for name in wanted or () if name not in found]
    if unknown:
        raise ValueError(
            f"modalities names {unknown[0]!r}, which is no column of lists of numbers "
            f"and no column of numbers; there are {list(found)}"
        )
    if not found:
        raise ValueError(
            "there is no content: expected are columns of lists of numbers, or columns "
            "of numbers that are named like 'image__0'"
        )
    return found if wanted is None else {name: found[name] for name in wanted}


def _told(schema: pa.Schema) -> dict[str, Any]:
    """Read what the writer says of the columns."""
    text = (schema.metadata or {}).get(METADATA)
    if text is None:
        return {}
    try:
        told = dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"its metadata {METADATA!r} is no JSON: {text!r}") from error
    if told.get("format", 1) != 1:
        raise ValueError(
            f"it has the format {told['format']!r}, and this version of skmmrec reads "
            "format 1: update skmmrec"
        )
    return told


def _check_key(schema: pa.Schema, key: str) -> None:
    if key not in schema.names:
        raise ValueError(
            f"there is no column {key!r} (the key); the columns are {schema.names}: "
            "name the one with the ids, from_parquet(folder, key=...)"
        )


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    )


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    return _is_list(kind) and (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    )


def _is_number(kind: pa.DataType) -> bool:
    """Tell whether a column holds what `as_floats` reads by its type alone."""
    of_kind = ("floating", "integer", "boolean", "decimal", "temporal")
    return any(getattr(pa.types, f"is_{name}")(kind) for name in of_kind)


def _length(schema: pa.Schema, name: str) -> int | None:
    kind = schema.field(name).type
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else None


def read_schema(path: Path) -> tuple[pa.Schema, int]:
    """Read the schema of a file, and its number of rows."""
    with reading_file(path), pq.ParquetFile(path) as file:
        return file.schema_arrow, file.metadata.num_rows


def completed_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the first schema; where it knows no type, that of the first that does."""
    whole = schemas[0]
    for place, field in enumerate(whole):
        if pa.types.is_null(field.type):
            types = [s.field(field.name).type for s in schemas if field.name in s.names]
            known = [kind for kind in types if not pa.types.is_null(kind)]
            whole = whole.set(place, field.with_type(known[0] if known else field.type))
    return whole


def check_same_schema(layout: Layout, first: pa.Schema, other: pa.Schema) -> None:
    """Refuse a file whose columns, or encoder, are not those of the first.

    A column without any value may be of the type null.

    Raises
    ------
    ValueError
        It names the column and both types.
    """
    for name in [layout.key, *layout.columns]:
        if name not in other.names:
            raise ValueError(f"it lacks the column {name!r}, which the first file has")
        ours, theirs = first.field(name).type, other.field(name).type
        if not (_bare(ours) == _bare(theirs) or pa.types.is_null(theirs)):
            raise ValueError(
                f"column {name!r} is {theirs}, and {ours} in the first file: write all "
                "files with one schema"
            )
    ours, theirs = _told(first), _told(other)
    for word in ours.keys() & theirs.keys():
        if ours[word] != theirs[word]:
            raise ValueError(
                f"its metadata say {word}={theirs[word]!r}, and those of the first "
                f"file {ours[word]!r}: one catalogue needs one encoder"
            )


def check_no_more(first: pa.Schema, other: pa.Schema) -> None:
    """Refuse a file with content that the first lacks.

    Raises
    ------
    ValueError
        It names the column.
    """
    for field in other:
        is_content = _is_list_of_numbers(field.type) or "__" in field.name
        if is_content and field.name not in first.names:
            raise ValueError(
                f"it has the column {field.name!r}, which the first file lacks: write "
                "all files with one schema, or name the modalities to read"
            )


def check_lists(layout: Layout, schema: pa.Schema) -> None:
    """Refuse what is no list of numbers where vectors are expected.

    Raises
    ------
    ValueError
        It names the column.
    """
    for modality in layout.modalities.values():
        field = schema.field(modality.columns[0])
        is_known = pa.types.is_null(field.type) or _is_list_of_numbers(field.type)
        if modality.is_list and not is_known:
            raise ValueError(
                f"content column {field.name!r} holds {field.type}, and each row must "
                f"be a list of {modality.width} numbers, or missing"
            )


def _bare(kind: pa.DataType) -> pa.DataType:
    """Return the type without what does not matter: dictionaries, names of fields."""
    if pa.types.is_dictionary(kind):
        return _bare(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_type, kind.list_size)
    if _is_list(kind):
        return pa.list_(kind.value_type)
    return kind


def find_widths(paths: Sequence[Path], layout: Layout) -> Layout:
    """Learn the length of plain lists from the first that there is.

    Raises
    ------
    ValueError
        For a modality without any list.
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

    Raises
    ------
    ValueError
        For files whose ids are of different kinds, and for an id that is there twice;
        names the files.
    """
    held = [(part, path) for part, path in zip(parts, paths, strict=True) if len(part)]
    if not held:
        raise ValueError(f"there are no items: {len(paths)} files with 0 rows")
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

    Raises
    ------
    ValueError
        For lists of another length, and numbers that are infinite or missing among
        others; names the row, the file and the modality.
    """
    first = 0
    with reading_file(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=layout.columns):
            yield blocks_of(batch, layout, first)
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
