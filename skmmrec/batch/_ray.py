"""Partitions by an actor pool of Ray Data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa

from skmmrec.batch._engine_rows import EngineRows
from skmmrec.batch._inputs import Slice
from skmmrec.batch._job import Job, Outcome, attempt
from skmmrec.batch._tables import attempt_table, named_tables, read_table, write_table


def ray_data() -> Any:
    """Import Ray Data.

    Raises ImportError if it is not installed.
    """
    try:
        import ray.data
    except ImportError as error:
        raise ImportError(
            "engine='ray' needs Ray Data: pip install 'skmmrec[ray]'"
        ) from error
    return ray.data


class RayRows(EngineRows):
    """The rows of a Ray Dataset.

    Parameters
    ----------
    dataset : ray.data.Dataset
        Items.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def count(self) -> int:
        """Count the rows."""
        return int(self.dataset.count())

    def first_row(self, present: str | None = None) -> pd.DataFrame:
        """Return the first row, of those with a value in a column if one is named."""
        rows = self.dataset
        if present is not None:
            rows = rows.map_batches(_Present(present), batch_format="pyarrow")
        return _to_pandas(rows.limit(1))


def _to_pandas(dataset: Any) -> pd.DataFrame:
    tables = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    frames = [table.to_pandas(ignore_metadata=True) for table in tables if len(table)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


# Also of blocks without any row, whose types nothing else would tell.
_PACKED = pa.schema([("name", pa.string()), ("table", pa.large_binary())])
_OUTCOMES = pa.schema([("name", pa.string()), ("problem", pa.string())])


class _Present:
    """Leaves out rows without a value in a column."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.__name__ = f"present_{name}"

    def __call__(self, table: pa.Table) -> pa.Table:
        import pyarrow.compute as pc

        if not len(table):  # which may have no columns
            return table
        return table.filter(pc.invert(pc.is_null(table[self.name], nan_is_null=True)))


class _Slices:
    """An actor that encodes slices of files."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batch: pa.Table) -> pa.Table:
        parts = [Slice(**row) for row in batch.to_pylist()]
        return _as_table(attempt(self.job, parts))


class _Tables:
    """An actor that encodes tables."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.to_pylist()
        outcomes = [
            attempt_table(self.job, row["name"], read_table(row["table"]))
            for row in rows
        ]
        return _as_table(outcomes)


class _Pack:
    """Cuts blocks into tables, each of which becomes one row."""

    def __init__(self, job: Job, size: int) -> None:
        self.job, self.size = job, size
        self.__name__ = "pack"

    def __call__(self, block: pa.Table) -> pa.Table:
        names, tables = [], []
        rows = block.select(self.job.columns) if len(block) else block
        for name, table in named_tables(rows, self.size):
            names.append(name)
            tables.append(write_table(table))
        return pa.table([names, tables], _PACKED)


def _as_table(outcomes: list[Outcome]) -> pa.Table:
    columns = [[outcome[n] for outcome in outcomes] for n in range(2)]
    return pa.table(columns, _OUTCOMES)


def run_slices(job: Job, parts: list[Slice], **options: Any) -> Iterator[Outcome]:
    """Encode slices of files in an actor pool."""
    rows = [vars(part) for part in parts]
    dataset = ray_data().from_items(rows, override_num_blocks=len(rows))
    yield from _mapped(dataset, _Slices, job, **options)


def run_rows(job: Job, rows: RayRows, size: int, **options: Any) -> Iterator[Outcome]:
    """Encode a Ray Dataset in an actor pool."""
    packed = rows.dataset.map_batches(
        _Pack(job, size), batch_size=None, batch_format="pyarrow"
    )
    yield from _mapped(packed, _Tables, job, **options)


def _mapped(
    dataset: Any,
    actor: type,
    job: Job,
    concurrency: int | tuple[int, int] | None,
    num_gpus: float | None,
) -> Iterator[Outcome]:
    mapped = dataset.map_batches(
        actor,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="pyarrow",
        compute=_pool(concurrency, num_gpus),
        num_gpus=num_gpus,
    )
    for row in mapped.iter_rows():
        yield row["name"], row["problem"]


def _pool(concurrency: int | tuple[int, int] | None, num_gpus: float | None) -> Any:
    import ray

    strategy = ray_data().ActorPoolStrategy
    if isinstance(concurrency, int):
        return strategy(size=concurrency)
    if concurrency is None:
        resources = ray.cluster_resources()
        wanted, share = ("GPU", num_gpus) if num_gpus else ("CPU", 1)
        each = resources.get(wanted, 0) / share
        concurrency = 1, max(1, int(each))
    return strategy(min_size=concurrency[0], max_size=concurrency[1])
