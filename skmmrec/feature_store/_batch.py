"""The rows of one feature view, encoded for each kind of store."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from skmmrec._ids import ITEM, USER, check_ids

from ._categories import category_texts
from ._definitions import (
    CATEGORY,
    EVENT,
    EVENT_ITEM,
    EVENT_USER,
    EVENT_Y,
    HISTORY_SIZE,
    ITEM_VECTOR,
    ITEM_VERSION,
    ITEM_VIEW,
    POPULARITY,
    SEEN,
    TIMESTAMP,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
)
from ._encoding import entity_keys, pack_ids, pack_int, pack_text, pack_vectors
from ._offline import vector_column
from ._snapshot import Cells
from ._tables import feast_seconds, to_us

_ARROW = {"int64": pa.int64(), "string": pa.string()}
_PACKERS: dict[str, Callable[[Any], bytes]] = {
    "int64": pack_int,
    "string": pack_text,
    "int64_list": lambda ids: pack_ids(ids, "int64"),
    "string_list": lambda ids: pack_ids(ids, "string"),
}


class Column(NamedTuple):
    """One more feature of users or items.

    Attributes
    ----------
    name : str
    kind : {"int64", "string", "int64_list", "string_list"}
    values : list
        None where there is nothing to say.
    """

    name: str
    kind: str
    values: list[Any]

    def packed(self, start: int, stop: int) -> list[bytes]:
        """Serialize some values; nothing for None."""
        pack = _PACKERS[self.kind]
        values = self.values[start:stop]
        return [b"" if value is None else pack(value) for value in values]

    @property
    def arrow_type(self) -> pa.DataType:
        """Type in the parquet file."""
        scalar = _ARROW[self.kind.removesuffix("_list")]
        return pa.list_(scalar) if self.kind.endswith("_list") else scalar


@dataclass(frozen=True)
class Batch:
    """Users or items of one model version, sorted by id.

    Attributes
    ----------
    view, join_key, vector_name, version_name : str
        Names in Feast.
    ids : list of int or str
    id_type : {"int64", "string"}
    matrix : float32 ndarray of shape (n, dim)
    version : str
    columns : tuple of Column
        What else there is to say about each.
    seen : list of lists, or None
        Ids, users only.
    exponent : float or None
        How users follow from their items, where the model says so; users only.
    half_life : float or None
        The same for the weights of the items.
    """

    view: str
    join_key: str
    vector_name: str
    version_name: str
    ids: list[Any]
    id_type: str
    matrix: np.ndarray
    version: str
    columns: tuple[Column, ...] = ()
    exponent: float | None = None
    half_life: float | None = None

    @property
    def seen(self) -> list[list[Any]] | None:
        """Lists of seen items, which only users have."""
        return next((c.values for c in self.columns if c.name == SEEN), None)

    @property
    def feature_names(self) -> list[str]:
        """Names of all features."""
        others = [column.name for column in self.columns]
        return [self.vector_name, self.version_name, *others]

    def fingerprint(self) -> bytes:
        """Hash of everything in the batch."""
        digest = hashlib.blake2b(digest_size=16)
        for text in (self.version, self.ids, self.columns, self.matrix.shape):
            digest.update(repr(text).encode("utf-8", "surrogatepass"))
        digest.update(self.matrix.data)
        return digest.digest()

    def _features(self, start: int, stop: int) -> list[tuple[str, list[bytes]]]:
        n = stop - start
        features = [
            (self.vector_name, pack_vectors(self.matrix[start:stop])),
            (self.version_name, [pack_text(self.version)] * n),
        ]
        return features + [(c.name, c.packed(start, stop)) for c in self.columns]

    def encoder(self, when: datetime) -> Callable[[int, int], list[Cells]]:
        """Make a function that gives entities ``[start, stop)`` by feature."""
        seconds, micros = feast_seconds(when), to_us(when)

        def encode(start: int, stop: int) -> list[Cells]:
            keys = entity_keys(self.join_key, self.ids[start:stop])
            cells = []
            for name, values in self._features(start, stop):
                text = self.version if name == self.version_name else None
                pairs = [pair for pair in zip(keys, values, strict=True) if pair[1]]
                cells.append(Cells(name, text, seconds, micros, pairs))
            return cells

        return encode

    def serialized(self, start: int, stop: int) -> list[dict[str, bytes]]:
        """Serialize values by feature, one dict a row."""
        names, columns = zip(*self._features(start, stop), strict=True)
        rows = zip(*columns, strict=True)
        return [
            {name: value for name, value in zip(names, row, strict=True) if value}
            for row in rows
        ]

    @property
    def schema(self) -> pa.Schema:
        """Columns of the parquet file."""
        fields = [
            (self.join_key, _ARROW[self.id_type]),
            (self.vector_name, pa.list_(pa.float32())),
            (self.version_name, pa.string()),
            (TIMESTAMP, pa.timestamp("us", tz="UTC")),
        ]
        fields += [(c.name, c.arrow_type) for c in self.columns]
        return pa.schema(fields)

    def arrow(self, start: int, stop: int, when: datetime) -> pa.Table:
        """Rows ``[start, stop)`` for the parquet file."""
        n = stop - start
        columns = [
            pa.array(self.ids[start:stop], _ARROW[self.id_type]),
            vector_column(self.matrix[start:stop]),
            pa.array([self.version] * n),
            pa.array([when] * n, pa.timestamp("us", tz="UTC")),
        ]
        columns += [pa.array(c.values[start:stop], c.arrow_type) for c in self.columns]
        return pa.table(columns, schema=self.schema)


def serving_batches(
    vectors: Any, categories: Mapping[Any, Any] | pd.Series | None = None
) -> tuple[Batch, Batch]:
    """Check serving vectors and sort them by id: users first, then items.

    Raises
    ------
    ValueError
        For an empty table, users and items of different widths, repeated ids, a
        vector that is not finite, or a category of an unknown item.
    TypeError
        For ids that are neither whole numbers nor strings, or `categories` of another
        type.
    """
    user_ids, user_type, users = _check(vectors.users, USER)
    item_ids, item_type, items = _check(vectors.items, ITEM)
    if users.shape[1] != items.shape[1]:
        raise ValueError(
            f"user vectors have {users.shape[1]} columns, item vectors {items.shape[1]}"
        )
    seen = _seen_lists(vectors.seen, user_ids, item_type)
    about_users: tuple[Column, ...] = (
        Column(SEEN, f"{item_type}_list", seen),
        Column(HISTORY_SIZE, "int64", _history_sizes(vectors, user_ids, seen)),
    )
    about_items: tuple[Column, ...] = (
        Column(POPULARITY, "int64", _popularity(seen, item_ids)),
        Column(CATEGORY, "string", category_texts(categories, item_ids)),
    )
    names = (USER_VIEW, USER, USER_VECTOR, USER_VERSION)
    version = str(vectors.version)
    made_by = [
        getattr(vectors, f"history_{name}", None) for name in ("exponent", "half_life")
    ]
    return (
        Batch(*names, user_ids, user_type, users, version, about_users, *made_by),
        Batch(
            ITEM_VIEW,
            ITEM,
            ITEM_VECTOR,
            ITEM_VERSION,
            item_ids,
            item_type,
            items,
            version,
            about_items,
        ),
    )


def event_schema(batches: tuple[Batch, Batch]) -> pa.Schema:
    """Columns of the parquet file of pushed events."""
    users, items = batches
    return pa.schema(
        [
            (EVENT, pa.string()),
            (EVENT_USER, _ARROW[users.id_type]),
            (EVENT_ITEM, _ARROW[items.id_type]),
            (EVENT_Y, pa.float64()),
            (TIMESTAMP, pa.timestamp("us", tz="UTC")),
        ]
    )


def _history_sizes(
    vectors: Any, user_ids: list[Any], seen: list[list[Any]]
) -> list[int]:
    """Count the items that each user's vector is the sum of: by default all seen."""
    sizes = getattr(vectors, "history_sizes", None)
    if sizes is None:
        return [len(items) for items in seen]
    return [int(size) for size in sizes.reindex(user_ids, fill_value=0)]


