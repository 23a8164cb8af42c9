"""From tables that do not fit into memory to the rows of the feature views.

Rows are checked as they are read, sorted by DuckDB in the order of their keys, and
written to a file of the publisher's own, from which everything is published: so each
source is read once, and may be an iterator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from skmmrec.catalog import ItemCatalog
from skmmrec.feature_store.backends.base import (
    CATEGORY,
    HISTORY_SIZE,
    POPULARITY,
    SEEN,
    VECTOR,
    Column,
    Id,
    Rows,
)
from skmmrec.interactions import ITEM, USER
from skmmrec.recommender import StoredVectors

from ._arrow_columns import (
    IDS,
    categories_of,
    id_kind,
    ids_of,
    lists_of,
    scalar_kind,
    scalars_of,
    some_vectors,
    taken,
)
from ._batches import ITEM_NAMES, USER_NAMES, Further, serving_batches
from ._categories import given_categories
from ._item_features import (
    checked_name,
    in_order,
    item_columns,
    vector_columns,
    vector_feature,
)
from ._offline import arrow_type
from ._sorting import Sorter, Stream, read_spool
from ._sources import Source
from ._stored_rows import StoredRows
from ._types import CategoriesByItem, FurtherVectors, Vectors
from ._vector_reading import Part, VectorReading, concatenated

_POPULARITY = (
    "SELECT id, count(*) AS n FROM "
    "(SELECT unnest(list_distinct(seen)) AS id FROM lists) GROUP BY id"
)
_SQL = {"int64": "BIGINT", "string": "VARCHAR"}


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

    Parameters
    ----------
    vectors : StoredVectors
    categories, further
        As in `serving_batches`.
    folder : Path
        Where there is space for all of them.

    Raises
    ------
    ValueError, TypeError
        As in `serving_batches`; they name file and row.
    """
    items = _Items(vectors, categories, further)
    users = _Users(vectors, items.id_type)
    with Sorter.within(folder) as sorter:
        stored = users.write(sorter), items.write(sorter, users.lists(sorter))
        dims = [rows.dim for rows in stored]
        if dims[0] != dims[1]:
            raise ValueError(
                f"user vectors have {dims[0]} columns, item vectors {dims[1]}"
            )
        yield stored


