"""Which files of a folder are data."""

from __future__ import annotations

from pathlib import Path


def parquet_files_in(root: Path) -> list[Path]:
    """List the parquet files of a folder and its sub folders, in order of their names.

    What begins with ``_`` or ``.`` is left out, as all engines do: it is still being
    written, or is no data. A file is itself; what does not exist has none.
    """
    if root.is_file():
        return [root]
    found = [p.relative_to(root) for p in root.rglob("*.parquet") if p.is_file()]
    shown = [p for p in found if not any(part[0] in "_." for part in p.parts)]
    return [root / p for p in sorted(shown, key=Path.as_posix)]
