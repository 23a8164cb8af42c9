"""Views of files: a new header before a stretch of the bytes that are there."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, TypeVar

from skmmrec.runtime import ContentError

# Recordings that are found in one file: each takes memory and time, of which a file of
# nothing but headers would ask for any amount.
_MOST_RECORDINGS = 1000
T = TypeVar("T")


class Part(NamedTuple):
    """A stretch of a file that a decoder reads as if it were a whole file."""

    file: BinaryIO
    n_declared: int = 0
    """The samples per channel that it declares; 0 for none."""
    n_most: int = 2**62
    """The samples per channel that are taken from it."""
    seconds: float = math.inf
    """Its length, as far as it is known before it is decoded."""


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
            n_next = self._read_next(view[n_filled : n_filled + self._n_left()])
            if not n_next:
                break
            n_filled += n_next
            self._position += n_next
        return n_filled

    def _n_left(self) -> int:
        return max(self._length - self._position, 0)

    def _read_next(self, view: memoryview) -> int:
        """Fill a buffer from the header, or else from the file."""
        behind = self._position - len(self._header)
        if behind < 0:
            data = self._header[self._position : self._position + len(view)]
            view[: len(data)] = data
            return len(data)
        self._file.seek(self._start + behind)
        return self._file.readinto(view)  # type: ignore[attr-defined]


def spliced(header: bytes, file: BinaryIO, start: int, end: int) -> BinaryIO:
    """Return a header before a stretch of a file: the file itself, if it is that."""
    is_whole = start == len(header) and end == size_of(file)
    if is_whole and bytes_at(file, 0, start) == header:
        return file
    return buffered(Spliced(header, file, start, end))


def few_recordings(found: Iterable[T]) -> list[T]:
    """Return what was found of each recording of a file, unless there are too many.

    Raises
    ------
    ContentError
    """
    few = list(islice(found, _MOST_RECORDINGS + 1))
    if len(few) > _MOST_RECORDINGS:
        raise ContentError(
            f"joins more recordings than the {_MOST_RECORDINGS} that are read"
        )
    return few


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
