"""Feast's sqlite online store, made exact."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final, Literal
from weakref import WeakSet

import numpy as np
from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, extract_text_and_num
from feast.infra.online_stores.sqlite import (
    SqliteOnlineStore,
    SqliteOnlineStoreConfig,
)
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.repo_config import RepoConfig
from feast.types import Array, Float32

from skmmrec.feature_store.backends.base import (
    VectorTable,
    fresh,
    from_us,
    metric_name,
    nearest,
    oldest_us,
    to_us,
)

from ._tables import (
    feast_seconds,
    open_database,
    prepare_table,
    quote,
    select_column,
    select_values,
    transaction,
)
from ._vectors import VectorCache

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Neighbour = tuple[
    datetime | None, EntityKey | None, Value | None, Value | None, Value | None
]
Document = tuple[datetime | None, EntityKey | None, dict[str, Value] | None]

TYPE: Final = "skmmrec.feature_store.ExactSqliteOnlineStore"

_UPSERT = """
INSERT INTO {table} (entity_key, feature_name, value, value_text,
                     event_ts, created_ts, event_us)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entity_key, feature_name) DO UPDATE SET
    value = excluded.value, value_text = excluded.value_text,
    event_ts = excluded.event_ts, created_ts = excluded.created_ts,
    event_us = excluded.event_us
WHERE excluded.event_us >= COALESCE(event_us, 0)
"""


_STORES: WeakSet[ExactSqliteOnlineStore] = WeakSet()


def _disconnect_all() -> None:
    for store in list(_STORES):
        store.disconnect()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(before=_disconnect_all)


class ExactSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Settings of `ExactSqliteOnlineStore` in ``feature_store.yaml``.

    Parameters
    ----------
    type : str
        "skmmrec.feature_store.ExactSqliteOnlineStore".
    path : str, default="data/online.db"
        The database file, relative to the repository.
    busy_timeout : float, default=30.0
        Seconds to wait for another writer.
    """

    type: Literal["skmmrec.feature_store.ExactSqliteOnlineStore"] = TYPE  # type: ignore[assignment]
    path: str = "data/online.db"
    # Another writer holds the file for one chunk, well under a second, or for the swap,
    # which builds the indexes and so grows with the tables.
    busy_timeout: float = 30.0


