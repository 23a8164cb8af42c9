"""What each worker does: rows in, one partition out."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from errno import EIO
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from skmmrec.batch._inputs import Slice, read_slice
from skmmrec.batch._report import MOST_REASONS, PART
from skmmrec.catalog import (
    FORMAT,
    METADATA,
    Blocks,
    Encoding,
    ItemCatalog,
    encoding_of,
)
from skmmrec.interactions import check_ids
from skmmrec.runtime import (
    ContentError,
    Failure,
    cached_property,
    collecting_failures,
    replacing,
)


@dataclass(frozen=True)
class Job:
    """An encoder and a folder, which can be sent to other processes.

    Attributes
    ----------
    catalog : ItemCatalog
        A few rows, and the encoder.
    key : str
        Column of the ids.
    folder : str
        Where partitions are written.
    encoding : Encoding
        What the encoder is.
    token : str
        Tells this run from others.
    read : Schema or None
        Columns of files that are read; None where rows do not come from files.
    gaps : tuple of str
        Of these, whole numbers and truth values that some file lacks.
    """

    catalog: ItemCatalog
    key: str
    folder: str
    encoding: Encoding
    token: str
    read: pa.Schema | None = None
    gaps: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Columns that are needed."""
        return list(dict.fromkeys([self.key, *self.encoding.columns]))

    @property
    def description(self) -> dict[str, Any]:
        """What a reader of the partitions has to know."""
        blocks = self.catalog.blocks
        return {
            "format": FORMAT,
            "key": self.key,
            "encoder": self.encoding.identities,
            "numbers": [m for m in blocks.modalities if m in blocks.numbers],
            "widths": blocks.widths,
        }

    def run(self, part: Slice) -> None:
        """Encode rows of a file, unless their partition is there."""
        if self.is_done(part.name):
            return
        assert self.read is not None
        table = read_slice(part, self.read)
        frame = table.to_pandas(ignore_metadata=True)
        for name in self.gaps:
            # What pandas makes of them where one is missing, here or in other rows.
            kind = object if table[name].type == pa.bool_() else np.float64
            frame[name] = frame[name].astype(kind)
        self.write(part.name, part.label, frame, table[self.key])

    def is_done(self, name: str) -> bool:
        """Tell whether a partition is there, perhaps by another worker or run."""
        return (Path(self.folder) / name).exists()

    def write(self, name: str, label: str, rows: pd.DataFrame, keys: Any) -> None:
        """Encode rows and write their partition, all or nothing.

        `label` is what errors call the rows, which have the columns that the encoder
        reads, and the key; `keys` are the ids as they are to be written. A ValueError
        names rows without an id, or with an item that cannot be encoded.
        """
        try:
            self._same_encoder  # noqa: B018 - raises
            check_ids(rows[self.key], self.key)
            with collecting_failures() as failures, _one_process():
                blocks = self.catalog.encode(rows)
        except ValueError as error:
            kind = ContentError if isinstance(error, ContentError) else ValueError
            raise kind(f"{label}: {error}") from error
        self._save(name, self._as_table(keys, blocks, failures))

    def _save(self, name: str, table: pa.Table) -> None:
        try:
            with replacing(Path(self.folder) / name) as fresh:
                pq.write_table(table, fresh, use_dictionary=False)
        except OSError as error:
            what = (
                "a partition could not be written; those before it are kept, and "
                "another call with the same arguments goes on there"
            )
            path = os.path.join(self.folder, name)
            why = error.strerror or error
            raise OSError(error.errno or EIO, f"{what}: {why}", path) from error

    @cached_property
    def _same_encoder(self) -> bool:
        """Whether this process has the weights that the first one had."""
        here = encoding_of(self.catalog).identities
        for name, identity in self.encoding.identities.items():
            if here[name] != identity:
                raise ValueError(
                    f"the encoder of {name!r} is another one in this process: its "
                    "weights differ. Give a random_state to models without trained "
                    "weights, and the same files to all machines"
                )
        return True

    def _as_table(self, keys: Any, blocks: Blocks, failures: list[Failure]) -> pa.Table:
        columns = {
            name: as_lists(blocks.values[name], present)
            for name, present in zip(blocks.modalities, blocks.mask.T, strict=True)
        }
        table = pa.table({self.key: keys, **columns})
        part = _summary(keys, blocks, failures)
        metadata = {METADATA: self.description, PART: part}
        return table.replace_schema_metadata(
            {name: json.dumps(value) for name, value in metadata.items()}
        )


def _one_process() -> Any:
    """Keep scikit-learn in this thread, where failures are collected."""
    return joblib.parallel_config("sequential")


def as_lists(block: NDArray, present: NDArray[np.bool_]) -> pa.ListArray:
    """Turn an array of shape (n, d) into n lists, null where a row is not present.

    Their type names no length: before pyarrow 26, lists of a fixed length are neither
    written nor read where one of them is null.
    """
    ends = np.append(0, present.cumsum() * block.shape[1])
    values = pa.array(np.ascontiguousarray(block[present]).reshape(-1))
    offsets = pa.array(ends, pa.int32())
    return pa.ListArray.from_arrays(offsets, values, mask=pa.array(~present))


def _summary(keys: Any, blocks: Blocks, failures: list[Failure]) -> dict[str, Any]:
    present = dict(
        zip(blocks.modalities, blocks.mask.sum(axis=0).tolist(), strict=True)
    )
    first = sorted(failures, key=lambda failure: failure.row)[:MOST_REASONS]
    return {
        "encoded": present,
        "missing": {name: len(blocks) - count for name, count in present.items()},
        "failed": dict(Counter(failure.step for failure in failures)),
        "first": [
            [_plain(keys[f.row].as_py()), f.step, f.source, f.problem] for f in first
        ],
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else str(value)


Outcome = tuple[str, str]
"""Name of a partition, and what was wrong with its rows, or ""."""

_held: dict[str, Job] = {}


def held(job: Job) -> Job:
    """Return the same job whenever an engine sends it anew: its weights stay loaded.

    Engines unpickle a function for each task; the process keeps the last job.
    """
    if job.token not in _held:
        _held.clear()
        _held[job.token] = job
    return _held[job.token]


def attempt(job: Job, parts: Iterable[Slice]) -> list[Outcome]:
    """Run a job; what is wrong with the rows is told, so that no engine tries again."""
    outcomes = []
    for part in parts:
        try:
            job.run(part)
            outcomes.append((part.name, ""))
        except ValueError as error:
            outcomes.append((part.name, str(error)))
    return outcomes
