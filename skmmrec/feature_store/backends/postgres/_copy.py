"""Rows in the binary form that PostgreSQL's COPY reads."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_SIGNATURE, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_NULL = struct.pack("!i", -1)
_LENGTH = struct.Struct("!i")


def binary_rows(keys: Sequence[bytes], columns: Sequence[Sequence[bytes]]) -> bytes:
    """Encode entities, one row each: the key, and a value of each column.

    A value that is empty is NULL.
    """
    head = struct.pack("!h", 1 + len(columns))
    fields = [[head] * len(keys), _fields(keys), *map(_fields, columns)]
    return _SIGNATURE + b"".join(map(b"".join, zip(*fields, strict=True))) + _END


def _fields(values: Sequence[bytes]) -> list[bytes]:
    pack = _LENGTH.pack
    return [pack(len(value)) + value if value else _NULL for value in values]
