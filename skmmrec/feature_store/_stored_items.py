"""Items on their way from tables to a store, and what else is said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from skmmrec.catalog import ItemCatalog
from skmmrec.feature_store.backends.base import (
    CATEGORY,
    MEMORY,
    MEMORY_WEIGHTS,
    NUMBERS,
    POPULARITY,
    VECTOR,
    Column,
    Id,
)
from skmmrec.interactions import ITEM
from skmmrec.recommender import StoredVectors

from ._arrow_columns import (
    IDS,
    categories_of,
    lists_of,
    numbers_of,
    scalar_kind,
    scalars_of,
    some_vectors,
    taken,
)
from ._batches import ITEM_NAMES, Further
from ._categories import given_categories
from ._item_features import (
    checked_name,
    in_order,
    item_columns,
    vector_columns,
    vector_feature,
)
from ._memory_columns import DELETED, checked_number, refuse_deleted
from ._offline import arrow_type
from ._sorting import Sorter, Stream
from ._sources import Source
from ._stored_rows import StoredRows
from ._types import CategoriesByItem, FurtherVectors
from ._vector_reading import Part, VectorReading

_POPULARITY = (
    "SELECT id, count(*) AS n FROM "
    "(SELECT unnest(list_distinct(seen)) AS id FROM lists) GROUP BY id"
)


# Columns of what an item of a history says of others.
_LISTS = "memory_items", "memory_weights"


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
    return pa.binary() if kind in (VECTOR, NUMBERS) else arrow_type(kind)


def _array(column: Column) -> pa.Array:
    values = column.values
    if column.kind == VECTOR:
        values = [None if v is None else v.astype("<f4").tobytes() for v in values]
    return pa.array(values, _spool_type(column.kind))


class Items:
    """Items, and what else is said of them: in their table, or beside it."""

    def __init__(
        self,
        vectors: StoredVectors,
        categories: CategoriesByItem | None,
        further: Further,
    ) -> None:
        named = (vectors.category,) if vectors.category is not None else ()
        named = (*named, *vectors.features, *vectors.vectors)
        exponent, lists = vectors.memory_exponent, tuple[str, ...]()
        if exponent is not None:
            exponent, lists = checked_number(exponent, "memory_exponent"), _LISTS
        needed = dict.fromkeys((ITEM, vectors.vector, *lists, *named))
        source = Source(vectors.items, "items", tuple(needed))
        self._reading = VectorReading(source, ITEM, vectors.vector)
        self._vectors, self._lengths = vectors, dict[str, int]()
        self._beside: list[_Beside] = []
        self._exponent = exponent
        self._category(categories)
        scalars, others = self._scalars(further), self._further_vectors(further)
        memory = self._memory() if lists or further.known_memory else {}
        own = {POPULARITY: "int64", CATEGORY: "string", **memory}
        self._kinds = {**own, **scalars, **others}

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
            memory_exponent=self._exponent,
        )

    def _memory(self) -> dict[str, str]:
        """Have the lists read, if there are any; return their kinds."""
        if self._exponent is not None:
            self._reading.add(MEMORY, pa.list_(IDS[self.id_type]), self._speaks_for)
            self._reading.add(MEMORY_WEIGHTS, pa.binary(), self._how_strongly)
        return {MEMORY: f"{self.id_type}_list", MEMORY_WEIGHTS: NUMBERS}

    def _speaks_for(self, part: Part) -> pa.Array:
        """Read which items each speaks for."""
        gone = pa.scalar(DELETED[self.id_type], part.ids.type)
        refuse_deleted(pc.any(pc.equal(part.ids, gone)).as_py(), self.id_type)
        lists = part.rows[_LISTS[0]]
        return _filled(lists_of(lists, self.id_type, _LISTS[0], part.where))

    def _how_strongly(self, part: Part) -> pa.Array:
        """Read how strongly: as many numbers as items."""
        lists, weights = (part.rows[name] for name in _LISTS)
        return numbers_of(weights, _LISTS[1], lists, _LISTS[0], part.where)

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
            columns = item_columns(further.features, ids, further.known_features)
            self._put_beside(_Beside("features", ids, columns))
            kinds.update({column.name: column.kind for column in columns})
        for name in self._vectors.features:
            given, before = schema.field(name).type, kinds.get(name, "string")
            is_empty = pa.types.is_null(given)
            kind = before if is_empty else scalar_kind(given, f"feature {name}")
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


def _filled(lists: pa.Array) -> pa.Array:
    """Make lists that are empty ones that are not there."""
    is_empty = pc.equal(pc.list_value_length(lists), 0)
    return pc.if_else(is_empty, pa.scalar(None, lists.type), lists)


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
