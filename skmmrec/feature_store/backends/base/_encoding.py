"""Bytes that Feast stores: entity keys and packed float vectors.

Turning Python floats into protobuf is most of the time of a write, and turning them
back most of a read. A packed `Value` is a short header followed by the little-endian
float32 numbers, so both ways are a copy of bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
from feast.infra.key_encoding_utils import deserialize_entity_key
from feast.protos.feast.types.Value_pb2 import (
    FloatList,
    Int64List,
    StringList,
    Value,
)
from feast.value_type import ValueType

from ._types import Id

_FLOAT = np.dtype("<f4")
_STRING, _INT64 = ValueType.STRING.value, ValueType.INT64.value
# What the value of a key begins with: its type and, of numbers, its length.
INT64_HEAD = struct.pack("<II", _INT64, 8)
STRING_HEAD = struct.pack("<I", _STRING)
_EMPTY_LIST = len(Value(float_list_val=FloatList()).SerializeToString())


def key_prefix(join_key: str) -> bytes:
    """Return what the serialized keys of one join key begin with."""
    name = join_key.encode()
    # Version 3 begins with the number of join keys, which is one here.
    return struct.pack("<III", 1, _STRING, len(name)) + name


def entity_keys(join_key: str, ids: Iterable[Id]) -> list[bytes]:
    """Serialize ids as Feast (version 3) does for entities of one join key.

    Parameters
    ----------
    join_key : str
        Name of the join key, such as "user_id".
    ids : iterable of int or str

    Returns
    -------
    list of bytes
    """
    prefix = key_prefix(join_key)
    if isinstance(ids, np.ndarray) and ids.dtype.kind == "i":
        return _integer_keys(prefix + INT64_HEAD, ids.astype("<i8", copy=False))
    values = list(ids)
    if not all(isinstance(value, str) for value in values):
        return _integer_keys(prefix + INT64_HEAD, np.array(values, "<i8"))
    texts = [value.encode() for value in cast("list[str]", values)]
    return [prefix + struct.pack("<II", _STRING, len(t)) + t for t in texts]


def _integer_keys(prefix: bytes, values: np.ndarray) -> list[bytes]:
    return _prefixed(prefix, np.ascontiguousarray(values)[:, None])


def _prefixed(prefix: bytes, rows: np.ndarray) -> list[bytes]:
    """Put a prefix before the bytes of each row, all at once."""
    start, n = len(prefix), len(rows)
    size = start + rows.shape[1] * rows.itemsize
    whole = np.empty((n, size), np.uint8)
    whole[:, :start] = np.frombuffer(prefix, np.uint8)
    whole[:, start:] = rows.view(np.uint8)
    found: list[bytes] = whole.view(f"V{size}").ravel().tolist()
    return found


def key_ids(join_key: str, keys: Sequence[bytes]) -> np.ndarray:
    """Undo `entity_keys`: int64, or object holding str.

    Of keys that it does not make (several join keys, other types), object holding
    tuples, whose order is the one that Feast sorts entities in.
    """
    prefix = key_prefix(join_key)
    if _all_begin(keys, prefix + INT64_HEAD):
        return np.frombuffer(b"".join(key[-8:] for key in keys), dtype="<i8")
    ids: Iterable[object]
    if _all_begin(keys, prefix + STRING_HEAD):
        start = len(prefix) + 8
        ids = (key[start:].decode() for key in keys)
    else:
        ids = (_key_values(key) for key in keys)
    return np.fromiter(ids, dtype=object, count=len(keys))


def ids_of_keys(join_key: str, keys: Sequence[bytes]) -> list[Any]:
    """Return the ids of one join key, of keys that may have others beside it."""
    read = (deserialize_entity_key(key, 3) for key in keys)
    return [
        next(
            _content(value)
            for name, value in zip(key.join_keys, key.entity_values, strict=True)
            if name == join_key
        )
        for key in read
    ]


def _all_begin(keys: Sequence[bytes], start: bytes) -> bool:
    return bool(keys) and all(key.startswith(start) for key in keys)


def _key_values(key: bytes) -> tuple[Any, ...]:
    values = deserialize_entity_key(key, 3).entity_values
    return tuple(map(_content, values))


def _content(value: Value) -> Any:
    kind = value.WhichOneof("val")
    return None if kind is None else getattr(value, kind)


@lru_cache(maxsize=64)  # lengths of vectors in use at once; more only cost time
def _vector_header(dim: int) -> bytes:
    zeros = Value(float_list_val=FloatList(val=[0.0] * dim))
    return bytes(zeros.SerializeToString())[: -_FLOAT.itemsize * dim or None]


def pack_vectors(matrix: np.ndarray) -> list[bytes]:
    """Serialize each row as a Feast `Value` holding a list of floats.

    Parameters
    ----------
    matrix : ndarray of shape (n, dim)

    Returns
    -------
    list of bytes, of length n
    """
    header = _vector_header(matrix.shape[1])
    return _prefixed(header, np.ascontiguousarray(matrix, dtype=_FLOAT))


def unpack_vectors(values: Sequence[bytes]) -> np.ndarray:
    """Undo `pack_vectors`: bit for bit the same float32 numbers.

    Raises
    ------
    ValueError
        When the vectors differ in length.
    """
    if not values:
        return np.empty((0, 0), dtype=np.float32)
    dim = vector_length(values[0])
    header = _vector_header(dim)
    size = len(header) + _FLOAT.itemsize * dim
    if set(map(len, values)) == {size}:
        rows = np.frombuffer(b"".join(values), dtype=np.uint8).reshape(-1, size)
        if (rows[:, : len(header)] == np.frombuffer(header, np.uint8)).all():
            return np.ascontiguousarray(rows[:, len(header) :]).view(_FLOAT)
    odd = next(v for v in values if len(v) != size or not v.startswith(header))
    raise ValueError(
        f"the stored vectors differ in length: {dim} and {vector_length(odd)} numbers"
    )


def has_numbers(value: bytes | None) -> bool:
    """Whether a stored vector can be compared: null and empty lists cannot."""
    return value is not None and len(value) > _EMPTY_LIST


def vector_length(value: bytes) -> int:
    """How many numbers a packed vector holds."""
    return len(Value.FromString(value).float_list_val.val)


def pack_text(text: str) -> bytes:
    """Serialize a string feature."""
    return bytes(Value(string_val=text).SerializeToString())


@lru_cache(maxsize=4096)  # mostly counts, and small ones come again and again
def pack_int(number: int) -> bytes:
    """Serialize a whole number."""
    return bytes(Value(int64_val=number).SerializeToString())


def pack_float(number: float) -> bytes:
    """Serialize a float of 64 bits."""
    return bytes(Value(double_val=number).SerializeToString())


def pack_bool(truth: bool) -> bytes:
    """Serialize a truth value."""
    return bytes(Value(bool_val=truth).SerializeToString())


def pack_ids(ids: Sequence[Id], kind: str) -> bytes:
    """Serialize a list of ids; `kind` is "int64" or "string"."""
    if kind == "string":
        texts = StringList(val=cast("Sequence[str]", ids))
        return bytes(Value(string_list_val=texts).SerializeToString())
    numbers = Int64List(val=cast("Sequence[int]", ids))
    return bytes(Value(int64_list_val=numbers).SerializeToString())


def unpack(value: bytes) -> Any:
    """Python value of a serialized scalar or list feature (None when unset)."""
    proto = Value.FromString(value)
    kind = proto.WhichOneof("val")
    if kind is None:
        return None
    content = getattr(proto, kind)
    return list(content.val) if hasattr(content, "val") else content


def text_of(value: bytes) -> str | None:
    """Content of a serialized string, which Feast also stores as text."""
    content = unpack(value)
    return content if isinstance(content, str) else None
