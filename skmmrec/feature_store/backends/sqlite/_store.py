"""Feast's sqlite online store, made exact."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple
from weakref import WeakSet

from feast import Entity, FeatureView
from feast.infra.infra_object import InfraObject
from feast.infra.online_stores.helpers import compute_table_id
from feast.infra.online_stores.sqlite import (
    SqliteOnlineStore,
    SqliteOnlineStoreConfig,
)
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto
from feast.repo_config import RepoConfig

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    VERSION_OF,
    Cells,
    ContentSettings,
    ExactOnlineStore,
    Place,
    Snapshot,
    VectorTable,
    WriteRow,
    fresh_cells,
    merge_cells,
    oldest_us,
)

from . import _publications as publications
from ._connections import (
    Database,
    damaged_publication,
    joined,
    publications_beside,
    telling,
    telling_publication,
)
from ._files import read_column, read_keys, read_rows
from ._opened import Opened, open_told
from ._overlay import Overlay
from ._rows import cells_of, upsert
from ._tables import (
    all_keys,
    prepare_table,
    select_column,
    select_values,
)
from ._teardown import removed_beside_others
from ._vectors import (
    Source,
    VectorCache,
    forget_cache,
    renew_caches,
    shared_cache,
)

TYPE: Final = "skmmrec.feature_store.ExactSqliteOnlineStore"

_STORES: WeakSet[ExactSqliteOnlineStore] = WeakSet()


def _disconnect_all() -> None:
    for store in list(_STORES):
        store.disconnect()


def _renew_all() -> None:
    """Replace what another thread, which the child has not, may have locked."""
    renew_caches()
    for store in list(_STORES):
        store.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(before=_disconnect_all, after_in_child=_renew_all)


# Feast looks for the store in the module of its settings.
class ExactSqliteOnlineStoreConfig(ContentSettings, SqliteOnlineStoreConfig):
    """Settings of `ExactSqliteOnlineStore` in ``feature_store.yaml``.

    Parameters
    ----------
    type : str
        "skmmrec.feature_store.ExactSqliteOnlineStore".
    path : str, default="data/online.db"
        The database file, relative to the repository.
    busy_timeout : float, default=30.0
        Seconds to wait for another writer.
    text_encoder : TextSearch, optional
        Answers searches by a text: its ``model``, and the ``feature`` to compare with.
    encoders : dict of str to ContentEncoder, optional
        What the vectors of `publish` were made by, by their name: a ``kind`` (text,
        image, audio or video), and parameters of that encoder. `skmmrec.service`
        answers words and files by them.
    """

    type: Literal["skmmrec.feature_store.ExactSqliteOnlineStore"] = TYPE  # type: ignore[assignment]
    path: str = "data/online.db"
    # Other writers hold the file for an event or some rows that Feast writes, well
    # under a second.
    busy_timeout: float = 30.0


class Publication(NamedTuple):
    """A publication that is open for reading."""

    snapshot: Snapshot
    path: Path
    conn: sqlite3.Connection


class ExactSqliteOnlineStore(ExactOnlineStore, SqliteOnlineStore):
    """Feast's sqlite store with publications, exact search, order and expiry.

    Name it in ``feature_store.yaml``::

        online_store:
          type: skmmrec.feature_store.ExactSqliteOnlineStore
          path: data/online.db

    It keeps Feast's tables and adds one column, the event time in microseconds. Each
    publication is a file of its own in a folder beside the database. What differs from
    the stock store:

    - of the published views, what is read is the publication that is served, and what
      was written to it since; rows of other models are neither written nor read;
    - vectors are searched exactly, with numpy, for cosine, L2 and inner product; no
      sqlite extension is needed;
    - a write never replaces a value with a newer event time;
    - values older than the view's ``ttl`` are not served, as Feast's documentation of
      `FeatureView` says; its own store serves them, and two of the tests of Feast 0.67
      for online stores read them;
    - each thread has its own connection, in write-ahead mode, so that readers never
      wait for a writer;
    - where the database or its folder cannot be written, it is read all the same.

    Notes
    -----
    Otherwise it answers as Feast's own store does: views of every kind, stored
    on-demand views among them, join keys and values of every type. Left out on purpose:

    - text queries (``query_string``) by words: Feast's own store adds the texts of the
      whole table to another one at each query, so that every search writes and the
      database grows. They are answered by the vector of the text, where
      ``text_encoder`` names a model;
    - vectors of another type than ``Array(Float32)``, and lengths other than the view's
      ``vector_length``: distances would be rounded or could not be taken;
    - null and empty vectors are stored, and are not found by a search;
    - asynchronous writes, which Feast's own store has not either.

    All writers of one database file must use this class. `FeatureStore.
    retrieve_online_documents_v2` returns what was found in the order of the ids, each
    with its own distance: Feast 0.67 pairs ids with the wrong columns in any other
    order. Sqlite connections must not cross a fork: the forking thread's are closed
    before one, so fork while no other thread uses the store.
    """

    backend_type: ClassVar[str] = TYPE

    def __init__(self) -> None:
        self.renew()
        _STORES.add(self)

    def renew(self) -> None:
        """Begin without connections and locks."""
        self._opened = Opened()
        self._cache: VectorCache | None = None  # shared, while a store refers to it

    def open(self, config: RepoConfig) -> Database:
        """Open another connection to the main database."""
        return Database(self._get_db_path(config), config.online_store.busy_timeout)

    def connect(self, config: RepoConfig) -> sqlite3.Connection:
        """Return this thread's connection, in autocommit mode."""
        path = self._get_db_path(config)
        if self._opened.is_replaced(path):
            forget_cache(self._cache_name(config))
            self._cache = None
        return self._opened.main(path, lambda: self.open(config))

    def disconnect(self) -> None:
        """Close this thread's connections and forget the vectors in memory."""
        self._opened.close()
        self._cache = None

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
        """Create and drop tables (called by ``feast apply``); publications stay."""
        with telling(self.db_path(config)):
            super().update(
                config,
                tables_to_delete,
                tables_to_keep,
                entities_to_delete,
                entities_to_keep,
                partial,
            )
            # What `feast delete` deletes is named among what stays, too.
            gone = {view.name for view in tables_to_delete}
            for view in tables_to_keep:
                if view.name not in gone:
                    prepare_table(self.connect(config), self.table_name(config, view))

    def plan(
        self, config: RepoConfig, desired_registry_proto: RegistryProto
    ) -> list[InfraObject]:
        """Name no tables for ``feast plan``, as all other stores do.

        ``feast apply`` records the tables that it plans for Feast's own type alone, so
        that those of another type would be new in every plan.
        """
        return []

    def teardown(
        self,
        config: RepoConfig,
        tables: Sequence[FeatureView],
        entities: Sequence[Entity],
    ) -> None:
        """Delete the database and publications (called by ``feast teardown``).

        Where other projects have something in it, what they have stays.
        """
        self.disconnect()
        forget_cache(self._cache_name(config))
        names = [self.table_name(config, view) for view in tables]
        is_there = Path(self._get_db_path(config)).exists()
        if is_there and removed_beside_others(
            lambda: self.open(config), config.project, names
        ):
            return
        super().teardown(config, tables, entities)
        for suffix in ("-wal", "-shm", ".publish"):
            Path(self._get_db_path(config) + suffix).unlink(missing_ok=True)
        if self.folder(config).exists():
            shutil.rmtree(self.folder(config))

    @staticmethod
    def _get_db_path(config: RepoConfig) -> str:
        """Path of the database file, which Feast's own methods ask for, too.

        A link to a file is followed: its log, its lock and its publications are beside
        the file, whoever opens it and by whatever name.
        """
        folder = config.repo_path
        if folder is None or not folder.is_absolute():
            folder = Path.cwd() / (folder or "")
        return _database_of(folder, config.online_store.path)

    def db_path(self, config: RepoConfig) -> str:
        """Path of the database file."""
        return self._get_db_path(config)

    def _cache_name(self, config: RepoConfig) -> str:
        return str(Path(self._get_db_path(config)).resolve())

    def folder(self, config: RepoConfig) -> Path:
        """Folder of the publications' files."""
        return publications_beside(self._get_db_path(config))

    @staticmethod
    def table_name(config: RepoConfig, view: FeatureView) -> str:
        """Name of the view's table."""
        versioning = config.registry.enable_online_feature_view_versioning
        return compute_table_id(config.project, view, versioning)

    def served(self, config: RepoConfig) -> Snapshot | None:
        """Return the publication that is served."""
        with telling(self.db_path(config)):
            record = publications.served(self.connect(config), config.project)
        return record and record.snapshot

    def publication(
        self, config: RepoConfig, snapshot: Snapshot | None = None, own: bool = False
    ) -> Publication | None:
        """Open a publication (None: the one that is served, if any is).

        With `own`, by another connection than that of the thread.

        Raises
        ------
        LookupError
            When `snapshot` has been dropped.
        """
        tried = None
        while record := self._record(config, snapshot):
            path = self.folder(config) / record.file
            try:
                conn = open_told(path) if own else self._opened.publication(path)
                return Publication(record.snapshot, path, conn)
            except FileNotFoundError as error:
                # Rows were deleted, which makes another file, or it has been dropped.
                if path == tried:
                    raise damaged_publication(path, "it is gone") from error
                tried = path
        return None

    def _record(
        self, config: RepoConfig, snapshot: Snapshot | None
    ) -> publications.Record | None:
        conn = self.connect(config)
        with telling(self.db_path(config)):
            if snapshot is None:
                return publications.served(conn, config.project)
            return publications.find(conn, config.project, snapshot)

    def overlay(
        self, config: RepoConfig, view: FeatureView, snapshot: Snapshot
    ) -> Overlay:
        """Return where what was written since a publication is."""
        return Overlay(self.table_name(config, view), snapshot, VERSION_OF[view.name])

    def write_newer(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: Sequence[WriteRow],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write rows in one transaction; newer event times win."""
        conn, name = self.connect(config), self.table_name(config, table)
        serialization = config.entity_key_serialization_version
        rows = [cell for row in data for cell in cells_of(row, serialization)]
        with telling(self.db_path(config)):
            prepare_table(conn, name)
            with joined(conn):
                self.disown(config, table, list({row[0] for row in rows}))
                upsert(conn, name, rows)
        if progress:
            progress(len(data))

    def disown(
        self, config: RepoConfig, view: FeatureView, keys: Sequence[bytes]
    ) -> Overlay | None:
        """Remove what Feast's table has of other models; in the caller's transaction.

        Returns where rows of the served publication are, of a published view.
        """
        snapshot = self.served(config) if view.name in PUBLISHED_VIEWS else None
        if snapshot is None:
            return None
        overlay = self.overlay(config, view, snapshot)
        overlay.disown(self.connect(config), keys)
        return overlay

    def read_values(
        self,
        config: RepoConfig,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str] | None = None,
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, Cells]:
        """Return serialized values and event times (us), by key and feature."""
        features, oldest = features or None, oldest_us(view)
        published = self._published(config, view, snapshot)
        if published is None:
            with telling(self.db_path(config)):
                name = self.table_name(config, view)
                return select_values(self.connect(config), name, keys, features, oldest)
        found: dict[bytes, Cells] = {}
        when = published.snapshot.served_us
        if oldest is None or oldest <= when:
            with telling_publication(published.path):
                rows = read_rows(published.conn, view.name, keys, features)
            found = {
                key: {name: (value, when) for name, value in row.items()}
                for key, row in rows.items()
            }
        merge_cells(found, self._later(config, view, keys, features, published))
        return found

    def read_column(
        self,
        config: RepoConfig,
        view: FeatureView,
        keys: Sequence[bytes],
        feature: str,
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, bytes]:
        """Return serialized values of one feature, by key."""
        oldest = oldest_us(view)
        published = self._published(config, view, snapshot)
        if published is None:
            with telling(self.db_path(config)):
                name = self.table_name(config, view)
                return select_column(self.connect(config), name, keys, feature, oldest)
        found: dict[bytes, bytes] = {}
        if oldest is None or oldest <= published.snapshot.served_us:
            with telling_publication(published.path):
                found = read_column(published.conn, view.name, keys, feature)
        later = self._later(config, view, keys, [feature], published)
        found.update((k, row[feature][0]) for k, row in later.items() if feature in row)
        return found

    def _published(
        self, config: RepoConfig, view: FeatureView, snapshot: Snapshot | None
    ) -> Publication | None:
        if view.name not in PUBLISHED_VIEWS:
            return None
        return self.publication(config, snapshot)

    def _later(
        self,
        config: RepoConfig,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str] | None,
        published: Publication,
    ) -> dict[bytes, Cells]:
        """Return values that were written since a publication, by key and feature."""
        overlay = self.overlay(config, view, published.snapshot)
        with telling(self.db_path(config)):
            found = overlay.read(self.connect(config), keys, features)
        oldest = oldest_us(view)
        return found if oldest is None else fresh_cells(found, oldest)

    def keys(self, config: RepoConfig, view: FeatureView) -> list[bytes]:
        """Return the serialized keys of all stored entities."""
        published, conn = self._published(config, view, None), self.connect(config)
        if published is None:
            with telling(self.db_path(config)):
                return all_keys(conn, self.table_name(config, view))
        with telling_publication(published.path):
            found = read_keys(published.conn, view.name)
        with telling(self.db_path(config)):
            later = self.overlay(config, view, published.snapshot).keys(conn)
        return list(dict.fromkeys([*found, *later]))

    def vectors(
        self,
        config: RepoConfig,
        view: FeatureView,
        feature: str,
        snapshot: Snapshot | None = None,
    ) -> VectorTable:
        """Return all vectors of a feature, cached until the database changes."""
        tried = None
        while True:
            source = self._source(config, view, feature, snapshot)
            try:
                return self._cached(config, source)
            except FileNotFoundError as error:
                # As in `publication`.
                if source.path == tried:
                    raise damaged_publication(source.path, "it is gone") from error
                tried = source.path

    def _source(
        self,
        config: RepoConfig,
        view: FeatureView,
        feature: str,
        snapshot: Snapshot | None,
    ) -> Source:
        source = Source(self.table_name(config, view), Place.of(view, feature))
        published = self._published(config, view, snapshot)
        if published is None:
            return source
        overlay = self.overlay(config, view, published.snapshot)
        return source._replace(overlay=overlay, path=published.path)

    def _cached(self, config: RepoConfig, source: Source) -> VectorTable:
        with telling(self.db_path(config)):
            conn = self.connect(config)
            cache = self._cache = shared_cache(self._cache_name(config))
            return cache.get(conn, lambda: self.open(config), source)


@lru_cache(maxsize=64)  # more than are open at once; each look asks the file system
def _database_of(folder: Path, name: str) -> str:
    """Return the file that an absolute or a relative path leads to."""
    path = os.path.join(folder, name)
    return os.path.realpath(path) if os.path.islink(path) else path
