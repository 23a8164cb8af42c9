"""A folder of a saved model that is replaced as a whole and read as a whole.

It holds safetensors, JSON and a model card. A folder ``model`` is written as ``new`` in
a folder ``.model.saving-...`` beside it. Then an earlier one is moved there as ``old``,
and the new one takes its place. So there is a moment without ``model``. Whoever reads
then takes ``old``, and where the writer was killed at that moment, the next one brings
``old`` back.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, TypeVar

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from skmmrec import __version__
from skmmrec.interactions import warn_caller
from skmmrec.runtime import remove_abandoned, sha256_of, sync, sync_names, unfinished

# Counts up with each change after which older folders cannot be read.
FORMAT = 8
# The last one without hashes, whose records are the same otherwise.
UNHASHED = 7
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

    Parameters
    ----------
    path : Path
        The folder; an earlier model there is replaced as a whole.
    record : mapping
        In terms of JSON.
    tensors : dict of str to ndarray
        Contiguous arrays.
    card : str
        Markdown, for people to read.

    Raises
    ------
    FileExistsError
        Where something else is there.
    OSError
        Where it cannot be written; the earlier model stays.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _beside(path):
        remove_abandoned(left, partial(_settle, path))
    with unfinished(partial(_make_beside, path)) as work:
        try:
            try:
                _write_files(work / "new", record, tensors, card)
            except (OSError, SafetensorError) as error:
                raise _not_written(path, error) from error
            _replace(work, path)
        finally:
            _settle(path, work)


def read_folder(path: Path) -> tuple[dict[str, Any], Tensors]:
    """Read what `write_folder` wrote, at any moment of another write.

    Returns
    -------
    record : dict
        What was written.
    tensors : dict of str to ndarray

    Raises
    ------
    FileNotFoundError
        Where there is no model.
    ValueError
        Where a file is not as it was saved, or of another format.
    """
    return _read(path, _read_files)


def read_class(path: Path) -> Any:
    """Read the name of the class that wrote a folder, at any moment of another write.

    Nothing is checked, so that it may be anything. None: there is none that can be
    read.

    Raises
    ------
    FileNotFoundError
        Where there is no model.
    """
    return _read(path, _read_class)


def _read(path: Path, read: Callable[[Path], T]) -> T:
    """Read where the folder is, and again where it was replaced meanwhile."""
    path = path.resolve()
    for _ in range(ATTEMPTS):
        with suppress(Replaced):
            return read(_place_of(path))
    if (path / RECORD).is_file():
        raise OSError(f"{path} was replaced each of {ATTEMPTS} times that it was read")
    raise FileNotFoundError(f"no saved recommender in {path}: {RECORD} is not there")


# -- putting in place ----------------------------------------------------------------


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


def _replace(work: Path, path: Path) -> None:
    """Move a finished folder to `path`; an earlier one goes only after that."""
    _refuse_others(path)
    with suppress(FileNotFoundError):
        path.rename(work / "old")
    try:
        (work / "new").rename(path)
    except OSError:
        # Another one may have put its model there, as if it had done so after this.
        if not (path / RECORD).is_file():
            raise
    sync_names(path.parent)


def _refuse_others(path: Path) -> None:
    """Refuse to replace what is no saved model.

    Another save may move the folder between two looks at it, but hardly each time.
    """
    if all(path.exists() and not (path / RECORD).is_file() for _ in range(3)):
        raise FileExistsError(f"{path} exists and is not a saved recommender")


def _settle(path: Path, work: Path) -> None:
    """Bring back a folder that was put aside for one that never came; remove the rest.

    The new one goes first: without it, the old one is never taken for the one to read.
    """
    if _is_between(work) and not path.exists():
        try:
            (work / "old").rename(path)
        except OSError:
            if not path.exists():
                raise
    shutil.rmtree(work / "new", ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)


def _is_between(work: Path) -> bool:
    """Tell whether the old folder has left its place, and the new one is not in it."""
    return (work / "old" / RECORD).is_file() and (work / "new").exists()


def _place_of(path: Path) -> Path:
    """Where the folder is at this moment."""
    if path.exists():
        return path
    aside = [work / "old" for work in _beside(path) if _is_between(work)]
    return aside[0] if aside else path


# -- files ---------------------------------------------------------------------------


def _write_files(
    folder: Path, record: Mapping[str, Any], tensors: Tensors, card: str
) -> None:
    folder.mkdir()
    (folder / CARD).write_text(card, encoding="utf-8")
    save_file(tensors, folder / TENSORS)
    files = {TENSORS: sha256_of(folder / TENSORS)}
    (folder / RECORD).write_bytes(with_hash({**record, "files": files}))
    # safetensors lets nobody but the owner read; the umask decides, as for the other.
    shutil.copymode(folder / RECORD, folder / TENSORS)
    for name in (TENSORS, RECORD, CARD):
        sync(folder / name)
    sync_names(folder)


def _not_written(path: Path, error: Exception) -> OSError:
    """Say what could not be written, as the system does, and what is there now."""
    told = re.search(r"os error (\d+)", str(error))  # as safetensors has it
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
    if record.get("format") == UNHASHED and not record.keys() & {"hash", "files"}:
        warn_caller(
            f"{folder} was saved by an older version, without a hash: nothing tells "
            "whether its files are as they were and belong together. Save it again"
        )
        return record
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
    if record.get("files") != {TENSORS: sha256_of(path)}:
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


# -- the hash of a record ------------------------------------------------------------

_BEFORE_HASH = b'"hash": '


def with_hash(record: Mapping[str, Any]) -> bytes:
    """Write JSON whose last entry is a hash of all bytes before it."""
    text = json.dumps({**record, "hash": None}, indent=1).encode()
    body = text[: text.rindex(_BEFORE_HASH) + len(_BEFORE_HASH)]
    return body + _hash_of(body)


def has_hash(text: bytes) -> bool:
    """Tell whether a text is one that `with_hash` wrote, to the byte."""
    start = text.rfind(_BEFORE_HASH) + len(_BEFORE_HASH)
    return text[start:] == _hash_of(text[:start])


def _hash_of(body: bytes) -> bytes:
    return b'"' + hashlib.sha256(body).hexdigest().encode() + b'"\n}'
