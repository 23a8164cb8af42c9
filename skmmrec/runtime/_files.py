"""Paths to media files, checked before a decoder sees them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Hashable, Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any

from skmmrec.runtime._errors import ContentError

RawBytes = bytes | bytearray | memoryview
"""The content of a file, as somebody has read it."""

# Of Linux and macOS; longer ones are no paths, but content.
_LONGEST_PATH = 4096


def readable_file(item: str | os.PathLike) -> Path:
    """Return an item as the path of a file that is not empty.

    Raises ContentError if it is a URL, a folder or an empty file, or does not exist.
    """
    if re.match(r"file:/", os.fspath(item), re.IGNORECASE):
        raise ContentError(
            "is a URL of a file: give its path, by "
            "urllib.request.url2pathname(urllib.parse.urlsplit(url).path)"
        )
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", os.fspath(item)):
        raise ContentError("is a URL; nothing is read from the network: download it")
    if len(os.fspath(item)) > _LONGEST_PATH or re.match(r"data:", os.fspath(item)):
        raise ContentError(
            "is a text that is too long for a path, or a data URL: if it is base64, "
            "give its bytes, by base64.b64decode"
        )
    path = Path(item).expanduser()
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise ContentError(f"no such file: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ContentError("is not a file")
    if status.st_size == 0:
        raise ContentError("is an empty file")
    return path


def open_file(item: str | os.PathLike) -> BufferedReader:
    """Open a file that is not empty.

    Raises
    ------
    ContentError
        If it cannot be opened.
    """
    path = readable_file(item)
    try:
        return path.open("rb")
    except OSError as error:
        raise ContentError(f"cannot be opened: {error}") from error


def digest(data: Any) -> bytes:
    """Return a hash of bytes, or of any object with the buffer protocol."""
    return hashlib.blake2b(data, digest_size=32).digest()


def file_digest(item: str | os.PathLike) -> bytes:
    """Return the hash of a file's bytes.

    Raises
    ------
    ContentError
        If the file cannot be read.
    """
    with open_file(item) as file:
        return hashlib.file_digest(file, _new_hash).digest()


def hash_of_content(
    item: Any, key_of: Callable[[Any], Hashable], may_be_path: bool = True
) -> bytes:
    """Return a hash of the content itself: of a file's bytes, not its name.

    `key_of` gives a key that is equal for equal contents; one of bytes is a hash.
    """
    if may_be_path and isinstance(item, str | os.PathLike):
        return file_digest(item)
    key = key_of(item)
    return key if isinstance(key, bytes) else digest(repr(key).encode())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes_of(paths: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of files by their names, in the order of these."""
    return {path.name: sha256_of(path) for path in sorted(paths)}


def _new_hash() -> Any:
    return hashlib.blake2b(digest_size=32)
