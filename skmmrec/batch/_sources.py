"""Where raw items come from when no engine brings them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa

from skmmrec.batch._ids import check_unique
from skmmrec.batch._inputs import (
    InputFile,
    Slice,
    columns_with_gaps,
    common_schema,
    cut,
    first_rows,
    reading_file,
)
from skmmrec.batch._job import Job
from skmmrec.catalog import unique_ids
from skmmrec.runtime import parquet_identity


@dataclass(frozen=True)
class Files:
    """Parquet files of raw items."""

    files: list[InputFile]

    @property
    def identity(self) -> dict[str, Any]:
        """What another run compares with."""
        return {file.name: file.identity for file in self.files}

    def count(self) -> int:
        """Count the rows."""
        return sum(file.n_rows for file in self.files)

    def first_rows(self) -> pd.DataFrame:
        """Return some rows in which every column that has values has one."""
        rows = first_rows(self.files, common_schema(self.files, None))
        return rows.to_pandas(ignore_metadata=True)

    def ready(self, job: Job) -> Job:
        """Check the ids, and tell a job what to read."""
        check_unique([file.path for file in self.files], job.key)
        read = common_schema(self.files, job.columns)
        return replace(job, read=read, gaps=tuple(columns_with_gaps(self.files, read)))

    def slices(self, size: int) -> list[Slice]:
        """Cut the files into slices."""
        return cut(self.files, size)

    def check_unchanged(self) -> None:
        """Raise a ValueError that names a file which is not what it was."""
        for file in self.files:
            with reading_file(file.path):
                identity = parquet_identity(file.path)
            if identity != file.identity:
                raise ValueError(
                    f"items: {file.path} has changed while it was encoded: run again"
                )


@dataclass(frozen=True)
class Frame:
    """A DataFrame of raw items."""

    table: pd.DataFrame

    @property
    def identity(self) -> dict[str, Any]:
        """What another run compares with."""
        return {"DataFrame": joblib.hash(self.table)}

    def count(self) -> int:
        """Count the rows."""
        return len(self.table)

    def first_rows(self) -> pd.DataFrame:
        """Return some rows in which every column that has values has one."""
        present = self.table.notna().to_numpy()
        if not len(present):
            return self.table
        return self.table.iloc[np.unique([0, *present.argmax(axis=0)])]

    def ready(self, job: Job) -> Job:
        """Check the ids."""
        unique_ids(self.table, job.key)
        return job

    def slices(self, size: int) -> list[Slice]:
        """Cut the table into slices."""
        return cut([InputFile("", "items", len(self.table), pa.schema([]), "")], size)

    def write(self, job: Job, part: Slice) -> None:
        """Encode some rows, unless their partition is there."""
        if not job.is_done(part.name):
            rows = self.table.iloc[part.start : part.stop].reset_index(drop=True)
            keys = pa.array(rows[job.key], from_pandas=True)
            job.write(part.name, part.label, rows, keys)

    def check_unchanged(self) -> None:
        """Do nothing: what is in memory is the caller's."""
