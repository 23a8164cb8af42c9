"""Which files of a folder are data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


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
        elif entry.name.endswith(".parquet") and (
            entry.is_file() or entry.is_symlink()
        ):
            yield Path(entry.path)