class ExactSqliteOnlineStore(SqliteOnlineStore):
    """Feast's sqlite store with exact search, ordered writes and expiry.

    Name it in ``feature_store.yaml``::

        online_store:
          type: skmmrec.feature_store.ExactSqliteOnlineStore
          path: data/online.db

    It keeps Feast's tables and adds one column, the event time in microseconds. What
    differs from the stock store:

    - vectors are searched exactly, with numpy, for cosine, L2 and inner product; no
      sqlite extension is needed;
    - a write never replaces a value with a newer event time;
    - values older than the view's ``ttl`` are not served;
    - each thread has its own connection, in write-ahead mode, so that readers never
      wait for a writer.

    Notes
    -----
    Otherwise it answers as Feast's own store does: views of every kind, stored
    on-demand views among them, join keys and values of every type. Left out on purpose:

    - text queries (``query_string``): Feast's own store adds the texts of the whole
      table to another one at each query, so that every search writes and the database
      grows, and returns them in an order that Feast mislabels (see below);
    - metadata ``filters``: they need a column of numbers beside the values, which
      publishing would have to fill for all rows;
    - vectors of another type than ``Array(Float32)``, and lengths other than the view's
      ``vector_length``: distances would be rounded or could not be taken;
    - null and empty vectors are stored, and are not found by a search;
    - asynchronous reads and writes, which Feast's own store has not either.

    All writers of one database file must use this class. `FeatureStore.
    retrieve_online_documents_v2` returns what was found in the order of the ids, each
    with its own distance: Feast 0.67 pairs ids with the wrong columns in any other
    order. Sqlite connections must not cross a fork: the forking thread's are closed
    before one, so fork while no other thread uses the store.
    """

    # What `backend_of` looks for, also in a class derived from this one.
    backend_type: ClassVar[str] = TYPE

    def __init__(self) -> None:
        self._local = threading.local()
        self._cache = VectorCache()
        _STORES.add(self)

    def connect(self, config: RepoConfig) -> sqlite3.Connection:
        """Return this thread's connection, in autocommit mode."""
        path = self._get_db_path(config)
        if getattr(self._local, "path", None) != path:
            timeout = config.online_store.busy_timeout
            self._local.conn = open_database(path, timeout)
            self._local.path = path
        conn: sqlite3.Connection = self._local.conn
        return conn

    def disconnect(self) -> None:
        """Close this thread's connection and that of the cache."""
        if hasattr(self._local, "path"):
            self._local.conn.close()
            del self._local.conn, self._local.path
        self._cache.disconnect()

    def _get_conn(self, config: RepoConfig) -> sqlite3.Connection:
        return self.connect(config)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create and drop tables (called by ``feast apply``)."""
        super().update(
            config,
            tables_to_delete,
            tables_to_keep,
            entities_to_delete,
            entities_to_keep,
            partial,
        )
        for view in tables_to_keep:
            prepare_table(self.connect(config), self.table_name(config, view))

    def teardown(
        self,
        config: RepoConfig,
        tables: Sequence[FeatureView],
        entities: Sequence[Entity],
    ) -> None:
        """Delete the database (called by ``feast teardown``)."""
        self.disconnect()
        super().teardown(config, tables, entities)
        for suffix in ("-wal", "-shm"):
            Path(self._get_db_path(config) + suffix).unlink(missing_ok=True)

    def db_path(self, config: RepoConfig) -> str:
        """Path of the database file."""
        return self._get_db_path(config)

    @staticmethod
    def table_name(config: RepoConfig, view: FeatureView) -> str:
        """Name of the view's table."""
        versioning = config.registry.enable_online_feature_view_versioning
        return compute_table_id(config.project, view, versioning)

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write rows in one transaction; newer event times win."""
        conn, name = self.connect(config), self.table_name(config, table)
        lengths = {f.name: f.vector_length for f in table.features if f.vector_length}
        serialization = config.entity_key_serialization_version
        rows = [cell for row in data for cell in _cells(row, lengths, serialization)]
        prepare_table(conn, name)
        with transaction(conn):
            upsert(conn, name, rows)
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Read rows by entity, leaving out values older than the view's ttl."""
        serialization = config.entity_key_serialization_version
        keys = [serialize_entity_key(key, serialization) for key in entity_keys]
        found = self.read_values(config, table, keys, requested_features)
        return [_feast_row(found.get(key)) for key in keys]

    def read_values(
        self,
        config: RepoConfig,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str] | None = None,
    ) -> dict[bytes, dict[str, tuple[bytes, int]]]:
        """Return serialized values and event times (us), by key and feature."""
        conn, name = self.connect(config), self.table_name(config, view)
        prepare_table(conn, name)
        return select_values(conn, name, keys, features, oldest_us(view))

    def read_column(
        self, config: RepoConfig, view: FeatureView, keys: Sequence[bytes], feature: str
    ) -> dict[bytes, bytes]:
        """Return serialized values of one feature, by key."""
        conn, name = self.connect(config), self.table_name(config, view)
        prepare_table(conn, name)
        return select_column(conn, name, keys, feature, oldest_us(view))

    def keys(self, config: RepoConfig, view: FeatureView) -> list[bytes]:
        """Return the serialized keys of all stored entities."""
        name = quote(self.table_name(config, view))
        rows = self.connect(config).execute(f"SELECT DISTINCT entity_key FROM {name}")
        return [row[0] for row in rows]

    def vectors(
        self, config: RepoConfig, view: FeatureView, feature: str, version: str = ""
    ) -> VectorTable:
        """Return all vectors of a feature, cached until the database changes.

        With `version`, the name of the feature that holds the model version, only
        those of the version that most entities carry.
        """
        name = self.table_name(config, view)
        path, timeout = self._get_db_path(config), config.online_store.busy_timeout
        # An on-demand view without entities has none.
        join_key = next(iter(view.join_keys), "")
        return self._cache.get(
            lambda: open_database(path, timeout), name, join_key, feature, version
        )

    def search(
        self,
        config: RepoConfig,
        view: FeatureView,
        feature: str,
        query: Sequence[float] | np.ndarray,
        k: int,
        metric: str | None = None,
    ) -> tuple[VectorTable, np.ndarray, np.ndarray]:
        """Search exactly: the table, the rows found (nearest first), distances."""
        table = self.vectors(config, view, feature)
        allowed = fresh(table, view)
        vector = np.asarray(query, dtype=np.float32)
        rows, distances = nearest(table, vector, k, metric_name(metric), allowed)
        return table, rows, distances

    def retrieve_online_documents(
        self,
        config: RepoConfig,
        table: FeatureView,
        requested_features: list[str],
        embedding: list[float],
        top_k: int,
        distance_metric: str | None = None,
    ) -> list[Neighbour]:
        """Exact vector search, nearest first, for Feast's first interface."""
        found, rows, distances = self.search(
            config, table, _vector_feature(table), embedding, top_k, distance_metric
        )
        return [
            _neighbour(found, row, float(distance))
            for row, distance in zip(rows, distances, strict=True)
        ]

    def retrieve_online_documents_v2(
        self,
        config: RepoConfig,
        table: FeatureView,
        requested_features: list[str],
        embedding: list[float] | None,
        top_k: int,
        distance_metric: str | None = None,
        query_string: str | None = None,
        filters: object = None,
        include_feature_view_version_metadata: bool = False,
    ) -> list[Document]:
        """Exact vector search, found entities in the order of their ids."""
        if embedding is None or query_string is not None or filters is not None:
            raise NotImplementedError(
                "this store searches by vector only: give a query vector, "
                "no query_string and no filters"
            )
        vector = _vector_feature(table)
        found, rows, distances = self.search(
            config, table, vector, embedding, top_k, distance_metric
        )
        order = np.argsort(found.ids[rows], kind="stable")
        keys = [found.keys[row] for row in rows[order]]
        values = self.read_values(config, table, keys, requested_features)
        return [
            _document(key, values.get(key), float(distance))
            for key, distance in zip(keys, distances[order], strict=True)
        ]


