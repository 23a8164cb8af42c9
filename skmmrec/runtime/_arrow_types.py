"""Types of columns in parquet files, and whether files agree about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import pyarrow as pa

T = TypeVar("T", pa.Schema, pa.RecordBatch)


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a column holds lists, of one length or of any."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    )


def is_list_of_numbers(kind: pa.DataType) -> bool:
    """Tell whether a column holds lists of whole or of real numbers."""
    return is_list(kind) and (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    )


def without_tensors(table: T) -> T:
    """Return a schema or a batch with vectors of one length as lists of that length.

    Arrow has two ways to write them: as such lists, or as tensors of one dimension.
    Tensors of more dimensions stay.
    """
    schema = table if isinstance(table, pa.Schema) else table.schema
    vectors = [n for n, kind in enumerate(schema.types) if _is_vector(kind)]
    for place in vectors:
        field = schema.field(place).with_type(schema.types[place].storage_type)
        if isinstance(table, pa.RecordBatch):
            table = table.set_column(place, field, table.column(place).storage)
        else:
            table = table.set(place, field)
    return table


def _is_vector(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.FixedShapeTensorType) and len(kind.shape) == 1


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column holds texts, also as a dictionary."""
    return bool(plain_type(kind) == pa.string())


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type without what its values do not tell.

    That is whether they are a dictionary or tensors of one dimension, how long they may
    be, and what their parts are called.
    """
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if _is_vector(kind):
        return plain_type(kind.storage_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_type, kind.list_size)
    if is_list(kind):
        return pa.list_(kind.value_type)
    return kind


def with_long_indices(kind: pa.DataType) -> pa.DataType:
    """Return a type in which a dictionary may have as many values as any file's.

    pandas gives each file the shortest indices that its own values need.
    """
    if not pa.types.is_dictionary(kind):
        return kind
    return pa.dictionary(pa.int32(), kind.value_type, kind.ordered)


def is_same_type(found: pa.DataType, known: pa.DataType) -> bool:
    """Tell whether values of one type can be read as those of another.

    A column without any value may be of the type null.
    """
    return pa.types.is_null(found) or plain_type(found) == plain_type(known)


def check_columns(first: pa.Schema, other: pa.Schema, names: Iterable[str]) -> None:
    """Refuse a file that lacks columns of the first, or has them of another type.

    Raises
    ------
    ValueError
        It names the column and both types.
    """
    for name in names:
        if name not in other.names:
            raise ValueError(f"it lacks the column {name!r}, which the first file has")
        known, found = first.field(name).type, other.field(name).type
        if not is_same_type(found, known):
            raise ValueError(
                f"column {name!r} is {found}, and {known} in the first file: write all "
                "files with one schema"
            )


def completed_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the first schema; where it knows no type, that of the first that does.

    Dictionaries have indices for the values of all files.
    """
    whole = schemas[0]
    for place, field in enumerate(whole):
        kind = field.type
        if pa.types.is_null(kind):
            types = [s.field(field.name).type for s in schemas if field.name in s.names]
            kind = next((k for k in types if not pa.types.is_null(k)), kind)
        whole = whole.set(place, field.with_type(with_long_indices(kind)))
    return whole
