"""Sorting more rows than fit into memory: DuckDB does it, in a folder of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from ._faults import FULL
from ._sources import ROWS

# Folders of publishers that were killed are told by it.
_PREFIX = "publishing-"
# Of what DuckDB manages itself; about twice as much is taken. 5,000,000 rows of 64
# numbers are sorted as fast with half of it, and no faster with twice.
_MEMORY = "256MB"


def remove_leftovers(folder: Path) -> None:
    """Remove what killed publishers left; the caller is the sole publisher."""
    for path in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(path)


class Sorter:
    """Sorts and joins streams of Arrow batches.

    Parameters
    ----------
    folder : Path
        Empty; for all that does not fit into memory.
    conn : duckdb.DuckDBPyConnection
    """

    def __init__(self, folder: Path, conn: duckdb.DuckDBPyConnection) -> None:
        self.folder = folder
        self._conn = conn

    @classmethod
    @contextmanager
    def within(cls, folder: Path) -> Iterator[Sorter]:
        """Work in a new folder inside another, which goes at the end."""
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as name:
            config: dict[str, str | bool | int | float | list[str]] = {
                "memory_limit": _MEMORY,
                "temp_directory": str(Path(name) / "spilled"),
                # Each thread takes memory of its own, and none made it faster.
                "threads": 1,
                # A joined table is held in memory, so it has to be the one that a
                # query names second, and not the rows of all vectors.
                "disabled_optimizers": "join_order,build_side_probe_side",
                # Nothing is looked for in the network.
                "autoinstall_known_extensions": False,
            }
            try:
                conn = duckdb.connect(str(Path(name) / "tables.db"), config=config)
            except duckdb.Error as error:
                tell_full(error)
                raise
            with conn:
                yield cls(Path(name), conn)

    def keep(self, table: str, query: str, **sources: Stream) -> None:
        """Make a table of the rows of a query, which names the `sources`."""
        with self._reading(sources) as conn:
            conn.execute(f"CREATE OR REPLACE TABLE {table} AS {query}")

    def rows(self, query: str, **sources: Stream) -> Iterator[pa.RecordBatch]:
        """Return the rows of a query in parts, not all of them in memory."""
        with self._reading(sources) as conn:
            yield from conn.sql(query).to_arrow_reader(ROWS)

    @contextmanager
    def _reading(
        self, sources: dict[str, Stream]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give sources their names; raise what went wrong in them as it was raised."""
        # One connection has one result at a time; that of another may be its source.
        with self._conn.cursor() as conn:
            for name, source in sources.items():
                conn.register(name, source.reader())
            try:
                yield conn
            except (duckdb.Error, pa.ArrowException) as error:
                for source in sources.values():
                    if source.error is not None:
                        raise source.error from None
                tell_full(error)
                raise


def tell_full(error: Exception) -> None:
    """Raise an OSError where DuckDB says that there is no space left."""
    full = next((n for n in FULL if os.strerror(n) in str(error)), None)
    if full is not None:
        raise OSError(full, str(error)) from error


class Stream:
    """Batches for DuckDB, which forgets the type of an error in them.

    Attributes
    ----------
    error : Exception or None
        What was raised.
    """

    def __init__(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        self._schema, self._batches = schema, batches
        self.error: BaseException | None = None

    def reader(self) -> pa.RecordBatchReader:
        """Make what is read, once."""
        return pa.RecordBatchReader.from_batches(self._schema, self._guarded())

    def _guarded(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except BaseException as error:
            self.error = error
            raise


def write_spool(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> int:
    """Write an Arrow file; return the number of rows."""
    total = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            total += len(batch)
    return total


def read_spool(path: Path) -> Iterator[pa.RecordBatch]:
    """Read such a file, one batch in memory at a time."""
    # Pages of a mapped file would count as memory of this process.
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def hash_of(path: Path) -> bytes:
    """Hash a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()
