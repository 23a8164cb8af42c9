"""Feast's PostgreSQL online store, serving what was published."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, Final, Literal

from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.repo_config import RepoConfig
from feast.utils import _populate_response_from_feature_data
from pydantic import ConfigDict

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    Cells,
    ContentSettings,
    ExactOnlineStore,
    GroupedRefs,
    Snapshot,
    VectorTable,
    WriteRow,
    chunks,
    feast_row,
)

try:
    from feast.infra.online_stores.postgres_online_store.postgres import (
        PostgreSQLOnlineStore,
        PostgreSQLOnlineStoreConfig,
    )
    from psycopg import AsyncConnection, Connection
except ImportError as error:
    raise ImportError(
        "PostgreSQL as online store: pip install 'skmmrec[postgres]'"
    ) from error

from ._connections import Connections
from ._engine import Engine, Request
from ._overlay import Cell, disown, upsert, utc
from ._publications import forget_project
from ._schema import count_changes, forget_counts
from ._sql import share
from ._vectors import Vectors

TYPE: Final = "skmmrec.feature_store.ExactPostgresOnlineStore"

# Rows that are written in one transaction: those that record or serve meanwhile wait
# for one, about 0.1 s.
_PIECE = 1000


class ExactPostgresOnlineStoreConfig(ContentSettings, PostgreSQLOnlineStoreConfig):
    """Settings of `ExactPostgresOnlineStore` in ``feature_store.yaml``.

    Parameters
    ----------
    type : str
        "skmmrec.feature_store.ExactPostgresOnlineStore".
    **settings
        All those of Feast's own PostgreSQL store: ``host``, ``port``, ``database``,
        ``user``, ``password``, ``db_schema``, ``sslmode`` and others. Each thread that
        reads has a connection; ``conn_type: pool`` keeps them to ``max_conn``. No
        pgvector is needed; ``vector_enabled: true`` fills its column for others.
    text_encoder : TextSearch, optional
        Answers searches by a text: its ``model``, and the ``feature`` to compare with.
    encoders : dict of str to ContentEncoder, optional
        What the vectors of `publish` were made by, by their name: a ``kind`` (text,
        image, audio or video), and parameters of that encoder. `skmmrec.service`
        answers words and files by them.
    """

    # Else an error of one field would show others, such as the password.
    model_config = ConfigDict(hide_input_in_errors=True)

    type: Literal["skmmrec.feature_store.ExactPostgresOnlineStore"] = TYPE  # type: ignore[assignment]


class ExactPostgresOnlineStore(ExactOnlineStore, PostgreSQLOnlineStore):
    """Feast's PostgreSQL store with publications, exact search and ordered writes.

    Name it in ``feature_store.yaml``::

        online_store:
          type: skmmrec.feature_store.ExactPostgresOnlineStore
          host: localhost
          database: feast
          user: feast
          password: ${POSTGRES_PASSWORD}

    Feast's tables stay as they are. The rows of each publication are in tables of their
    own beside them, whose names begin with ``skmmrec_rows_`` and whose comments tell
    what they hold; ``skmmrec_publications`` lists them.

    Notes
    -----
    A standby, or any server that only reads, serves reads. Other clients of Feast may
    read and write Feast's tables: they do not see what is published, and what they
    write counts if it belongs to the publication that is served.
    """

    backend_type: ClassVar[str] = TYPE

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._connections: Connections | None = None
        self._engines: dict[str, tuple[Engine, Vectors]] = {}

    def engine(self, config: RepoConfig) -> Engine:
        """Return the tables of a project."""
        return self._parts(config)[0]

    def _parts(self, config: RepoConfig) -> tuple[Engine, Vectors]:
        with self._guard:
            if self._connections is None:
                self._connections = Connections(config.online_store)
                weakref.finalize(self, self._connections.close)
            if config.project not in self._engines:
                versioning = config.registry.enable_online_feature_view_versioning
                engine = Engine(self._connections, config.project, versioning)
                self._engines[config.project] = engine, Vectors(engine)
            return self._engines[config.project]

    @contextmanager
    def _get_conn(
        self, config: RepoConfig, autocommit: bool = False
    ) -> Iterator[Connection]:
        """Lend Feast's own methods a connection: what they do not commit is undone."""
        with self.engine(config).connections.get() as conn:
            conn.autocommit = autocommit
            try:
                yield conn
            finally:
                if not conn.closed:
                    conn.rollback()
                    conn.autocommit = True

    @asynccontextmanager
    async def _get_conn_async(
        self, config: RepoConfig, autocommit: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        raise NotImplementedError("reads run in threads: see online_read_async")
        yield

    def served(self, config: RepoConfig) -> Snapshot | None:
        """Return the publication that is served."""
        engine = self.engine(config)
        with engine.connections.get() as conn:
            found = engine.served(conn)
        return None if found is None else found.snapshot

    def read_values(
        self,
        config: RepoConfig,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str] | None = None,
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, Cells]:
        """Return values that have not expired, by key and feature (None: all)."""
        [found] = self.engine(config).read([Request(view, keys, features)], snapshot)
        return found

    def vectors(
        self,
        config: RepoConfig,
        view: FeatureView,
        feature: str,
        snapshot: Snapshot | None = None,
    ) -> VectorTable:
        """Return all vectors of a feature, in memory until they change."""
        return self._parts(config)[1].get(view, feature, snapshot)

    def write_newer(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: Sequence[WriteRow],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write rows, some in each transaction; values with newer times stay."""
        for part in chunks(data, _PIECE):
            self._write(config, table, list(part))
            if progress:
                progress(len(part))

    def _write(
        self, config: RepoConfig, view: FeatureView, data: list[WriteRow]
    ) -> None:
        engine, serialization = (
            self.engine(config),
            config.entity_key_serialization_version,
        )
        name = engine.overlay(view)
        with engine.connections.get() as conn, conn.transaction():
            if view.name in PUBLISHED_VIEWS and engine.exists(conn):
                share(conn, f"serve {config.project}")
                data = self._owned(config, view, data)
                served = engine.served(conn)
                if served is not None:
                    keys = [serialize_entity_key(row[0], serialization) for row in data]
                    disown(conn, name, view.name, keys, served.snapshot)
            cells = _cells(data, serialization)
            upsert(conn, name, cells, config.online_store.vector_enabled)

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: GroupedRefs,
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: Any,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """Read all feature views in one query: of one publication, at one moment."""
        reads = self._prepare_batched_reads(
            config, grouped_refs, join_key_values, entity_name_to_join_key_map
        )
        requests = [
            Request(read.table, read.keys, read.requested_features or None)
            for read in reads
        ]
        found = self.engine(config).read(requests)
        for read, rows in zip(reads, found, strict=True):
            _populate_response_from_feature_data(
                read.requested_features,
                [feast_row(read.table, key, rows.get(key)) for key in read.keys],
                read.idxs,
                online_features_response,
                full_feature_names,
                read.table,
                read.output_len,
                include_feature_view_version_metadata,
            )

    async def _read_features_per_fv_async(self, *args: Any, **kwargs: Any) -> None:
        """Read all feature views in a thread."""
        await asyncio.to_thread(self._read_features_per_fv, *args, **kwargs)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create and drop tables (called by ``feast apply``); publications stay."""
        super().update(
            config,
            tables_to_delete,
            tables_to_keep,
            entities_to_delete,
            entities_to_keep,
            partial,
        )
        # What `feast delete` deletes is named among what stays, too.
        gone, engine = {view.name for view in tables_to_delete}, self.engine(config)
        with engine.connections.get() as conn:
            engine.prepare(conn)
            for view in tables_to_keep:
                has_vectors = any(field.vector_index for field in view.features)
                if has_vectors and view.name not in gone:
                    count_changes(conn, engine.overlay(view))
            forget_counts(conn)

    def teardown(
        self,
        config: RepoConfig,
        tables: Sequence[FeatureView],
        entities: Sequence[Entity],
    ) -> None:
        """Drop all tables, with publications and events (``feast teardown``)."""
        super().teardown(config, tables, entities)
        engine = self.engine(config)
        with engine.connections.get() as conn:
            if engine.exists(conn):
                forget_project(conn, config.project)
                forget_counts(conn)


def _cells(data: Sequence[WriteRow], serialization: int) -> Iterator[Cell]:
    """One cell for each feature of a row."""
    for entity_key, values, event, created in data:
        key = serialize_entity_key(entity_key, serialization)
        for feature, value in values.items():
            yield Cell(key, feature, value, utc(event), created and utc(created))
