"""A folder that is replaced as a whole.

A folder ``model`` is written as ``new`` in a folder ``.model.saving-...`` beside it.
Then an earlier one is moved there as ``old``, and the new one takes its place. So there
is a moment without ``model``. Whoever reads then takes ``old``, and where the writer
was killed at that moment, the next one brings ``old`` back.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex

from skmmrec.runtime._unfinished import remove_abandoned, sync_names, unfinished

# Attempts to look at a path while others may be moving it.
_LOOKS = 5


@contextmanager
def replacing_folder(path: Path, record: str, what: str) -> Iterator[Path]:
    """Lend a place for a folder, which takes that of another if nothing fails.

    What killed writers of it have left is removed before.

    Parameters
    ----------
    path : Path
        The folder, resolved; there may be one or not.
    record : str
        Name of a file in it by which it is known.
    what : str
        What errors call such a folder.

    Yields
    ------
    Path
        Where to make the folder.

    Raises
    ------
    FileExistsError
        Where something else is at `path`.
    OSError
        Where it cannot be put in place; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _beside(path):
        remove_abandoned(left, partial(_settle, path, record))
    with unfinished(partial(_make_beside, path)) as work:
        try:
            yield work / "new"
            _replace(work, path, record, what)
        finally:
            _settle(path, record, work)


def place_of(path: Path, record: str) -> Path:
    """Where a folder of `replacing_folder` is at this moment."""
    if path.exists():
        return path
    aside = [work / "old" for work in _beside(path) if _is_between(work, record)]
    return aside[0] if aside else path


def _beside(path: Path) -> list[Path]:
    """Folders in which `path` is or was being written."""
    name = re.compile(re.escape(_prefix(path)) + "[0-9a-f]{12}")
    try:
        return [path.parent / n for n in os.listdir(path.parent) if name.fullmatch(n)]
    except OSError:
        return []


def _make_beside(path: Path) -> Path:
    work = path.with_name(_prefix(path) + token_hex(6))
    work.mkdir()
    return work


def _prefix(path: Path) -> str:
    return f".{path.name}.saving-"


def _replace(work: Path, path: Path, record: str, what: str) -> None:
    """Move a finished folder to `path`; an earlier one goes only after that."""
    _refuse_others(path, record, what)
    with suppress(FileNotFoundError):
        path.rename(work / "old")
    # If another process has put its folder there meanwhile, that one stays, as if it
    # had been saved after this one.
    _move(work / "new", path, lambda: (path / record).is_file())
    sync_names(path.parent)


def _move(folder: Path, path: Path, is_done: Callable[[], bool]) -> None:
    """Move a folder to its place, unless it is done when that fails.

    Of two others, one may have held the place then and the other one have moved it
    away before the look, but hardly each time.
    """
    for left in reversed(range(_LOOKS)):
        try:
            folder.rename(path)
            return
        except OSError:
            if is_done():
                return
            if not left:
                raise


def _refuse_others(path: Path, record: str, what: str) -> None:
    """Refuse to replace what is no such folder.

    Another save may move the folder between two looks at it, but hardly each time.
    """
    looks = range(_LOOKS)
    if all(path.exists() and not (path / record).is_file() for _ in looks):
        raise FileExistsError(f"{path} exists and is not {what}")


def _settle(path: Path, record: str, work: Path) -> None:
    """Bring back a folder that was put aside for one that never came; remove the rest.

    The new one goes first: without it, the old one is never taken for the one to read.
    """
    old = work / "old"
    if _is_between(work, record) and not path.exists():
        _move(old, path, lambda: path.exists() or not old.exists())
    shutil.rmtree(work / "new", ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)


def _is_between(work: Path, record: str) -> bool:
    """Tell whether the old folder has left its place, and the new one is not in it."""
    return (work / "old" / record).is_file() and (work / "new").exists()


def saved_at(folder: Path) -> tuple[int, int] | None:
    """Tell what was saved to a folder from what is saved there later.

    None if nothing is there.
    """
    if not folder.is_dir():
        return None
    files = [file.stat() for file in folder.iterdir()]
    return max((f.st_mtime_ns for f in files), default=0), sum(f.st_size for f in files)
