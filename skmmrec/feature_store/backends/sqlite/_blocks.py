"""Vectors of a publication by thousands, for who reads whole columns of them."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from skmmrec.feature_store.backends.base import give_way

# Checksums of a block: of its keys and their lengths, and of its vectors. A CRC takes
# 6 ms for 100,000 vectors of 64 numbers, BLAKE2 27 ms, reading them 50 ms.
_SUMS = struct.Struct("<II")


class Keys(NamedTuple):
    """Serialized keys, joined.

    Attributes
    ----------
    joined : bytes
    lengths : uint32 ndarray of shape (n,)
    """

    joined: bytes
    lengths: np.ndarray

    def split(self) -> list[bytes]:
        """Return them one by one."""
        ends = np.cumsum(self.lengths).tolist()
        return [self.joined[i:j] for i, j in zip([0, *ends], ends, strict=False)]


def sums_of(keys: bytes, matrix: bytes | memoryview) -> bytes:
    """Make the checksums of a block."""
    return _SUMS.pack(crc32(keys), crc32(matrix))


def read_blocks(
    conn: sqlite3.Connection, view: str, feature: str
) -> tuple[Keys, Iterator[np.ndarray]]:
    """Return the vectors of a feature, and the keys of those that have one, in order.

    The vectors come in parts.

    Raises ValueError when a block is not what was written, now or when its vectors are
    read.
    """
    where = "FROM blocks WHERE view = ? AND feature = ? ORDER BY part"
    joined, lengths, counts = bytearray(), list[np.ndarray](), list[int]()
    rows = conn.execute(f"SELECT sums, lengths, keys {where}", (view, feature))
    for part, (known, sizes, keys) in enumerate(rows):
        _check(known, 0, sizes + keys, f"keys {part} of {feature} of {view}")
        joined += keys
        lengths.append(np.frombuffer(sizes, "<u4"))
        counts.append(len(lengths[-1]))
        give_way()
    parts = conn.execute(f"SELECT sums, matrix {where}", (view, feature))
    what = f"of {feature} of {view}"
    total = np.concatenate([np.empty(0, "<u4"), *lengths])
    return Keys(bytes(joined), total), _vectors(parts, counts, what)


def _vectors(
    parts: sqlite3.Cursor, counts: list[int], what: str
) -> Iterator[np.ndarray]:
    for part, (n, (known, matrix)) in enumerate(zip(counts, parts, strict=True)):
        _check(known, 1, matrix, f"vectors {part} {what}")
        yield np.frombuffer(matrix, "<f4").reshape(n, -1)
        give_way()


def _check(known: Any, place: int, content: bytes, what: str) -> None:
    is_sum = isinstance(known, bytes) and len(known) == _SUMS.size
    if not is_sum or _SUMS.unpack(known)[place] != crc32(content):
        raise ValueError(f"{what} are not those that were written")
