"""Ids that come once, in whatever file they are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skmmrec.batch._inputs import reading_file
from skmmrec.interactions import plain

# A batch of 100,000 short ids is some MB. Not tuned.
_IDS_AT_ONCE = 100_000
_REPEATED = """
    SELECT id, count(*), min(file), max(file) FROM ids
    GROUP BY id HAVING count(*) > 1 OR id IS NULL LIMIT 1
"""


def check_unique(paths: Sequence[str | os.PathLike], key: str) -> None:
    """Check that no id is missing or comes twice, without holding all of them.

    A ValueError names an id and the files.
    """
    with (
        # What does not fit into memory is written there, not to the working directory.
        TemporaryDirectory(prefix="skmmrec-ids-") as spilled,
        duckdb.connect(config={"temp_directory": spilled}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")
        connection.register("ids", _reader(paths, key))
        try:
            found = connection.execute(_REPEATED).fetchone()
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            _name_damaged(paths, key)
            raise ValueError(f"items: {key} cannot be read: {error}") from error
    if found is None:
        return
    value, count = found[:2]
    first, last = (os.fspath(paths[number]) for number in found[2:])
    if value is None:
        raise ValueError(f"items: {key} is missing in {count} rows, one of {first}")
    where = f"twice in {first}" if first == last else f"in {first} and in {last}"
    raise ValueError(
        f"items: {key} {plain(value)!r} comes {count} times, {where}: ids must be "
        "unique"
    )


def _reader(paths: Sequence[str | os.PathLike], key: str) -> pa.RecordBatchReader:
    """Read ids with the numbers of their files, a batch at a time."""
    kinds = [pq.read_schema(path).field(key).type for path in paths]
    kind = next((kind for kind in kinds if not pa.types.is_null(kind)), pa.null())
    if pa.types.is_dictionary(kind):  # each file has its own
        kind = kind.value_type
    schema = pa.schema({"id": kind, "file": pa.int64()})

    def batches() -> Iterator[pa.RecordBatch]:
        for number, path in enumerate(paths):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_IDS_AT_ONCE, columns=[key]):
                    places = pa.array(np.full(len(batch), number))
                    ids = batch.column(0).cast(kind)
                    yield pa.record_batch([ids, places], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _name_damaged(paths: Sequence[str | os.PathLike], key: str) -> None:
    """Raise a ValueError that names the first file whose ids cannot be read."""
    for path in paths:
        with reading_file(os.fspath(path)):
            pq.read_table(path, columns=[key])
