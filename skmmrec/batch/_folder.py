"""The folder of the partitions: hidden until it is whole, and told from others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from skmmrec.runtime import refuse_url, remove_abandoned, replacing

MANIFEST = "_manifest.json"
# What `replacing` calls a file until it is whole.
_HALF_WRITTEN = ".*.saving-*"
# Of the differences that an error names.
_FEW = 3
# Characters of a hash, and of what it was made of, that an error shows.
_SHOWN = 60


def place_for(out: str | os.PathLike) -> Path:
    """Return where a folder is to be made: where it leads to, if it is a link.

    Raises ValueError for a URL, and for one that cannot be replaced, as a disk is
    mounted there.
    """
    refuse_url(out)
    place = Path(out).expanduser().absolute()
    place = place.resolve() if place.is_symlink() else place
    if os.path.ismount(place):
        raise ValueError(
            f"out: a disk is mounted at {place}, which therefore cannot be put in its "
            "place when all is there: give a folder in it"
        )
    return place


def unfinished_folder(out: Path) -> Path:
    """Return where partitions are, beside `out`, until all are there."""
    return out.with_name(f".{out.name}.unfinished")


def is_whole(out: Path, manifest: dict[str, Any]) -> bool:
    """Tell whether an earlier run has finished the same work.

    Raises ValueError if there is something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / MANIFEST).is_file():
        raise ValueError(
            f"out: {out} has files that encode did not write; give another folder"
        )
    _check_same(out, manifest)
    return True


def begin(folder: Path, manifest: dict[str, Any]) -> None:
    """Make the folder to write to, which may have partitions of an earlier run.

    Raises ValueError if these are of other items or another encoder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear(folder)
    if (folder / MANIFEST).exists():
        _check_same(folder, manifest)
    else:
        with replacing(folder / MANIFEST) as fresh:
            fresh.write_text(json.dumps(manifest, indent=1), "utf-8")


def clear(folder: Path) -> None:
    """Remove files that a run left half written, but those of runs that go on."""
    for path in folder.glob(_HALF_WRITTEN):
        remove_abandoned(path, Path.unlink)


def _check_same(folder: Path, manifest: dict[str, Any]) -> None:
    try:
        found = json.loads((folder / MANIFEST).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"out: {folder / MANIFEST} cannot be read ({error}): delete the folder"
        ) from error
    differences = list(_differences(found, json.loads(json.dumps(manifest))))
    if differences:
        raise ValueError(
            f"out: {folder} holds what was made of other items or by another encoder: "
            f"{'; '.join(differences[:_FEW])}. Delete it, or give another folder"
        )


def _differences(found: Any, wanted: Any, name: str = "") -> Iterable[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in {**found, **wanted}:
            inner = f"{name}[{key!r}]" if name else key
            yield from _differences(found.get(key), wanted.get(key), inner)
    elif found != wanted:
        yield f"{name} was {_short(found)}, now {_short(wanted)}"


def _short(value: Any) -> str:
    return repr(value)[:_SHOWN]


def keep_only(folder: Path, wanted: Iterable[str]) -> None:
    """Remove partitions of runs that were cut in another way."""
    clear(folder)
    kept = {MANIFEST, *wanted}
    for path in folder.iterdir():
        if path.name not in kept and not path.match(_HALF_WRITTEN):
            path.unlink(missing_ok=True)


def show(folder: Path, out: Path) -> None:
    """Give the folder its name, now that it is whole."""
    if out.exists():
        out.rmdir()  # it is empty
    os.replace(folder, out)
