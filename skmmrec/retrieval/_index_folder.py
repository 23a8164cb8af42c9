"""The folder of an approximate index: replaced at once, and read while it is.

All files of a state are in a folder ``files-...`` of their own, which ``index.json``
names. So one rename puts another state in place; who reads the one before still has
its files open.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import feather

from skmmrec.retrieval._index_contents import Contents
from skmmrec.retrieval._inverted_lists import Centres, Shard
from skmmrec.retrieval._vector_rows import Rows, slices
from skmmrec.runtime import (
    has_hash,
    hashes_of,
    refuse_url,
    remove_abandoned,
    replacing,
    sha256_of,
    sync,
    sync_folder,
    unfinished,
    with_hash,
)

# Counts up with each change after which older folders cannot be read.
FORMAT = 2
RECORD = "index.json"
# How often a folder is read anew that was replaced meanwhile.
ATTEMPTS = 5


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Lend a folder for the files of a state; without `finish` they are removed.

    Raises FileExistsError where something other than an index is in the way, and
    ValueError for a URL.
    """
    refuse_url(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [path.name for path in folder.iterdir()]
    if not all(name == RECORD or name.startswith((".", "files-")) for name in names):
        raise FileExistsError(f"{folder} exists and is not the folder of an index")
    with unfinished(lambda: _make(folder)) as files:
        try:
            yield files
        finally:
            _remove_others(folder, files)


def _make(folder: Path) -> Path:
    files = folder / f"files-{token_hex(6)}"
    files.mkdir()
    return files


def _remove_others(folder: Path, own: Path) -> None:
    """Remove all that is neither in use nor being written by somebody else."""
    try:
        current = _record_of(folder)["files_in"]
    except FileNotFoundError:
        current = None
    except (OSError, ValueError):  # whose files are in use, another version may know
        shutil.rmtree(own, ignore_errors=True)
        return
    for files in folder.glob("files-*"):
        if files.name == current:
            continue
        if files == own:
            shutil.rmtree(files, ignore_errors=True)
        else:
            remove_abandoned(files, lambda p: shutil.rmtree(p, ignore_errors=True))


def write_shard(files: Path, number: int, shard: Shard) -> Shard:
    """Write the lists of a shard, and return them memory-mapped."""
    path = files / f"lists-{number:05d}.faiss"
    shard.write(path)
    return Shard.map(path)


def write_rows(files: Path, rows: Rows) -> Rows:
    """Write vectors, part by part, and return them memory-mapped."""
    return Rows(
        tuple(
            _write_part(files / f"vectors-{number:05d}.npy", part)
            for number, part in enumerate(rows.parts)
        )
    )


def _write_part(path: Path, part: NDArray) -> NDArray:
    # Not into a mapped file: where the disk is full, that ends the process by SIGBUS.
    descr = np.lib.format.dtype_to_descr(np.dtype(np.float32))
    header = {"descr": descr, "fortran_order": False, "shape": part.shape}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for rows in slices(len(part)):
            file.write(np.ascontiguousarray(part[rows], np.float32).data)
    mapped: NDArray = np.load(path, mmap_mode="r")
    return mapped


def finish(
    files: Path,
    contents: Contents,
    ids: pd.Index,
    queries: NDArray[np.float32],
    record: Mapping[str, Any],
) -> None:
    """Write what is left of a state, whose shards and rows are there, and swap it in.

    Raises ValueError for ids that Arrow cannot write.
    """
    arrays: dict[str, NDArray] = {
        "centres": contents.centres.vectors,
        "hashes": contents.hashes,
        "queries": queries,
    }
    if contents.places is not None:
        arrays["places"] = contents.places
    for name, array in arrays.items():
        np.save(files / f"{name}.npy", array)
    _write_ids(files / "ids.arrow", ids)
    sync_folder(files)
    whole = {
        "format": FORMAT,
        "files_in": files.name,
        "files": hashes_of(files.iterdir()),
        "square": contents.centres.square,
        **record,
    }
    with replacing(files.parent / RECORD) as fresh:
        fresh.write_bytes(with_hash(whole))
        sync(fresh)


def _write_ids(path: Path, ids: pd.Index) -> None:
    try:
        table = pa.Table.from_pandas(pd.DataFrame({"id": ids.to_numpy()}))
    except pa.ArrowException as error:
        raise ValueError(f"the ids of the items cannot be written: {error}") from error
    feather.write_feather(table, os.fspath(path), compression="uncompressed")


def read(
    folder: Path, check: bool
) -> tuple[Contents, pd.Index, NDArray[np.float32], dict[str, Any]]:
    """Read what `finish` has put in place, with lists and vectors memory-mapped.

    Returns contents, ids, queries and record. A FileNotFoundError says that there is no
    index, a ValueError that a file is not as it was written.
    """
    for _ in range(ATTEMPTS):
        record = _record_of(folder)
        try:
            return _read_files(folder / record["files_in"], record, check)
        except (FileNotFoundError, ValueError):
            with suppress(OSError, ValueError):
                if _record_of(folder)["files_in"] != record["files_in"]:
                    continue
            raise
    raise OSError(f"{folder} was replaced each of {ATTEMPTS} times that it was read")


def _read_files(
    files: Path, record: dict[str, Any], check: bool
) -> tuple[Contents, pd.Index, NDArray[np.float32], dict[str, Any]]:
    for name, wanted in record["files"].items():
        path = files / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: build the index again")
        if check and sha256_of(path) != wanted:
            raise ValueError(f"{path} is damaged: build the index again")
    names = sorted(record["files"])
    mapped = [np.load(files / n, mmap_mode="r") for n in names if n[:8] == "vectors-"]
    shards = [Shard.map(files / n) for n in names if n[:6] == "lists-"]
    has_places = "places.npy" in record["files"]
    contents = Contents(
        Centres(np.load(files / "centres.npy"), record["square"]),
        tuple(shards),
        Rows(tuple(mapped)),
        np.load(files / "hashes.npy"),
        np.load(files / "places.npy") if has_places else None,
    )
    ids = pd.Index(feather.read_feather(os.fspath(files / "ids.arrow"))["id"].array)
    return contents, ids, np.load(files / "queries.npy"), record


def _record_of(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise FileNotFoundError(f"no index in {folder}: {RECORD} is not there")
    text = path.read_bytes()
    try:
        record = dict(json.loads(text))
        version = record["format"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged: build the index again") from error
    if version != FORMAT:
        raise ValueError(
            f"{path} is of format {version!r}, and {FORMAT} is read here: build the "
            "index again"
        )
    if not has_hash(text):
        raise ValueError(f"{path} is damaged or was edited: build the index again")
    return record
