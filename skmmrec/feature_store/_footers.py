"""A checksum of the footer of a parquet file, which the format has for pages alone.

A bit that flips in a footer may rename a column, or end the process that reads it. The
checksum stands before the footer, where readers look at nothing that the footer does
not name. A file that something else has written anew has none, and is not checked.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

# What says that a checksum follows, and the checksum.
_SEAL = struct.Struct("<8sI")
_SIGN = b"skmmrec1"
# The end of a parquet file: the length of the footer, and four letters.
_END = struct.Struct("<I4s")


def seal_footer(path: Path) -> None:
    """Write the checksum of its footer into a file that was just written."""
    with open(path, "r+b") as file:
        _, footer = _ending(file)
        file.seek(-len(footer), os.SEEK_END)
        file.write(_SEAL.pack(_SIGN, crc32(footer)) + footer)


def check_footer(path: Path) -> None:
    """Raise a ValueError for a footer that is not what was written."""
    with open(path, "rb") as file:
        before, footer = _ending(file)
    if len(before) == _SEAL.size:
        sign, checksum = _SEAL.unpack(before)
        if sign == _SIGN and checksum != crc32(footer):
            raise ValueError("its footer is not what was written")


def _ending(file: BinaryIO) -> tuple[bytes, bytes]:
    """Read the footer and the rest of a file, and what is before it."""
    size = file.seek(0, os.SEEK_END)
    if size < _END.size:
        return b"", b""
    file.seek(-_END.size, os.SEEK_END)
    length, _ = _END.unpack(file.read())
    start = max(0, size - _END.size - length)
    before = max(0, start - _SEAL.size)
    file.seek(before)
    return file.read(start - before), file.read()