class _Users:
    """Users, and what they have seen."""

    def __init__(self, vectors: StoredVectors, item_type: str) -> None:
        lists = () if vectors.seen is not None else ("seen",)
        source = Source(
            vectors.users, "users", (USER, vectors.vector), ("history_size", *lists)
        )
        self._reading = VectorReading(source, USER, vectors.vector)
        self._vectors, self._item_type = vectors, item_type
        self._lists = pa.list_(IDS[item_type])
        self._interactions: Source | None = None
        if vectors.seen is not None:
            self._interactions = Source(vectors.seen, "seen", (USER, ITEM))
            self._check_interactions(self._interactions.schema)
        if "seen" in source.schema.names:
            self._reading.add("seen", self._lists, self._seen)
        if "history_size" in source.schema.names:
            self._reading.add("history_size", pa.int64(), _sizes)

    def _check_interactions(self, schema: pa.Schema) -> None:
        for name, kind in ((USER, self._reading.id_type), (ITEM, self._item_type)):
            given = schema.field(name).type
            if id_kind(given, f"{name} of seen") != kind:
                raise TypeError(
                    f"{name} is {kind} where the vectors are, but {given} in seen"
                )

    def _seen(self, part: Part) -> pa.Array:
        return lists_of(part.rows["seen"], self._item_type, "seen", part.where)

    def write(self, sorter: Sorter) -> StoredRows:
        """Write them, with what they have seen."""
        seen, joins, reading = "NULL", "", self._reading
        if self._interactions is not None:
            self._keep_seen(sorter, self._interactions)
            seen, joins = "s.items", "LEFT JOIN seen s ON s.id = r.id"
        elif "seen" in reading:
            seen = "r.seen"
        seen = f"coalesce({seen}, []::{_SQL[self._item_type]}[])"
        size = "r.history_size" if "history_size" in reading else f"len({seen})"
        columns = {SEEN: (seen, self._lists), HISTORY_SIZE: (size, pa.int64())}
        n, given = reading.write(sorter, columns, joins), self._vectors
        return StoredRows(
            *USER_NAMES,
            reading.id_type,
            str(given.version),
            reading.path(sorter),
            n,
            reading.dim or 0,
            {SEEN: f"{self._item_type}_list", HISTORY_SIZE: "int64"},
            exponent=given.history_exponent,
            half_life=given.history_half_life,
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
            where = partial(_place_in, source, place)
            columns = [
                ids_of(rows[USER], user_type, f"{USER} of seen", where),
                ids_of(rows[ITEM], self._item_type, f"{ITEM} of seen", where),
                pa.array(np.arange(place, place + len(rows))),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _place_in(source: Source, place: int, row: int) -> str:
    return source.where(place + row)


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
    ids = rows["id"].take(pa.array(offsets[:-1], pa.int64()))
    items = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows["item"])
    return pa.RecordBatch.from_arrays([ids, items], schema=schema)


class _Beside:
    """Columns of some items, given in memory.

    Parameters
    ----------
    argument : str
        What errors call it.
    ids : list of int or str
    columns : sequence of Column
        With a value for each id.
    all_known : bool, default=True
        Whether each id must be that of an item.
    """

    def __init__(
        self,
        argument: str,
        ids: Sequence[Id],
        columns: Sequence[Column],
        all_known: bool = True,
    ) -> None:
        self.argument, self.columns, self._all_known = argument, columns, all_known
        self._ids, self._index = ids, pd.Index(ids)
        self._found = np.zeros(len(ids), bool)

    def add_to(self, reading: VectorReading) -> None:
        """Have the columns made of each part."""
        for column in self.columns:
            kind = _spool_type(column.kind)
            reading.add(column.name, kind, partial(self._take, _array(column)))

    def _take(self, values: pa.Array, part: Part) -> pa.Array:
        ids = part.ids.to_numpy(zero_copy_only=False)
        rows = self._index.get_indexer(ids)
        self._found[rows[rows >= 0]] = True
        return taken(values, rows)

    def check(self, n_items: int) -> None:
        """Refuse ids that no item had."""
        unknown = np.flatnonzero(~self._found)
        if len(unknown) and self._all_known:
            raise ValueError(
                f"{self.argument} has item {self._ids[unknown[0]]!r:.100}, which is "
                f"none of the {n_items} items ({len(unknown)} such ids); give them by "
                "item id"
            )


def _spool_type(kind: str) -> pa.DataType:
    return pa.binary() if kind == VECTOR else arrow_type(kind)


def _array(column: Column) -> pa.Array:
    values = column.values
    if column.kind == VECTOR:
        values = [None if v is None else v.astype("<f4").tobytes() for v in values]
    return pa.array(values, _spool_type(column.kind))


class _Items:
    """Items, and what else is said of them: in their table, or beside it."""

    def __init__(
        self,
        vectors: StoredVectors,
        categories: CategoriesByItem | None,
        further: Further,
    ) -> None:
        named = (vectors.category,) if vectors.category is not None else ()
        named = (*named, *vectors.features, *vectors.vectors)
        needed = dict.fromkeys((ITEM, vectors.vector, *named))
        source = Source(vectors.items, "items", tuple(needed))
        self._reading = VectorReading(source, ITEM, vectors.vector)
        self._vectors, self._lengths = vectors, dict[str, int]()
        self._beside: list[_Beside] = []
        self._category(categories)
        scalars, others = self._scalars(further), self._further_vectors(further)
        kinds = {POPULARITY: "int64", CATEGORY: "string", **scalars, **others}
        self._kinds = kinds

    @property
    def id_type(self) -> str:
        """Type of the ids."""
        return self._reading.id_type

    def write(self, sorter: Sorter, lists: Stream) -> StoredRows:
        """Write them, with how many users have seen each."""
        sorter.keep("popularity", _POPULARITY, lists=lists)
        columns = {POPULARITY: ("coalesce(p.n, 0)::BIGINT", pa.int64())}
        for name, kind in self._kinds.items():
            if name in self._reading:
                columns[name] = f'r."{name}"', _spool_type(kind)
        joins = "LEFT JOIN popularity p ON p.id = r.id"
        n, reading = self._reading.write(sorter, columns, joins), self._reading
        for beside in self._beside:
            beside.check(n)
        return StoredRows(
            *ITEM_NAMES,
            reading.id_type,
            str(self._vectors.version),
            reading.path(sorter),
            n,
            reading.dim or 0,
            self._kinds,
            self._lengths,
        )

    def _put_beside(self, beside: _Beside) -> None:
        self._beside.append(beside)
        beside.add_to(self._reading)

    def _category(self, categories: CategoriesByItem | None) -> None:
        name = self._vectors.category
        if categories is not None:
            _refuse_both(name is not None, "categories", "category")
            ids, texts = given_categories(categories)
            column = Column(CATEGORY, "string", list(texts))
            self._put_beside(_Beside("categories", ids, [column]))
        elif name is not None:
            read = partial(_category, name)
            self._reading.add(CATEGORY, pa.string(), read)

    def _scalars(self, further: Further) -> dict[str, str]:
        """Have the features made; return the kinds of all, those before too."""
        kinds, schema = dict(further.known_features), self._reading.source.schema
        if further.features is not None:
            _refuse_both(bool(self._vectors.features), "features", "features")
            ids = getattr(further.features, "index", pd.Index([])).tolist()
            columns = item_columns(further.features, ids)
            self._put_beside(_Beside("features", ids, columns))
            kinds.update({column.name: column.kind for column in columns})
        for name in self._vectors.features:
            kind = scalar_kind(schema.field(name).type, f"feature {name}")
            kinds[checked_name(name, "features")] = kind
            self._reading.add(name, arrow_type(kind), partial(_scalar, name, kind))
        return _sorted(kinds, "features")

    def _further_vectors(self, further: Further) -> dict[str, str]:
        """Have the vectors made; return the kinds of all, those before too."""
        names = [*further.known_vectors]
        if further.vectors is not None:
            _refuse_both(bool(self._vectors.vectors), "vectors", "vectors")
            for beside in _tables_beside(further.vectors):
                self._put_beside(beside)
                names += [column.name for column in beside.columns]
                self._lengths.update(_lengths(beside.columns))
        for name in self._vectors.vectors:
            feature = vector_feature(checked_name(name, "vectors"))
            names.append(feature)
            self._reading.add(feature, pa.binary(), partial(self._some, name))
        return _sorted(dict.fromkeys(names, VECTOR), "vectors")

    def _some(self, name: str, part: Part) -> pa.Array:
        """Read vectors, all of one length."""
        feature = vector_feature(name)
        what = f"vector {name!r}"
        known = self._lengths.get(feature)
        column, dim = some_vectors(part.rows[name], what, known, part.where)
        if dim is not None:
            self._lengths[feature] = dim
        return column


def _tables_beside(vectors: FurtherVectors) -> Iterator[_Beside]:
    """Check vectors that are given in memory."""
    if isinstance(vectors, ItemCatalog):
        ids = list(vectors.ids)
        yield _Beside("vectors", ids, vector_columns(vectors, ids), all_known=False)
    elif isinstance(vectors, Mapping):
        for name, table in vectors.items():
            ids = getattr(table, "index", pd.Index([])).tolist()
            columns = vector_columns({name: table}, ids)
            yield _Beside(f"vectors[{name!r}]", ids, columns)
    else:
        vector_columns(vectors, [])  # which says what is wrong


def _lengths(columns: Sequence[Column]) -> dict[str, int]:
    found = {
        column.name: [len(v) for v in column.values if v is not None]
        for column in columns
    }
    return {name: max(lengths) for name, lengths in found.items() if lengths}


def _sorted(kinds: Mapping[str, str], argument: str) -> dict[str, str]:
    columns = {name: Column(name, kind, []) for name, kind in kinds.items()}
    return {column.name: column.kind for column in in_order(columns, argument)}


def _category(name: str, part: Part) -> pa.Array:
    return categories_of(part.rows[name], f"category {name}")


def _scalar(name: str, kind: str, part: Part) -> pa.Array:
    return scalars_of(part.rows[name], kind, f"feature {name}", part.where)


def _refuse_both(is_named: bool, argument: str, name: str) -> None:
    if is_named:
        raise ValueError(
            f"give {argument} to publish, or name the columns by StoredVectors({name}="
            "...), not both"
        )
