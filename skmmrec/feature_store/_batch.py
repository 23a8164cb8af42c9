"""The rows of one feature view, encoded for each kind of store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from skmmrec._ids import ITEM, USER, check_ids

from ._definitions import (
    ITEM_VECTOR,
    ITEM_VERSION,
    ITEM_VIEW,
    SEEN,
    TIMESTAMP,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
)
from ._encoding import entity_keys, pack_ids, pack_text, pack_vectors
from ._offline import vector_column
from ._tables import feast_seconds, to_us

_ARROW = {"int64": pa.int64(), "string": pa.string()}


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
    seen : list of lists, or None
        Ids of `seen_type`, users only.
    seen_type : {"int64", "string"}
    exponent : float or None
        How users follow from their items, where the model says so; users only.
    """

    view: str
    join_key: str
    vector_name: str
    version_name: str
    ids: list[Any]
    id_type: str
    matrix: np.ndarray
    version: str
    seen: list[list[Any]] | None = None
    seen_type: str = "int64"
    exponent: float | None = None

    def fingerprint(self) -> bytes:
        """Hash of everything in the batch."""
        digest = hashlib.blake2b(digest_size=16)
        for text in (self.version, self.ids, self.seen, self.matrix.shape):
            digest.update(repr(text).encode("utf-8", "surrogatepass"))
        digest.update(self.matrix.data)
        return digest.digest()

    def _features(self, start: int, stop: int) -> list[tuple[str, list[bytes]]]:
        n = stop - start
        features = [
            (self.vector_name, pack_vectors(self.matrix[start:stop])),
            (self.version_name, [pack_text(self.version)] * n),
        ]
        if self.seen is not None:
            packed = [pack_ids(ids, self.seen_type) for ids in self.seen[start:stop]]
            features.append((SEEN, packed))
        return features

    def encoder(self, when: datetime) -> Callable[[int, int], list[tuple[Any, ...]]]:
        """Make a function that gives rows ``[start, stop)`` of Feast's sqlite table."""
        seconds, micros = feast_seconds(when), to_us(when)

        def encode(start: int, stop: int) -> list[tuple[Any, ...]]:
            keys = entity_keys(self.join_key, self.ids[start:stop])
            text = {self.version_name: self.version}
            return [
                (key, name, value, text.get(name), seconds, None, micros)
                for name, values in self._features(start, stop)
                for key, value in zip(keys, values, strict=True)
            ]

        return encode

    def serialized(self, start: int, stop: int) -> list[dict[str, bytes]]:
        """Serialize values by feature, one dict a row."""
        names, columns = zip(*self._features(start, stop), strict=True)
        rows = zip(*columns, strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]

    @property
    def schema(self) -> pa.Schema:
        """Columns of the parquet file."""
        fields = [
            (self.join_key, _ARROW[self.id_type]),
            (self.vector_name, pa.list_(pa.float32())),
            (self.version_name, pa.string()),
            (TIMESTAMP, pa.timestamp("us", tz="UTC")),
        ]
        if self.seen is not None:
            fields.append((SEEN, pa.list_(_ARROW[self.seen_type])))
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
        if self.seen is not None:
            columns.append(
                pa.array(self.seen[start:stop], self.schema.field(SEEN).type)
            )
        return pa.table(columns, schema=self.schema)


def serving_batches(vectors: Any) -> tuple[Batch, Batch]:
    """Check serving vectors and sort them by id: users first, then items.

    Raises
    ------
    ValueError
        For an empty table, users and items of different widths, repeated ids, or a
        vector that is not finite.
    TypeError
        For ids that are neither whole numbers nor strings.
    """
    user_ids, user_type, users = _check(vectors.users, USER)
    item_ids, item_type, items = _check(vectors.items, ITEM)
    if users.shape[1] != items.shape[1]:
        raise ValueError(
            f"user vectors have {users.shape[1]} columns, item vectors {items.shape[1]}"
        )
    seen = _seen_lists(vectors.seen, user_ids, item_type)
    version = str(vectors.version)
    return (
        Batch(
            USER_VIEW,
            USER,
            USER_VECTOR,
            USER_VERSION,
            user_ids,
            user_type,
            users,
            version,
            seen,
            item_type,
            getattr(vectors, "history_exponent", None),
        ),
        Batch(
            ITEM_VIEW,
            ITEM,
            ITEM_VECTOR,
            ITEM_VERSION,
            item_ids,
            item_type,
            items,
            version,
        ),
    )


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
