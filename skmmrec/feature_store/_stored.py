"""From tables that do not fit into memory to the rows of the feature views.

Rows are checked as they are read, sorted by DuckDB in the order of their keys, and
written to a file of the publisher's own, from which everything is published: so each
source is read once, and may be an iterator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from skmmrec.feature_store.backends.base import (
    DISLIKED,
    HISTORY_SIZE,
    SEEN,
    Rows,
)
from skmmrec.interactions import ITEM, USER
from skmmrec.recommender import StoredVectors

from ._arrow_columns import (
    IDS,
    id_kind,
    ids_of,
    lists_of,
    scalars_of,
)
from ._batches import (
    USER_NAMES,
    Further,
    check_some,
    check_widths,
    serving_batches,
)
from ._fold_in import told_of_histories
from ._memory_columns import not_told_apart
from ._sorting import Sorter, Stream, read_spool
from ._sources import Source
from ._stored_items import Items
from ._stored_rows import StoredRows
from ._types import CategoriesByItem, Servable, Vectors
from ._vector_reading import Part, VectorReading, concatenated

_SQL = {"int64": "BIGINT", "string": "VARCHAR"}


def serving_of(recommender: Servable) -> Vectors | StoredVectors:
    """Ask a recommender for its vectors; a TypeError tells what has none."""
    if hasattr(recommender, "serving_vectors"):
        return recommender.serving_vectors()
    advice = ""
    if hasattr(recommender, "steps"):
        advice = ": give its last step, which is recommender[-1]"
    elif isinstance(recommender, str | os.PathLike):
        advice = ": read a saved model by MultimodalFusionRecommender.load"
    raise TypeError(
        "recommender must have serving_vectors(), as a MultimodalFusionRecommender "
        f"does, got {type(recommender).__name__}{advice}"
    )


def checked_rows(
    vectors: Vectors | StoredVectors,
    categories: CategoriesByItem | None,
    further: Further,
    folder: Path,
) -> AbstractContextManager[tuple[Rows, Rows]]:
    """Check what is to be published: at once, or on entry where it is stored.

    Stored vectors are sorted in a folder inside `folder`, which goes at the end.
    """
    if isinstance(vectors, StoredVectors):
        return stored_rows(vectors, categories, further, folder)
    return nullcontext(serving_batches(vectors, categories, further))


@contextmanager
def stored_rows(
    vectors: StoredVectors,
    categories: CategoriesByItem | None,
    further: Further,
    folder: Path,
) -> Iterator[tuple[StoredRows, StoredRows]]:
    """Check and sort stored vectors: users first, then items.

    `categories` and `further` are as in `serving_batches`; in `folder` there is space
    for all rows. Errors are as there, and name file and row.
    """
    items = Items(vectors, categories, further)
    users = _Users(vectors, items.id_type)
    with Sorter.within(folder) as sorter:
        about_users = users.write(sorter)
        about_items = items.write(sorter, users.lists(sorter))
        check_some(about_items.n, ITEM)
        if not about_users.n:
            about_users = replace(about_users, n_columns=about_items.dim)
        check_widths(about_users.dim, about_items.dim)
        yield about_users, about_items


class _Users:
    """Users, and what they have seen."""

    def __init__(self, vectors: StoredVectors, item_type: str) -> None:
        seen: tuple[str, ...] = () if vectors.seen is not None else ("seen",)
        optional = ("history_size", "disliked", *seen)
        source = Source(vectors.users, "users", (USER, vectors.vector), optional)
        self._reading = VectorReading(source, USER, vectors.vector)
        self._vectors, self._item_type = vectors, item_type
        self._told = told_of_histories(vectors)
        self._lists = pa.list_(IDS[item_type])
        self._interactions: Source | None = None
        if vectors.seen is not None:
            self._interactions = Source(vectors.seen, "seen", (USER, ITEM))
            self._check_interactions(self._interactions.schema)
        if "seen" in source.schema.names:
            self._reading.add("seen", self._lists, self._seen)
        if "history_size" in source.schema.names:
            self._reading.add("history_size", pa.int64(), _sizes)
        if "disliked" in source.schema.names:
            self._reading.add("disliked", self._lists, self._disliked)

    def _check_interactions(self, schema: pa.Schema) -> None:
        for name, kind in ((USER, self._reading.id_type), (ITEM, self._item_type)):
            given = schema.field(name).type
            if id_kind(given, f"{name} of seen") != kind:
                raise TypeError(
                    f"{name} is {kind} where the vectors are, but {given} in seen"
                )

    def _seen(self, part: Part) -> pa.Array:
        return lists_of(part.rows["seen"], self._item_type, "seen", part.where)

    def _disliked(self, part: Part) -> pa.Array:
        lists = part.rows["disliked"]
        return lists_of(lists, self._item_type, "disliked", part.where)

    def write(self, sorter: Sorter) -> StoredRows:
        """Write them, with what they have seen."""
        seen, joins, reading = "NULL", "", self._reading
        if self._interactions is not None:
            self._keep_seen(sorter, self._interactions)
            seen, joins = "s.items", "LEFT JOIN seen s ON s.id = r.id"
        elif "seen" in reading:
            seen = "r.seen"
        seen = f"coalesce({seen}, []::{_SQL[self._item_type]}[])"
        others = "len(r.disliked)" if "disliked" in reading else "0"
        size = f"len({seen}) - coalesce({others}, 0)"
        if "history_size" in reading:
            size = "r.history_size"
        columns = {SEEN: (seen, self._lists), HISTORY_SIZE: (size, pa.int64())}
        lists = f"{self._item_type}_list"
        kinds = {SEEN: lists, HISTORY_SIZE: "int64", DISLIKED: lists}
        if "disliked" in reading:
            some = "CASE WHEN len(r.disliked) > 0 THEN r.disliked END"
            columns[DISLIKED] = some, self._lists
        n, given = reading.write(sorter, columns, joins), self._vectors
        if given.memory_exponent is not None:
            _check_told_apart(reading.path(sorter))
        return StoredRows(
            *USER_NAMES,
            reading.id_type,
            str(given.version),
            reading.path(sorter),
            n,
            reading.dim or 0,
            kinds,
            exponent=self._told.exponent,
            half_life=self._told.half_life,
        )

    def lists(self, sorter: Sorter) -> Stream:
        """Return the lists of seen items that were written."""
        schema = pa.schema([("seen", self._lists)])
        lists = (
            pa.RecordBatch.from_arrays([batch[SEEN]], schema=schema)
            for batch in read_spool(self._reading.path(sorter))
        )
        return Stream(schema, lists)

    def _keep_seen(self, sorter: Sorter, source: Source) -> None:
        """Group interactions by user, sorted: DuckDB would hold all lists in memory."""
        kinds = IDS[self._reading.id_type], IDS[self._item_type]
        pairs = pa.schema([("id", kinds[0]), ("item", kinds[1]), ("place", pa.int64())])
        rows = sorter.rows(
            "SELECT id, item FROM source ORDER BY id, place",
            source=Stream(pairs, self._pairs(source, pairs)),
        )
        lists = pa.schema([("id", kinds[0]), ("items", self._lists)])
        grouped = Stream(lists, _grouped(rows, lists))
        sorter.keep("seen", "SELECT * FROM grouped", grouped=grouped)

    def _pairs(self, source: Source, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        user_type = self._reading.id_type
        for place, rows in source.parts():
            where = partial(source.where, place)
            columns = [
                ids_of(rows[USER], user_type, f"{USER} of seen", where),
                ids_of(rows[ITEM], self._item_type, f"{ITEM} of seen", where),
                pa.array(np.arange(place, place + len(rows))),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _check_told_apart(path: Path) -> None:
    """Refuse users of whom nobody knows which items they have liked."""
    for batch in read_spool(path):
        met, sizes = _counts(batch[SEEN]), batch[HISTORY_SIZE].to_numpy()
        others = np.zeros_like(met)
        if DISLIKED in batch.schema.names:
            others = _counts(batch[DISLIKED])
        for row in np.flatnonzero(met - others != sizes)[:1]:
            numbers = (int(each[row]) for each in (met, sizes, others))
            raise not_told_apart(batch["id"][int(row)].as_py(), *numbers)


def _counts(lists: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)


def _sizes(part: Part) -> pa.Array:
    given = part.rows["history_size"]
    return scalars_of(given, "int64", "history_size", part.where).fill_null(0)


def _grouped(
    rows: Iterator[pa.RecordBatch], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Make lists of rows that are sorted by id; the last one may go on in the next."""
    rest: pa.RecordBatch | None = None
    for batch in rows:
        batch = batch if rest is None else concatenated(rest, batch)
        changes = pc.not_equal(batch["id"][1:], batch["id"][:-1])
        starts = [0, *(np.flatnonzero(changes) + 1).tolist()]
        if len(starts) > 1:
            yield _lists(batch.slice(0, starts[-1]), starts, schema)
        rest = batch.slice(starts[-1])
    if rest is not None:
        yield _lists(rest, [0, len(rest)], schema)


def _lists(
    rows: pa.RecordBatch, offsets: list[int], schema: pa.Schema
) -> pa.RecordBatch:
    """Make a list of each user's items, each of them where it came first.

    As in a model, whose users are sums of what they have met, however often.
    """
    ids = rows["id"].take(pa.array(offsets[:-1], pa.int64()))
    users = np.repeat(np.arange(len(ids)), np.diff(offsets))
    numbers = rows["item"].dictionary_encode().indices.to_numpy().astype(np.int64)
    pairs = users * (int(numbers.max()) + 1) + numbers
    first = np.sort(np.unique(pairs, return_index=True)[1])
    counts = np.bincount(users[first], minlength=len(ids))
    ends = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    items = pa.ListArray.from_arrays(ends, rows["item"].take(pa.array(first)))
    return pa.RecordBatch.from_arrays([ids, items], schema=schema)
