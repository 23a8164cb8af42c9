"""Columns of Arrow tables, checked and brought to the types that are published."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from skmmrec.runtime import is_list, is_list_of_numbers, is_text, plain_type

from ._categories import category_text

# Tells of a row, by its number in a part, where it came from.
Where = Callable[[int], str]
IDS = {"int64": pa.int64(), "string": pa.string()}


def id_kind(kind: pa.DataType, name: str) -> str:
    """Feast's name for the type of a column of ids: "int64" or "string"."""
    if types.is_integer(plain_type(kind)):
        return "int64"
    if is_text(kind):
        return "string"
    raise TypeError(f"{name} must be whole numbers or strings, got {kind}")


def ids_of(column: pa.Array, kind: str, name: str, where: Where) -> pa.Array:
    """Read ids as int64 or string; a ValueError for one that is missing."""
    if column.null_count:
        raise ValueError(f"{name} is missing in {where(_first(column.is_null()))}")
    return _cast(column, IDS[kind], name, where)


def matrix_of(column: pa.Array, name: str, dim: int | None, where: Where) -> np.ndarray:
    """Read vectors as a float32 matrix of shape (n, dim).

    Raises TypeError when the column holds no lists of numbers; ValueError for a vector
    that is missing, of another length than `dim` (None: than the first), or not finite
    as float32.
    """
    _check_lists(column.type, name)
    if column.null_count:
        raise ValueError(f"{name} is missing in {where(_first(column.is_null()))}")
    lengths = _list_lengths(column)
    dim = int(lengths[0]) if dim is None and len(lengths) else dim
    odd = np.flatnonzero(lengths != dim)
    if len(odd):
        raise ValueError(
            f"{name} has {lengths[odd[0]]} numbers in {where(odd[0])}, others have "
            f"{dim}"
        )
    if not dim:
        raise ValueError(f"{name} has no numbers")
    numbers = column.flatten()
    if numbers.null_count:
        row = _first(numbers.is_null()) // dim
        raise ValueError(f"{name} lacks a number in {where(row)}")
    with np.errstate(over="ignore"):  # what is too large is found next
        matrix = numbers.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    matrix = matrix.reshape(-1, dim)
    odd = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(odd):
        raise ValueError(f"{name} is not finite in {where(odd[0])}")
    return matrix


def packed_vectors(matrix: np.ndarray) -> pa.Array:
    """Make a column of the vectors' bytes."""
    n, dim = matrix.shape
    kind = pa.binary(4 * dim)
    data = np.ascontiguousarray(matrix, "<f4")
    return pa.FixedSizeBinaryArray.from_buffers(kind, n, [None, pa.py_buffer(data)])


def some_vectors(
    column: pa.Array, name: str, dim: int | None, where: Where
) -> tuple[pa.Array, int | None]:
    """Make a column of the bytes of vectors that some rows have, and tell their length.

    None for the length as long as no row has one.
    """
    _check_lists(column.type, name)
    present = np.flatnonzero(column.is_valid())
    if not len(present):
        return pa.nulls(len(column), pa.binary()), dim
    given = column.take(pa.array(present))
    matrix = matrix_of(given, name, dim, lambda row: where(int(present[row])))
    rows = np.full(len(column), -1)
    rows[present] = np.arange(len(present))
    return taken(packed_vectors(matrix).cast(pa.binary()), rows), matrix.shape[1]


def taken(values: pa.Array, rows: np.ndarray) -> pa.Array:
    """Choose values by row; null for -1."""
    return values.take(pa.array(rows, pa.int64(), mask=rows < 0))


def lists_of(column: pa.Array, kind: str, name: str, where: Where) -> pa.Array:
    """Read lists of ids; a list that is missing is empty."""
    if not is_list(column.type) or id_kind(column.type.value_type, name) != kind:
        raise TypeError(
            f"{name} must be lists of item ids, which are {IDS[kind]}, got "
            f"{column.type}"
        )
    lengths = np.where(column.is_valid(), _list_lengths(column), 0)
    values, rows = column.flatten(), np.repeat(np.arange(len(column)), lengths)
    ids = ids_of(values, kind, f"an item in {name}", lambda n: where(int(rows[n])))
    ends = np.cumsum(lengths, dtype=np.int64)
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), ids)


