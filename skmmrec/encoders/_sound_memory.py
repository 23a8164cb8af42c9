"""Let libsndfile read files by itself, so that its threads need no interpreter.

It asks for 8 KiB at a time. A file of Python answers by callbacks, each of which waits
for the interpreter and gives it back: some 250 times for a FLAC of 5 s. A descriptor of
a file, or of a copy of it in memory, is read without any.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from skmmrec.encoders._sound_parts import size_of

# Bytes that are copied at the most: 40 s of a FLAC of CD quality. Larger files may be
# far longer than what is read of them. Not tuned.
_MOST_COPIED = 2**22
# Bytes of a copy whose memory is kept for the next one: new memory costs four times as
# much as the copy. A FLAC of 5 s has 0.7 MB.
_MOST_KEPT = 2**20
_PIECE = 2**16  # stays in a processor's cache

_unused: list[int] = []
"""Descriptors of files in memory, as many as threads have decoded at a time."""


@contextmanager
def descriptor(file: BinaryIO, may_copy: bool) -> Iterator[int | None]:
    """Yield a descriptor of a file's content, at its start.

    The position of the file is undefined afterwards. Yields None if there is no
    descriptor, and no copy either: because of `may_copy`, the size, or a system without
    files in memory.
    """
    own = _own_descriptor(file)
    if own is not None:
        with _rewound(own):
            yield own
        return
    copy = _new_copy(file) if may_copy else None
    if copy is None:
        yield None
        return
    try:
        yield copy
    finally:
        _keep(copy)


def _own_descriptor(file: BinaryIO) -> int | None:
    """Return the descriptor of a file on a disk, where libraries share descriptors."""
    is_on_disk = isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO)
    return file.fileno() if is_on_disk and os.name == "posix" else None


@contextmanager
def _rewound(number: int) -> Iterator[None]:
    """Rewind a descriptor for a while; Python's file relies on its position."""
    position = os.lseek(number, 0, os.SEEK_CUR)
    os.lseek(number, 0, os.SEEK_SET)
    try:
        yield
    finally:
        os.lseek(number, position, os.SEEK_SET)


def _new_copy(file: BinaryIO) -> int | None:
    if not hasattr(os, "memfd_create") or size_of(file) > _MOST_COPIED:
        return None
    try:
        number = _unused.pop() if _unused else os.memfd_create("sound")
    except (IndexError, OSError):  # another thread was faster; no more descriptors
        return None
    try:
        _copy(file, number)
    except BaseException:
        _keep(number)
        raise
    return number


def _copy(file: BinaryIO, number: int) -> None:
    file.seek(0)
    piece = memoryview(bytearray(_PIECE))
    n_bytes = 0
    while n_read := file.readinto(piece):  # type: ignore[attr-defined]
        n_bytes += os.pwrite(number, piece[:n_read], n_bytes)
    os.ftruncate(number, n_bytes)
    os.lseek(number, 0, os.SEEK_SET)


def _keep(number: int) -> None:
    if os.fstat(number).st_size > _MOST_KEPT:
        os.ftruncate(number, _MOST_KEPT)
    _unused.append(number)


def _forget_copies() -> None:
    """Leave to the parent what it shares with a forked child."""
    while _unused:
        os.close(_unused.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_copies)
