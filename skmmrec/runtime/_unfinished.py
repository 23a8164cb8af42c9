"""Files and folders that are still being written, told apart from abandoned ones."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex

if sys.platform != "win32":
    import fcntl

# Where a file system has no locks, what nobody has touched for a day is abandoned. Not
# tuned: no save takes that long.
ABANDONED_SECONDS = 24 * 3600.0


@contextmanager
def unfinished(make: Callable[[], Path]) -> Iterator[Path]:
    """Make a file or folder, and lock it as long as it is worked on.

    The lock goes when the process does, however that ends. So `remove_abandoned` knows
    what a killed process has left, on any machine that shares the file system.

    Parameters
    ----------
    make : callable
        Makes it, under a name of its own, and returns its path.
    """
    path, handle = _make_locked(make)
    try:
        yield path
    finally:
        if handle is not None:
            _unlock(handle)


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Lend a file beside another, whose place it takes at the end if nothing fails.

    What a killed process leaves is named ``.NAME.saving-...``; `remove_abandoned` it.

    Parameters
    ----------
    path : Path
        The file, which there may be or not, in a folder that there is.
    mode : int, default=0o666
        Who may read and write it, as far as the umask lets them.
    """
    with unfinished(partial(_make_beside, path, mode)) as fresh:
        try:
            yield fresh
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)


def sync(path: str | os.PathLike) -> None:
    """Wait until a file, or the names in a folder, would survive a loss of power."""
    # Windows syncs only what can be written; no system lets a folder be opened so.
    handle = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_names(folder: Path) -> None:
    """Do so for the names in a folder, where the system can."""
    with suppress(OSError):
        sync(folder)


def sync_folder(folder: Path) -> None:
    """Do so for the files in a folder, and for their names; not for those in others."""
    for path in folder.iterdir():
        if path.is_file():
            sync(path)
    sync_names(folder)


def _make_beside(path: Path, mode: int) -> Path:
    fresh = path.with_name(f".{path.name}.saving-{token_hex(6)}")
    fresh.touch(mode, exist_ok=False)
    return fresh


def remove_abandoned(path: Path, remove: Callable[[Path], object]) -> None:
    """Remove an unfinished file or folder, unless somebody works on it.

    Parameters
    ----------
    path : Path
        What `unfinished` made.
    remove : callable
        Removes it.
    """
    try:
        handle = _lock(path)
    except (BlockingIOError, FileNotFoundError):
        return
    except OSError:
        if _is_old(path):
            remove(path)
        return
    try:
        remove(path)
    finally:
        _unlock(handle)


def _make_locked(make: Callable[[], Path]) -> tuple[Path, int | None]:
    while True:
        path = make()
        try:
            return path, _lock(path)
        except (BlockingIOError, FileNotFoundError):
            continue  # somebody saw it before the lock, and took it for abandoned
        except OSError:
            return path, None


def _lock(path: Path) -> int:
    """Open and lock a file or folder, and return its handle.

    A BlockingIOError says that somebody else has the lock, a FileNotFoundError that the
    path is gone, another OSError that there are no locks.
    """
    if sys.platform == "win32":
        raise OSError("Windows has no locks of folders")
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(handle), os.stat(path)):
            raise FileNotFoundError(f"{path} was replaced")
    except BaseException:
        os.close(handle)
        raise
    return handle


def _unlock(handle: int) -> None:
    """Give a lock back, also for children who were forked meanwhile and have it too."""
    if sys.platform != "win32":
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_SECONDS
    except OSError:
        return False
