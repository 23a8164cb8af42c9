"""What became of the items."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

PART = b"skmmrec.part"
"""Where a partition says what became of its rows, in the metadata of its schema."""
# Failures whose reasons are kept of each partition: enough to see what is wrong.
MOST_REASONS = 100


@dataclass(frozen=True)
class BatchReport:
    """What `encode` did.

    Attributes
    ----------
    folder : Path
        The partitions.
    key : str
        Column of the ids.
    n_rows : int
        Rows that were read, which is also the number of rows that were written.
    n_parts : int
        Number of partitions.
    n_found : int
        Those that an earlier run had finished.
    encoded : dict of str to int
        Rows with a vector or number, by modality.
    missing : dict of str to int
        Rows without one, by modality; those that failed are among them.
    failed : dict of str to int
        Rows that could not be read, by class of the encoder, with
        ``on_error="missing"``.
    failures : DataFrame
        The first 100 of each partition: id, ``step`` (the encoder), ``source`` (the
        file that the item names, or ""), ``problem`` and ``part``.
    """

    folder: Path
    key: str
    n_rows: int
    n_parts: int
    n_found: int
    encoded: dict[str, int]
    missing: dict[str, int]
    failed: dict[str, int]
    failures: pd.DataFrame

    @classmethod
    def of_folder(cls, folder: Path, key: str, n_found: int) -> BatchReport:
        """Count what is written in a folder.

        Raises
        ------
        ValueError
            If a partition cannot be read; names it.
        """
        parts = {path.name: part_of(path) for path in sorted(folder.glob("*.parquet"))}
        failures = [
            [*failure, name]
            for name, part in parts.items()
            for failure in part["first"]
        ]
        columns = [key, "step", "source", "problem", "part"]
        return cls(
            folder,
            key,
            sum(part["n_rows"] for part in parts.values()),
            len(parts),
            n_found,
            _total(parts, "encoded"),
            _total(parts, "missing"),
            _total(parts, "failed"),
            pd.DataFrame(failures, columns=columns),
        )


def part_of(path: Path) -> dict[str, Any]:
    """Return what a partition says of itself, and its number of rows.

    Raises ValueError for a file that is none, or is damaged, and names it.
    """
    try:
        metadata = pq.read_metadata(path)
        found: dict[str, Any] = json.loads((metadata.metadata or {})[PART])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"out: {path} is damaged, or no partition that encode has written: delete "
            f"it ({error!r})"
        ) from error
    return {**found, "n_rows": metadata.num_rows}


def _total(parts: dict[str, Any], what: str) -> dict[str, int]:
    total = Counter[str]()
    for part in parts.values():
        total.update(part[what])
    return dict(total)
