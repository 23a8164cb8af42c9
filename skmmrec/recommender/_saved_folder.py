"""A folder of a saved model that is replaced as a whole and read as a whole.

It holds safetensors, JSON and a model card, and is put in place by `replacing_folder`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from skmmrec import __version__
from skmmrec.runtime import (
    has_hash,
    hashes_of,
    place_of,
    replacing_folder,
    sync_folder,
    whole_path,
    with_hash,
)

# Counts up with each change after which older folders cannot be read.
FORMAT = 9
TENSORS = "model.safetensors"
RECORD = "recommender.json"
# For people: loading never reads it, so that they may complete it by hand.
CARD = "card.md"
# How often a folder is read anew because it was replaced meanwhile. A save takes longer
# than the reading, so that each time is less likely than not.
ATTEMPTS = 50
ADVICE = "Take the whole folder from a copy, or fit the model again and save it"

Tensors = dict[str, NDArray]
T = TypeVar("T")


class Replaced(Exception):
    """The folder was replaced while it was read."""


def write_folder(
    path: Path, record: Mapping[str, Any], tensors: Tensors, card: str
) -> None:
    """Write a folder, and remove what killed writers of it have left.

    An earlier model there is replaced as a whole. The record is in terms of JSON,
    arrays are contiguous, and the card is Markdown, for people to read. A
    FileExistsError says that something else is there, an OSError that it cannot be
    written; then the earlier model stays.
    """
    path = whole_path(path)
    with replacing_folder(path, RECORD, "a saved recommender") as new:
        try:
            _write_files(new, record, tensors, card)
        except (OSError, SafetensorError) as error:
            raise _not_written(path, error) from error


def read_folder(path: Path) -> tuple[dict[str, Any], Tensors]:
    """Read what `write_folder` wrote, at any moment of another write.

    Returns the record and the arrays. A FileNotFoundError says that there is no model,
    a ValueError that a file is not as it was saved, or of another format.
    """
    return _read(path, _read_files)


def read_class(path: Path) -> Any:
    """Read the name of the class that wrote a folder, at any moment of another write.

    Nothing is checked, so that it may be anything. None: there is none that can be
    read.

    Raises FileNotFoundError where there is no model.
    """
    return _read(path, _read_class)


def _read(path: Path, read: Callable[[Path], T]) -> T:
    """Read where the folder is, and again where it was replaced meanwhile."""
    path = whole_path(path)
    for _ in range(ATTEMPTS):
        with suppress(Replaced):
            return read(place_of(path, RECORD))
    if (path / RECORD).is_file():
        raise OSError(f"{path} was replaced each of {ATTEMPTS} times that it was read")
    raise FileNotFoundError(f"no saved recommender in {path}: {RECORD} is not there")


# -- files ---------------------------------------------------------------------------


def _write_files(
    folder: Path, record: Mapping[str, Any], tensors: Tensors, card: str
) -> None:
    folder.mkdir()
    (folder / CARD).write_text(card, encoding="utf-8")
    save_file(tensors, folder / TENSORS)
    files = hashes_of([folder / TENSORS])
    (folder / RECORD).write_bytes(with_hash({**record, "files": files}))
    # safetensors lets nobody but the owner read; the umask decides, as for the other.
    shutil.copymode(folder / RECORD, folder / TENSORS)
    sync_folder(folder)


def _not_written(path: Path, error: Exception) -> OSError:
    """Say what could not be written, as the system does, and what is there now."""
    # As safetensors has it, and as older versions had it.
    told = re.search(r"(?:os error|Os \{ code:) (\d+)", str(error))
    number = getattr(error, "errno", None) or (int(told[1]) if told else errno.EIO)
    why = getattr(error, "strerror", None) or str(error)
    what = "the model could not be saved, and what was there before stays"
    return OSError(number, f"{what}: {why}", str(path))


def _read_files(folder: Path) -> tuple[dict[str, Any], Tensors]:
    """Read both files, unless the folder is replaced meanwhile.

    As long as one of its files is open, no other file can be taken for it.
    """
    try:
        file = (folder / RECORD).open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Replaced from error
    with file:
        try:
            return _read_record(folder, file), _read_tensors(folder / TENSORS)
        finally:
            if not _is_there(folder / RECORD, file):
                raise Replaced


def _read_class(folder: Path) -> Any:
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Replaced from error
    except (ValueError, RecursionError):
        return None
    return record.get("estimator") if isinstance(record, dict) else None


def _is_there(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _read_record(folder: Path, file: BinaryIO) -> dict[str, Any]:
    """Read the record, and check the hashes of both files."""
    text = file.read()
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder / RECORD} is damaged: {error}. {ADVICE}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{folder / RECORD} is no record of a model. {ADVICE}")
    _check_format(folder / RECORD, record)
    _check_hashes(folder, record, text)
    return {name: v for name, v in record.items() if name not in {"files", "hash"}}


def _check_format(path: Path, record: dict[str, Any]) -> None:
    if record.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not of format {FORMAT}, which skmmrec {__version__} reads, but "
            f"of {record.get('format')!r}, and was saved by {record.get('skmmrec')}: "
            "load it with that version, or fit the model again and save it"
        )


def _check_hashes(folder: Path, record: dict[str, Any], text: bytes) -> None:
    if not has_hash(text):
        raise ValueError(
            f"{folder / RECORD} is damaged or was edited: its hash is not the one that "
            f"it was saved with. {ADVICE}"
        )
    path = folder / TENSORS
    if not path.is_file():
        raise ValueError(f"{path} is not there, so the model is damaged. {ADVICE}")
    if record.get("files") != hashes_of([path]):
        raise ValueError(
            f"{path} is damaged, was edited or belongs to another model: its hash is "
            f"not the one in {RECORD}. {ADVICE}"
        )


def _read_tensors(path: Path) -> Tensors:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is not there: the model is damaged") from error
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}. {ADVICE}") from error
