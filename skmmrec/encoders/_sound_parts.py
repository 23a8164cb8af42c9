"""Views of files: a new header before a stretch of the bytes that are there."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, NamedTuple


class Part(NamedTuple):
    """A stretch of a file that a decoder reads as if it were a whole file."""

    file: BinaryIO
    n_declared: int = 0
    """The samples per channel that it declares; 0 for none."""
    n_most: int = 2**62
    """The samples per channel that are taken from it."""


class Spliced(io.RawIOBase):
    """A header, followed by the bytes of a file from `start` to `end`."""

    def __init__(self, header: bytes, file: BinaryIO, start: int, end: int) -> None:
        self._header = header
        self._file = file
        self._start = start
        self._length = len(header) + max(end - start, 0)
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position that is not before the start, and return it."""
        origins = {os.SEEK_CUR: self._position, os.SEEK_END: self._length}
        self._position = max(origins.get(whence, 0) + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the bytes reach; return how many there were."""
        view = memoryview(buffer).cast("B")
        n_filled = 0
        while n_filled < len(view):
            data = self._next_bytes(len(view) - n_filled)
            if not data:
                break
            view[n_filled : n_filled + len(data)] = data
            n_filled += len(data)
            self._position += len(data)
        return n_filled

    def _next_bytes(self, n_bytes: int) -> bytes:
        behind = self._position - len(self._header)
        if behind < 0:
            return self._header[self._position : self._position + n_bytes]
        self._file.seek(self._start + behind)
        return self._file.read(max(min(n_bytes, self._length - self._position), 0))


def size_of(file: BinaryIO) -> int:
    """Return the bytes of a file."""
    return file.seek(0, os.SEEK_END)


def bytes_at(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    """Return the bytes from a position on, as far as they are there."""
    file.seek(start)
    return file.read(n_bytes)


def buffered(raw: io.RawIOBase) -> BinaryIO:
    """Return a file that asks for large pieces: decoders ask for small ones."""
    return io.BufferedReader(raw, 2**16)