def _popularity(seen: list[list[Any]], item_ids: list[Any]) -> list[int]:
    """Count the users that each item was met by."""
    counts = Counter(item for items in seen for item in set(items))
    return [counts[item] for item in item_ids]


def _check(frame: pd.DataFrame, name: str) -> tuple[list[Any], str, np.ndarray]:
    if not len(frame):
        raise ValueError(f"there is no {name} to publish")
    ids = check_ids(frame.index, name)
    id_type = id_type_of(ids, name)
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    listed = ids.tolist()
    repeated = np.flatnonzero(ids[1:] == ids[:-1])
    if len(repeated):
        raise ValueError(
            f"{name} {listed[repeated[0]]!r:.100} has more than one vector"
        )
    matrix = np.ascontiguousarray(frame.to_numpy(np.float32)[order])
    odd = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(odd):
        raise ValueError(f"the vector of {name} {listed[odd[0]]!r:.100} is not finite")
    return listed, id_type, matrix


def id_type_of(ids: np.ndarray, name: str) -> str:
    """Feast's name for the type of checked ids: "int64" or "string"."""
    if ids.dtype.kind == "f":
        raise TypeError(f"{name} must be whole numbers or strings, got floats")
    return "int64" if ids.dtype.kind == "i" else "string"


def _seen_lists(
    seen: pd.Series, user_ids: list[Any], item_type: str
) -> list[list[Any]]:
    cast = int if item_type == "int64" else str
    lists = seen.reindex(user_ids)
    return [
        [cast(item) for item in items]
        if isinstance(items, list | tuple | np.ndarray)
        else []
        for items in lists
    ]
