"""Which files of a folder are data, and whether they are still the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from skmmrec.runtime._files import digest

# The end of a parquet file: the length of its footer, and four letters.
_TAIL = 8
# Bytes of a footer that are looked at. Longer ones are those of damaged files.
_MOST_FOOTER = 2**26


def parquet_files_in(root: Path) -> list[Path]:
    """List the parquet files of a folder and its sub folders, in order of their names.

    Links are followed, and one that leads nowhere is listed: who reads it is told so,
    where rows would be lost without a word. What begins with ``_`` or ``.`` is left
    out, as all engines do: it is still being written, or is no data. A file is itself;
    what does not exist has none.
    """
    if root.is_file():
        return [root]
    found = [path.relative_to(root) for path in _walk(root, frozenset())]
    return [root / path for path in sorted(found, key=Path.as_posix)]


def parquet_identity(path: str | os.PathLike[str]) -> str:
    """Return size, time of change and a hash of the footer of a parquet file.

    The footer tells where columns lie and what their least and largest numbers are.
    What was copied or unpacked may have the time of the file in whose place it is.
    """
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        file.seek(max(status.st_size - _TAIL, 0))
        n_bytes = min(int.from_bytes(file.read(4), "little"), _MOST_FOOTER)
        file.seek(max(status.st_size - _TAIL - n_bytes, 0))
        footer = digest(file.read()).hex()[:32]
    return f"{status.st_size}-{status.st_mtime_ns}-{footer}"


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """List the files of a folder; one that it is linked to from within is no other."""
    whole = os.path.realpath(folder)
    if whole in above or not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if entry.name[0] not in "_."]
    for entry in shown:
        if entry.is_dir():
            yield from _walk(Path(entry.path), above | {whole})
        elif entry.name.lower().endswith(".parquet") and (
            entry.is_file() or entry.is_symlink()
        ):
            yield Path(entry.path)
