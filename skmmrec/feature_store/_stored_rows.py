"""Users or items in a file of the publisher's own, on their way into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from skmmrec.feature_store.backends.base import (
    NUMBERS,
    VECTOR,
    Column,
    Rows,
    Slice,
    cuts,
)

from ._sorting import hash_of, read_spool


@dataclass(frozen=True)
class StoredRows(Rows):
    """Users or items in a file, sorted by key.

    Attributes
    ----------
    path : Path
        An Arrow file: ``id``, ``vector``, then a column for each kind; those that it
        lacks are empty. Vectors are bytes.
    n : int
    """

    path: Path
    n: int
    n_columns: int
    column_kinds: Mapping[str, str] = field(default_factory=dict)
    vector_lengths: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.n

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self.n_columns

    @property
    def kinds(self) -> dict[str, str]:
        """What was found while they were read."""
        return dict(self.column_kinds)

    @property
    def lengths(self) -> dict[str, int]:
        """What was found while they were read."""
        return dict(self.vector_lengths)

    def fingerprint(self) -> bytes:
        """Hash the file, and what is not in it."""
        digest = hashlib.blake2b(hash_of(self.path), digest_size=16)
        said = (self.version, self.id_type, self.kinds, self.exponent, self.half_life)
        if self.memory_exponent is not None:
            said += (self.memory_exponent,)
        digest.update(repr(said).encode("utf-8", "surrogatepass"))
        return digest.digest()

    def slices(self, size: int) -> Iterator[Slice]:
        """Read the file."""
        return self.sorted_slices(size)

    def sorted_slices(self, size: int, first: int = 0) -> Iterator[Slice]:
        """Read the file, one batch of it in memory at a time."""
        done = 0
        for batch in read_spool(self.path):
            cut = min(max(first - done, 0), len(batch))
            for start, stop in cuts(len(batch), size, cut):
                yield self._slice(batch.slice(start, stop - start))
            done += len(batch)

    def _slice(self, rows: pa.RecordBatch) -> Slice:
        is_number = self.id_type == "int64"
        ids = rows["id"].to_numpy() if is_number else rows["id"].to_pylist()
        numbers = b"".join(rows["vector"].to_pylist())
        matrix = np.frombuffer(numbers, "<f4").reshape(len(rows), -1)
        columns = tuple(
            Column(name, kind, _values(rows, name, kind))
            for name, kind in self.kinds.items()
        )
        return Slice(ids, matrix, columns)


def _values(rows: pa.RecordBatch, name: str, kind: str) -> list[Any]:
    if name not in rows.schema.names:
        return [None] * len(rows)
    values: list[Any] = rows[name].to_pylist()
    if kind not in (VECTOR, NUMBERS):
        return values
    return [v if v is None else np.frombuffer(v, "<f4") for v in values]
