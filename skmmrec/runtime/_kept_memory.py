"""Memory of large arrays, kept by the process from one use to the next."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from skmmrec.runtime._locks import ForkSafeLock, cached_property

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
# What mallopt(3) calls "disable": no block is mapped, and nothing is given back.
_NO_MAPS, _NEVER = 0, -1
# The values that glibc itself ends up with once a large block was freed: blocks from
# 32 MiB on are mapped, 65,536 at most; free memory above 64 MiB is given back.
_MAPPED, _KEPT, _MAPS = 2**25, 2**26, 2**16
# Free memory from which on it is given back at the end. With less, small fits would
# take a twentieth longer, as the next fit would have to clear new pages.
_MUCH = 2**29


class _Counts(ctypes.Structure):
    """What mallinfo2(3) returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


class _Heap:
    """The heap of a process, as far as its C library lets one say how it works."""

    def __init__(self) -> None:
        self.n_users = 0
        self.lock = ForkSafeLock()

    @cached_property
    def library(self) -> ctypes.CDLL | None:
        """Glibc from 2.33 on, of 2021; None: there is another one."""
        if not sys.platform.startswith("linux"):
            return None
        library = ctypes.CDLL(None)
        if not hasattr(library, "mallinfo2"):
            return None
        library.mallinfo2.restype = _Counts
        return library

    def keep(self) -> None:
        """Keep what is freed, until all who asked for it have released it."""
        with self.lock:
            self.n_users += 1
            if self.n_users == 1 and self.library is not None:
                self.library.mallopt(_MMAP_MAX, _NO_MAPS)
                self.library.mallopt(_TRIM_THRESHOLD, _NEVER)

    def release(self) -> None:
        """Let glibc decide again, and give back what is free, if that is much."""
        with self.lock:
            self.n_users -= 1
            if self.n_users or self.library is None:
                return
            self.library.mallopt(_MMAP_MAX, _MAPS)
            self.library.mallopt(_MMAP_THRESHOLD, _MAPPED)
            self.library.mallopt(_TRIM_THRESHOLD, _KEPT)
            if self.library.mallinfo2().fordblks > _MUCH:
                self.library.malloc_trim(0)


_heap = _Heap()


@contextmanager
def keeping_memory() -> Iterator[None]:
    """Keep the memory of large arrays that are freed, for the next ones.

    Glibc maps each block above 32 MiB anew and returns it when it is freed, so that the
    system clears each of its pages again: a step of training that makes ten tensors of
    40 MB then waits for 100,000 pages, which takes as long as its arithmetic. Here they
    stay with the process until the end, when half a gigabyte or more is given back. It
    holds for the whole process, and does nothing where the C library is another one.
    """
    _heap.keep()
    try:
        yield
    finally:
        _heap.release()
