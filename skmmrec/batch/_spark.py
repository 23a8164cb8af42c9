"""Partitions by `mapInPandas` of Spark."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa

from skmmrec.batch._engine_rows import EngineRows
from skmmrec.batch._inputs import Slice
from skmmrec.batch._job import Job, Outcome, attempt, held
from skmmrec.batch._tables import attempt_table, named_tables

_RESULT = "name string, problem string"


def spark_sql() -> Any:
    """Import Spark.

    Raises ImportError if it is not installed.
    """
    try:
        import pyspark.sql
    except ImportError as error:
        raise ImportError(
            "engine='spark' needs PySpark: pip install 'skmmrec[spark]', and Java"
        ) from error
    return pyspark.sql


class SparkRows(EngineRows):
    """The rows of a Spark DataFrame.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        Items.
    """

    def __init__(self, frame: Any) -> None:
        self.frame = frame

    def count(self) -> int:
        """Count the rows."""
        return int(self.frame.count())

    def first_row(self, present: str | None = None) -> pd.DataFrame:
        """Return the first row, of those with a value in a column if one is named."""
        rows = self.frame
        if present is not None:
            rows = rows.where(_present(rows, present))
        return rows.limit(1).toPandas()


def _present(frame: Any, name: str) -> Any:
    from pyspark.sql import functions

    quoted = "`" + name.replace("`", "``") + "`"
    column, kind = frame[quoted], dict(frame.dtypes)[name]
    is_float = kind in ("float", "double")
    return column.isNotNull() & ~(
        functions.isnan(column) if is_float else functions.lit(False)
    )


def run_slices(job: Job, parts: list[Slice], concurrency: int | None) -> list[Outcome]:
    """Encode slices of files in the session that is active, or a new one."""
    session = spark_sql().SparkSession.builder.getOrCreate()
    numbers = session.range(0, len(parts), 1, concurrency or len(parts))
    return _collected(numbers, partial(_on_numbers, job, parts))


def run_rows(job: Job, rows: SparkRows, size: int) -> list[Outcome]:
    """Encode a Spark DataFrame."""
    quoted = ["`" + name.replace("`", "``") + "`" for name in job.columns]
    return _collected(rows.frame.select(*quoted), partial(_on_rows, job, size))


def _collected(frame: Any, function: Any) -> list[Outcome]:
    rows = frame.mapInPandas(function, _RESULT).collect()
    return [(row["name"], row["problem"]) for row in rows]


def _on_numbers(
    job: Job, parts: list[Slice], batches: Iterator[pd.DataFrame]
) -> Iterator[pd.DataFrame]:
    for batch in batches:
        for number in batch["id"]:
            yield _as_frame(attempt(held(job), [parts[number]]))


def _on_rows(
    job: Job, size: int, batches: Iterator[pd.DataFrame]
) -> Iterator[pd.DataFrame]:
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None
    count = 0
    for batch in batches:
        block = pa.Table.from_pandas(batch, preserve_index=False)
        for name, table in named_tables(block, size):
            place = f"part-{context.partitionId():05}-{count:05}-{name[5:]}"
            yield _as_frame([attempt_table(held(job), place, table)])
            count += 1


def _as_frame(outcomes: list[Outcome]) -> pd.DataFrame:
    return pd.DataFrame(outcomes, columns=["name", "problem"])
