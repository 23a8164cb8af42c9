"""Paths from the root on, whatever folder a process works in later."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def whole_path(path: str | os.PathLike[str]) -> Path:
    """Return a path from the root on, links followed.

    Raises
    ------
    FileNotFoundError
        For a relative one, where the folder that the process works in is gone.
    """
    try:
        return Path(path).resolve()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            errno.ENOENT,
            "the folder that this process works in has been deleted: change to another "
            "one, or give the path from the root on, in place of",
            os.fspath(path),
        ) from error