def upsert(conn: sqlite3.Connection, name: str, rows: list[tuple[Any, ...]]) -> None:
    """Write (key, feature, value, text, event_ts, created_ts, event_us) rows."""
    conn.executemany(_UPSERT.format(table=quote(name)), rows)


def _cells(
    row: Row, lengths: dict[str, int], serialization: int
) -> Iterator[tuple[Any, ...]]:
    """One tuple for each feature of a row."""
    entity_key, values, event, created = row
    key = serialize_entity_key(entity_key, serialization)
    seconds = feast_seconds(event)
    created_seconds = feast_seconds(created) if created else None
    micros = to_us(event)
    for feature, value in values.items():
        _check_length(entity_key, feature, value, lengths)
        text, _ = extract_text_and_num(value, False)
        content = value.SerializeToString()
        yield key, feature, content, text, seconds, created_seconds, micros


def _check_length(
    entity_key: EntityKey, feature: str, value: Value, lengths: dict[str, int]
) -> None:
    length = len(value.float_list_val.val)
    if feature in lengths and length not in (0, lengths[feature]):
        entity = entity_key.entity_values[0]
        value_of = getattr(entity, entity.WhichOneof("val"))
        raise ValueError(
            f"{feature} of {value_of!r:.100} has {length} numbers; "
            f"the feature view is defined for {lengths[feature]}"
        )


def _feast_row(
    values: dict[str, tuple[bytes, int]] | None,
) -> tuple[datetime | None, dict[str, Value] | None]:
    if not values:
        return None, None
    latest = max(event_us for _, event_us in values.values())
    protos = {name: Value.FromString(value) for name, (value, _) in values.items()}
    return from_us(latest), protos


def _document(
    key: bytes, values: dict[str, tuple[bytes, int]] | None, distance: float
) -> Document:
    when, features = _feast_row(values)
    features = {**(features or {}), "distance": Value(float_val=distance)}
    # `entity_keys` writes Feast's version 3.
    return when, deserialize_entity_key(key, 3), features


def _neighbour(table: VectorTable, row: int, distance: float) -> Neighbour:
    vector = Value(float_list_val=FloatList(val=table.matrix[row]))
    key = deserialize_entity_key(table.keys[row], 3)
    when = from_us(int(table.event_us[row]))
    return when, key, vector, vector, Value(float_val=distance)


def _vector_feature(view: FeatureView) -> str:
    fields = [field for field in view.features if field.vector_index]
    if len(fields) != 1:
        raise ValueError(
            f"feature view {view.name!r} must have one field with vector_index=True, "
            f"it has {len(fields)}"
        )
    if fields[0].dtype != Array(Float32):
        raise ValueError(
            f"field {fields[0].name!r} of feature view {view.name!r} is of type "
            f"{fields[0].dtype}; only vectors of type Array(Float32) are searched"
        )
    name: str = fields[0].name
    return name
