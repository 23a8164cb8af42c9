"""Items in parquet files, whose vectors are kept as memory maps."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from skmmrec.catalog._blocks import Blocks
from skmmrec.catalog._parquet_files import (
    blocks_of,
    find_widths,
    join_keys,
    parquet_files,
    read_keys,
    read_rows,
    read_schema,
    reading_file,
)
from skmmrec.catalog._parquet_layout import (
    Layout,
    check_lists,
    check_no_more,
    check_same_schema,
    read_layout,
)
from skmmrec.catalog._stored import StoredMatrix
from skmmrec.runtime import (
    bar,
    completed_schema,
    digest,
    parquet_identity,
    remove_abandoned,
    unfinished,
)

# Beside the files, where engines do not look: they pass over what begins with a dot.
HOME = ".skmmrec"
# Maps of files as they once were, which nobody has read for a day, are removed. Not
# tuned: no fit leaves its catalogue alone for longer.
UNUSED_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class ParquetItems:
    """Files of items, and the memory maps that were made of them.

    The maps are found again by the names, sizes and times of the files. A pickle has
    the path of the files, as the caller gave it, and nothing of what is in them.

    Attributes
    ----------
    folder : str
        Folder of the files, or one file.
    home : str
        Folder of the maps.
    layout : Layout
        What the columns are.
    n_rows : tuple of int
        Items in each file.
    state : str
        Hash of the names, sizes and times of the files.
    """

    folder: str
    home: str
    layout: Layout
    n_rows: tuple[int, ...]
    state: str

    @classmethod
    def find(
        cls,
        folder: str | PathLike[str],
        key: str | None,
        modalities: Sequence[str] | None,
        cache_dir: str | PathLike[str] | None,
    ) -> Self:
        """Look at all files, and check that they agree."""
        paths, state = parquet_files(folder), _state_of(folder)
        schemas, n_rows = zip(*map(read_schema, paths), strict=True)
        first = completed_schema(schemas)
        with reading_file(paths[0]):
            layout = read_layout(first, key, modalities)
        for path, schema in zip(paths, schemas, strict=True):
            with reading_file(path):
                check_same_schema(layout, first, schema)
                if modalities is None:
                    check_no_more(first, schema)
        if not any(n_rows):
            raise ValueError(f"there are no items: {len(paths)} files with 0 rows")
        layout = find_widths(paths, layout)
        home = _home_of(folder) if cache_dir is None else os.fspath(cache_dir)
        return cls(os.fspath(folder), home, layout, tuple(n_rows), state)

    def read_ids(self) -> NDArray:
        """Read the ids of all files; each may be there once."""
        paths, key = parquet_files(self.folder), self.layout.key
        ids = join_keys([read_keys(path, key) for path in paths], paths, key)
        self._check_unchanged()
        return ids

    def blocks(self) -> Blocks:
        """Return the content of all items, which stays on disk."""
        modalities, n = self.layout.modalities, sum(self.n_rows)
        values: dict[str, Any] = {
            name: StoredMatrix(self, name, (n, modality.width or 0), modality.dtype)
            for name, modality in modalities.items()
        }
        numbers = frozenset(
            n for n, modality in modalities.items() if modality.is_number
        )
        return Blocks(values, np.load(self._maps() / "mask.npy"), numbers)

    def read(self, content: pd.DataFrame) -> Blocks:
        """Read content in columns like those of the files; what is absent is missing.

        Raises ValueError for a column that is not among those of the files, or of
        another type.
        """
        known = self.layout.columns
        unknown = [c for c in content.columns if c not in (*known, self.layout.key)]
        if unknown or not any(c in content.columns for c in known):
            raise ValueError(
                f"content has columns {list(content.columns)}; those of the catalogue "
                f"are {known}: its vectors are given, not made"
            )
        columns = {
            c: _to_arrow(content[c], c) if c in content else pa.nulls(len(content))
            for c in known
        }
        batch = pa.RecordBatch.from_pydict(columns)
        check_lists(self.layout, batch.schema)
        return blocks_of(batch, self.layout)

    # -- maps ------------------------------------------------------------------------

    def path_of(self, name: str) -> str:
        """Path of the map of a modality; maps that are gone are made anew.

        Raises ValueError if they are gone and the files have changed since.
        """
        return str(self._maps() / self._file_of(name))

    def _maps(self) -> Path:
        folder = Path(self.home, self._name)
        if not folder.is_dir():
            self._make(folder)
        with suppress(OSError):  # where it is another user's
            os.utime(folder)
        return folder

    @property
    def _name(self) -> str:
        """Name of the folder of the maps: of which files, and how they are read."""
        parts = [str(self.layout), str(self.n_rows), self.state]
        return self._stem + _hash(json.dumps(parts))

    @property
    def _stem(self) -> str:
        """What the maps of these files begin with, whatever is in the files."""
        return f"{_hash(os.path.relpath(self.folder, self.home))}-"

    def _file_of(self, name: str) -> str:
        """Return a number, since names of modalities need not be names of files."""
        return f"{list(self.layout.modalities).index(name)}.npy"

    def _check_unchanged(self) -> None:
        """Refuse files that changed, so that no id gets another one's vector."""
        if _state_of(self.folder) != self.state:
            raise ValueError(
                f"the files in {self.folder!r} have changed since the catalogue was "
                "made of them: make it anew by ItemCatalog.from_parquet"
            )

    def _make(self, folder: Path) -> None:
        self._check_unchanged()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._tidy(folder.parent)
            with unfinished(partial(_make_folder, folder.parent)) as fresh:
                try:
                    self._write(fresh)
                    self._check_unchanged()
                    _move(fresh, folder)
                finally:
                    shutil.rmtree(fresh, ignore_errors=True)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> ValueError:
        return ValueError(
            f"memory maps of vectors cannot be written to {self.home!r} ({error}): "
            "give a folder with room for them, from_parquet(folder, cache_dir=...)"
        )

    def _write(self, fresh: Path) -> None:
        """Write a file for each modality, and one for the mask, part by part."""
        masks, n = [], sum(self.n_rows)
        modalities = self.layout.modalities
        with ExitStack() as stack:
            files = {}
            for name, modality in modalities.items():
                path = fresh / self._file_of(name)
                files[name] = stack.enter_context(open(path, "xb"))
                shape = (n, modality.width or 0)
                _write_header(files[name], shape, np.dtype(modality.dtype))
            advance = stack.enter_context(bar("map vectors", n))
            for blocks in self._read_all():
                for name, block in blocks.values.items():
                    block.tofile(files[name])
                masks.append(blocks.mask)
                advance(len(blocks))
        np.save(fresh / "mask.npy", np.concatenate(masks))

    def _read_all(self) -> Iterator[Blocks]:
        for path, n in zip(parquet_files(self.folder), self.n_rows, strict=True):
            n_read = 0
            for blocks in read_rows(path, self.layout):
                yield blocks
                n_read += len(blocks)
            if n_read != n:
                raise ValueError(f"{path} has {n_read} rows, and its footer says {n}")

    def _tidy(self, home: Path) -> None:
        """Remove what killed processes left, and maps of files as they once were."""
        for path in home.glob(".unfinished-*"):
            remove_abandoned(path, partial(shutil.rmtree, ignore_errors=True))
        for path in home.glob(f"{self._stem}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > UNUSED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)


def _make_folder(home: Path) -> Path:
    fresh = home / f".unfinished-{token_hex(6)}"
    fresh.mkdir()
    return fresh


def _move(fresh: Path, final: Path) -> None:
    """Put a folder in its place, unless another process was quicker."""
    try:
        os.replace(fresh, final)
    except OSError:
        if not final.is_dir():
            raise


def _write_header(file: Any, shape: tuple[int, int], dtype: np.dtype) -> None:
    about = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, about)


def _home_of(folder: str | PathLike[str]) -> str:
    path = Path(folder)
    return os.fspath((path.parent if path.is_file() else path) / HOME)


def _state_of(folder: str | PathLike[str]) -> str:
    """Hash of the names, sizes, times and footers of the files."""
    root, facts = Path(folder), []
    for path in parquet_files(folder):
        name = path.name if path == root else path.relative_to(root).as_posix()
        facts.append([name, parquet_identity(path)])
    return _hash(json.dumps(facts))


def _hash(text: str) -> str:
    return digest(text.encode()).hex()[:16]


def _to_arrow(column: pd.Series, name: str) -> pa.Array:
    """Turn lists or arrays in a column, or numbers, into what a file has."""
    try:
        found = pa.array(column, from_pandas=True)
    except pa.ArrowException as error:
        raise ValueError(f"content column {name!r} cannot be read: {error}") from error
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
