"""Paths to media files, checked before a decoder sees them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from skmmrec.encoders._errors import ContentError


def readable_file(item: str | os.PathLike) -> Path:
    """Return an item as the path of a file with content.

    Raises
    ------
    ContentError
        If it is a URL, a folder, empty, or not there.
    """
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", os.fspath(item)):
        raise ContentError("is a URL; nothing is read from the network: download it")
    path = Path(item).expanduser()
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise ContentError(f"no such file: {error}") from error
    if not path.is_file():
        raise ContentError("is not a file")
    if size == 0:
        raise ContentError("is an empty file")
    return path
