"""Tables that engines hand over, named by what is in them.

Where rows do not come from files, nothing but the rows themselves tells whether a
partition has been written: by another attempt, or before a restart.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from skmmrec.batch._job import Job, Outcome
from skmmrec.runtime import digest


def named_tables(block: pa.Table, size: int) -> Iterator[tuple[str, pa.Table]]:
    """Cut a table into some of at most `size` rows, each with a name of its own."""
    block = block.replace_schema_metadata(None)
    for start in range(0, len(block), size):
        table = block.slice(start, size).combine_chunks()
        yield f"part-{digest(write_table(table)).hex()[:32]}.parquet", table


def write_table(table: pa.Table) -> bytes:
    """Return the bytes of a table in Arrow's own format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def read_table(data: bytes) -> pa.Table:
    """Return the table that `write_table` wrote."""
    return pa.ipc.open_stream(data).read_all()


def attempt_table(job: Job, name: str, table: pa.Table) -> Outcome:
    """Encode a table, unless its partition is there, or tell what is wrong with it."""
    try:
        if not job.is_done(name):
            rows = table.to_pandas(ignore_metadata=True)
            job.write(name, f"items ({len(table)} of the rows)", rows, table[job.key])
    except ValueError as error:
        return name, str(error)
    return name, ""
