"""Row groups of parquet files, copied as the bytes that they are.

Who adds rows to a file, or leaves out some, has most of its rows as they were. Reading
and writing them anew takes twenty times longer than copying their bytes, and checking
these against the checksums of their pages. What a file has of them beside its rows is
in its footer: see https://parquet.apache.org/docs/file-format/metadata/.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

from ._thrift import Struct, read_struct, write_struct

_MAGIC = b"PAR1"
_TAIL = struct.Struct("<I4s")  # length of the footer, and how a file ends

# Fields, as https://github.com/apache/parquet-format (parquet.thrift) numbers them.
_FILE_SCHEMA, _FILE_ROWS, _FILE_GROUPS, _FILE_ORDERS = 2, 3, 4, 7
_GROUP_CHUNKS, _GROUP_ROWS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 3, 5, 7
_CHUNK_PATH, _CHUNK_OFFSET, _CHUNK_COLUMN = 1, 2, 3
_CHUNK_INDEXES = (4, 5, 6, 7)  # indexes of pages, which are elsewhere and may be absent
_ENCODINGS, _VALUES, _UNPACKED, _PACKED = 2, 5, 6, 7
_DATA_OFFSET, _INDEX_OFFSET, _DICTIONARY_OFFSET = 9, 10, 11
_BLOOM_FILTERS = (14, 15)
_PAGE_KIND, _PAGE_UNPACKED, _PAGE_SIZE, _PAGE_SUM = 1, 2, 3, 4


class _Page(NamedTuple):
    """Fields of a kind of pages: its header, and how that says they are written."""

    field: int
    encoding: int = 0
    has_values: bool = False


# Data, an index, a dictionary, and the second kind of data.
_PAGES = {0: _Page(5, 2, True), 1: _Page(6), 2: _Page(7, 2), 3: _Page(8, 4, True)}


@dataclass
class Footer:
    """What a parquet file says of itself."""

    content: Struct

    @classmethod
    def of(cls, path: Path) -> Footer:
        """Read that of a file; a ValueError: there is none."""
        with open(path, "rb") as file:
            return cls.read(file)

    @classmethod
    def read(cls, file: BinaryIO) -> Footer:
        """Read that of an open file; a ValueError: there is none."""
        end = file.seek(0, os.SEEK_END) - _TAIL.size
        file.seek(max(end, 0))
        size, magic = _TAIL.unpack(_exactly(file, _TAIL.size))
        if magic != _MAGIC or size > end:
            raise ValueError("it does not end as a parquet file does")
        file.seek(end - size)
        return cls(read_struct(_exactly(file, size), closed=_FILE_GROUPS)[0])

    @property
    def groups(self) -> list[bytes]:
        """Descriptions of the row groups."""
        return self.content.items(_FILE_GROUPS)

    def is_like(self, other: Footer) -> bool:
        """Tell whether the columns are the same, and ordered by the same rules."""
        return all(
            self.content.get(number) == other.content.get(number)
            for number in (_FILE_SCHEMA, _FILE_ORDERS)
        )

    def with_groups(self, groups: list[bytes], n_rows: int) -> bytes:
        """Describe a file with these row groups instead."""
        self.content.set(_FILE_ROWS, n_rows)
        self.groups[:] = groups
        written = write_struct(self.content)
        return written + _TAIL.pack(len(written), _MAGIC)


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise ValueError("it ends before its end")
    return content


class Copy:
    """A file of row groups that are copied from others.

    Parameters
    ----------
    target : file
        Empty, and open for writing.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._groups: list[bytes] = []
        self._n_rows = 0
        target.write(_MAGIC)

    def add(self, source: Path, groups: Iterable[bytes]) -> None:
        """Copy row groups.

        Parameters
        ----------
        source : Path
        groups : iterable of bytes
            Those of the footer of `source` that are to be copied.

        Raises
        ------
        ValueError
            When a page is not what was written.
        """
        with open(source, "rb") as file:
            for content in groups:
                group, _ = read_struct(content)
                for chunk in group.items(_GROUP_CHUNKS):
                    self._add_column(file, chunk)
                columns = [c.get(_CHUNK_COLUMN) for c in group.items(_GROUP_CHUNKS)]
                group.set(_GROUP_OFFSET, min(map(_start, columns)))
                group.set(_GROUP_ORDINAL, len(self._groups))
                self._groups.append(write_struct(group))
                self._n_rows += group.whole(_GROUP_ROWS)

    def _add_column(self, file: BinaryIO, chunk: Struct) -> None:
        column = chunk.get(_CHUNK_COLUMN)
        if not isinstance(column, Struct) or chunk.get(_CHUNK_PATH) is not None:
            raise ValueError("a column is encrypted, or in another file")
        start, size = _start(column), column.whole(_PACKED)
        if size < 0 or start < 0:
            raise ValueError("a column is nowhere")
        file.seek(start)
        content = _exactly(file, size)
        _check_pages(content, column)
        _move(chunk, self._target.tell() - start)
        self._target.write(content)

    def finish(self, footer: Footer) -> None:
        """Write what the file says of itself, of the same columns as `footer`."""
        self._target.write(footer.with_groups(self._groups, self._n_rows))


def _start(column: Struct) -> int:
    """Return where the first page of a column is."""
    first, dictionary = column.whole(_DATA_OFFSET), column.whole(_DICTIONARY_OFFSET)
    return min(first, dictionary) if dictionary else first


def _check_pages(content: bytes, column: Struct) -> None:
    """Go through the pages of a column; a ValueError says that one is damaged."""
    at = n_values = n_bytes = 0
    encodings = column.items(_ENCODINGS)
    while at < len(content):
        header, start = read_struct(content, at)
        end = start + header.whole(_PAGE_SIZE)
        if not start <= end <= len(content):
            raise ValueError("a page ends outside of its column")
        # The sum has a sign. Files of other writers may have none.
        known = header.get(_PAGE_SUM) is not None
        if known and crc32(content[start:end]) != header.whole(_PAGE_SUM) % 2**32:
            raise ValueError("a page is not what was written")
        n_values += _values_of(header, encodings)
        n_bytes += start - at + header.whole(_PAGE_UNPACKED)
        at = end
    if (n_values, n_bytes) != (column.whole(_VALUES), column.whole(_UNPACKED)):
        raise ValueError("pages of a column are not those that were written")


def _values_of(header: Struct, encodings: list[int]) -> int:
    """Count the values of a page, by its header, which has no checksum."""
    kind = _PAGES.get(header.whole(_PAGE_KIND), _Page(0))
    page = header.get(kind.field)
    if not isinstance(page, Struct):
        raise ValueError("a page is of no kind that there is")
    if kind.encoding and page.whole(kind.encoding) not in encodings:
        raise ValueError("a page is written otherwise than its column")
    return page.whole(1) if kind.has_values else 0


def _move(chunk: Struct, by: int) -> None:
    """Describe a column that is so many bytes further on."""
    column = chunk.get(_CHUNK_COLUMN)
    for number in (_DATA_OFFSET, _INDEX_OFFSET, _DICTIONARY_OFFSET):
        if column.get(number):  # some writers have 0 for one that there is not
            column.set(number, column.get(number) + by)
    chunk.set(_CHUNK_OFFSET, 0)  # of a second description, which there is not
    chunk.set(_CHUNK_COLUMN, column.without(*_BLOOM_FILTERS))
    chunk[:] = chunk.without(*_CHUNK_INDEXES)
