"""Paths from the root on, whatever folder a process works in later."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

# A letter alone is a drive of Windows; a Path has one of the two slashes of a URL.
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:(?=/)")


def refuse_url(path: str | os.PathLike[str]) -> None:
    """Refuse a URL, which as a path is one of a folder that is called like its scheme.

    Raises
    ------
    ValueError
        Where there is no such folder.
    """
    scheme = _SCHEME.match(Path(path).as_posix())
    if scheme and not os.path.isdir(scheme[0]):
        raise ValueError(
            f"{os.fspath(path)!r} is a URL, and what is saved is read and written on "
            "this machine alone: give the path of a folder, such as that of a bucket "
            "that is mounted"
        )


def whole_path(path: str | os.PathLike[str]) -> Path:
    """Return a path from the root on, links followed.

    Raises
    ------
    ValueError
        For a URL.
    FileNotFoundError
        For a relative one, where the folder that the process works in is gone.
    """
    refuse_url(path)
    try:
        return Path(path).resolve()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            errno.ENOENT,
            "the folder that this process works in has been deleted: change to another "
            "one, or give the path from the root on, in place of",
            os.fspath(path),
        ) from error
