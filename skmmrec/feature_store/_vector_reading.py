"""Sources of vectors, checked, sorted and written to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ._arrow_columns import (
    IDS,
    Where,
    id_kind,
    ids_of,
    matrix_of,
    packed_vectors,
    sort_keys,
)
from ._sorting import Sorter, Stream, write_spool
from ._sources import Source


class Part(NamedTuple):
    """Some rows of a source: what was read, their ids, and where a row was."""

    rows: pa.RecordBatch
    ids: pa.Array
    where: Where


class VectorReading:
    """A source of vectors on its way into a file.

    Parameters
    ----------
    source : Source
    join_key, vector : str
        Columns of ids and vectors.
    """

    def __init__(self, source: Source, join_key: str, vector: str) -> None:
        self.source, self.join_key, self.vector = source, join_key, vector
        self.id_type = id_kind(source.schema.field(join_key).type, join_key)
        self.dim: int | None = None
        self._columns: dict[str, tuple[pa.DataType, Callable[[Part], pa.Array]]] = {}

    def add(
        self, name: str, kind: pa.DataType, make: Callable[[Part], pa.Array]
    ) -> None:
        """Have one more column, made of each part."""
        self._columns[name] = kind, make

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def write(
        self,
        sorter: Sorter,
        columns: Mapping[str, tuple[str, pa.DataType]],
        joins: str = "",
    ) -> int:
        """Write ids, vectors and more columns, sorted by key.

        `columns` are SQL and type of each; `r` is the table that was read, and `joins`
        are more tables, as SQL. Returns the number of rows.
        """
        made = "".join(f', {sql} AS "{name}"' for name, (sql, _) in columns.items())
        query = (
            f"SELECT r.key, r.place, r.id, r.vector{made} FROM source r {joins} "
            "ORDER BY r.key"
        )
        schema = pa.schema(
            [
                ("id", IDS[self.id_type]),
                ("vector", pa.binary()),
                *((name, kind) for name, (_, kind) in columns.items()),
            ]
        )
        found = sorter.rows(query, source=Stream(self._schema, self._parts()))
        return write_spool(self.path(sorter), schema, self._unique(found, schema))

    def path(self, sorter: Sorter) -> Path:
        """Return the file that is written."""
        return sorter.folder / f"{self.join_key}.arrow"

    @property
    def _schema(self) -> pa.Schema:
        key = pa.uint64() if self.id_type == "int64" else pa.binary()
        own = {"key": key, "place": pa.int64(), "id": IDS[self.id_type]}
        others = {name: kind for name, (kind, _) in self._columns.items()}
        return pa.schema({**own, "vector": pa.binary(), **others}.items())

    def _parts(self) -> Iterator[pa.RecordBatch]:
        """Check and make the columns, part by part."""
        schema = self._schema
        for place, rows in self.source.parts():
            where = partial(self.source.where, place)
            ids = ids_of(rows[self.join_key], self.id_type, self.join_key, where)
            name = f"the vector of {self.join_key}"
            matrix = matrix_of(rows[self.vector], name, self.dim, where)
            self.dim = matrix.shape[1] if len(matrix) else self.dim
            part = Part(rows, ids, where)
            columns = [
                sort_keys(ids),
                pa.array(np.arange(place, place + len(rows))),
                ids,
                packed_vectors(matrix).cast(pa.binary()),
                *(make(part) for _, make in self._columns.values()),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _unique(
        self, sorted_rows: Iterator[pa.RecordBatch], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        """Refuse ids that repeat: they follow each other."""
        last: pa.RecordBatch | None = None
        for batch in sorted_rows:
            if last is not None:
                self._check_unique(concatenated(last, batch.slice(0, 1)))
            self._check_unique(batch)
            last = batch.slice(len(batch) - 1)
            columns = [batch[field.name].cast(field.type) for field in schema]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _check_unique(self, rows: pa.RecordBatch) -> None:
        ids = rows["id"]
        same = np.flatnonzero(pc.equal(ids[1:], ids[:-1]))
        if len(same):
            row = int(same[0])
            places = sorted(rows["place"].slice(row, 2).to_pylist())
            first, second = map(self.source.where, places)
            raise ValueError(
                f"{self.join_key} {ids[row].as_py()!r:.100} has more than one vector: "
                f"in {first} and in {second}"
            )


def concatenated(first: pa.RecordBatch, second: pa.RecordBatch) -> pa.RecordBatch:
    """Put rows after others; both have some."""
    table = pa.Table.from_batches([first, second]).combine_chunks()
    [batch] = table.to_batches()
    return batch