def numbers_of(
    column: pa.Array, name: str, beside: pa.Array, other: str, where: Where
) -> pa.Array:
    """Make a column of the bytes of lists of numbers; null for an empty one.

    `column` holds lists of numbers, of any length, and `beside` lists of the same
    lengths; errors call them `name` and `other`. A TypeError says that the column holds
    no lists of numbers, a ValueError that lists have other lengths, or that numbers are
    missing, or not finite as float32.
    """
    _check_lists(column.type, name)
    lengths, wanted = _list_lengths(column), _list_lengths(beside)
    odd = np.flatnonzero(lengths != wanted)
    if len(odd):
        raise ValueError(
            f"{name} has {lengths[odd[0]]} numbers in {where(odd[0])}, where {other} "
            f"has {wanted[odd[0]]}"
        )
    with np.errstate(over="ignore"):  # what is too large is found next
        numbers = column.flatten().to_numpy(zero_copy_only=False).astype("<f4")
    odd = np.flatnonzero(~np.isfinite(numbers))
    if len(odd):
        row = int(np.repeat(np.arange(len(column)), lengths)[odd[0]])
        raise ValueError(f"{name} is not finite in {where(row)}")
    ends = np.concatenate([[0], np.cumsum(lengths)])
    pieces = (numbers[start:stop].tobytes() or None for start, stop in pairwise(ends))
    return pa.array(pieces, pa.binary())


def scalar_kind(kind: pa.DataType, name: str) -> str:
    """Tell how a feature's values are stored."""
    kind = plain_type(kind)
    if types.is_boolean(kind):
        return "bool"
    if types.is_integer(kind):
        return "int64"
    if types.is_floating(kind):
        return "float64"
    if is_text(kind):
        return "string"
    raise TypeError(f"{name} must be numbers, truth values or texts, got {kind}")


def scalars_of(column: pa.Array, kind: str, name: str, where: Where) -> pa.Array:
    """Read a feature; NaN is missing, and a ValueError tells of an infinite number."""
    target = {"bool": pa.bool_(), "float64": pa.float64(), **IDS}[kind]
    values = _cast(column, target, name, where)
    if kind == "float64":
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, target), values)
        infinite = pc.fill_null(pc.is_inf(values), False)
        if pc.any(infinite).as_py():
            raise ValueError(f"{name} is infinite in {where(_first(infinite))}")
    return values


def categories_of(column: pa.Array, name: str) -> pa.Array:
    """Read categories as texts."""
    if not types.is_null(column.type):  # else there are none
        scalar_kind(column.type, name)
    texts = [
        None if value is None or value != value else category_text(value)
        for value in column.to_pylist()
    ]
    return pa.array(texts, pa.string())


def sort_keys(ids: pa.Array) -> pa.Array:
    """Make what sorts ids as their serialized keys are sorted.

    All keys begin in the same way; then a number has its bytes, the lowest first, and a
    text the bytes of its length in the same way, and its own.
    """
    if types.is_integer(ids.type):
        numbers = ids.to_numpy().astype("<i8", copy=False)
        return pa.array(numbers.view(">u8").astype(np.uint64))
    texts = [text.encode() for text in ids.to_pylist()]
    keys = [len(text).to_bytes(4, "little") + text for text in texts]
    return pa.array(keys, pa.binary())


def _cast(column: pa.Array, kind: pa.DataType, name: str, where: Where) -> pa.Array:
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        fails = (row for row in range(len(column)) if not _fits(column[row], kind))
        row = next(fails, 0)
        raise ValueError(
            f"{name} is {column[row].as_py()!r:.100} in {where(row)}, which does not "
            f"fit into {kind}"
        ) from None


def _fits(value: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        value.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _first(mask: Any) -> int:
    return int(np.argmax(np.asarray(mask)))


def _list_lengths(column: pa.Array) -> np.ndarray:
    if types.is_fixed_size_list(column.type):
        return np.full(len(column), column.type.list_size)
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    return np.asarray(lengths).astype(np.int64)


def _check_lists(kind: pa.DataType, name: str) -> None:
    if not is_list_of_numbers(kind):
        raise TypeError(f"{name} must be lists of numbers, got {kind}")
