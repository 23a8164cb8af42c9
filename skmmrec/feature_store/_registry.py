"""Feast's registry file: replaced whole, and made anew where it is damaged."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from feast import FeatureStore
from feast.infra.registry.file import FileRegistryStore
from feast.infra.registry.registry import REGISTRY_SCHEMA_VERSION
from feast.protos.feast.core.DataSource_pb2 import DataSource
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig
from google.protobuf.message import DecodeError, Message

from skmmrec.feature_store.backends.base import (
    EVENT_VIEW,
    PUBLISHED_VIEWS,
    DamagedStoreError,
)
from skmmrec.runtime import remove_abandoned, replacing, sync

from ._faults import DATA as DATA, followed, writing_to

_LOG = logging.getLogger("skmmrec.feature_store")


class AtomicFileRegistryStore(FileRegistryStore):
    """Feast's registry in one file, which readers see as it was or as it is.

    Name it in ``feature_store.yaml``::

        registry:
          path: data/registry.db
          registry_store_type: skmmrec.feature_store.AtomicFileRegistryStore

    Notes
    -----
    Feast 0.67 empties the file before it writes it. Who reads it then finds nothing
    registered, and a process that is killed then leaves it so.

    Feast registers absolute paths, and the file is copied and moved with the rest of a
    repository. Offline files in the folder that was left are read as those of the same
    names in the folder of this one.
    """

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        super().__init__(registry_config, repo_path)
        self._data = Path(repo_path).resolve() / DATA

    def get_registry_proto(self) -> Registry:
        """Read the file.

        Raises
        ------
        DamagedStoreError
            When it cannot be read.
        """
        try:
            registry: Registry = super().get_registry_proto()
            _refuse_empty(self._filepath)
        except DecodeError as error:
            raise DamagedStoreError(
                f"the registry {self._filepath} is damaged and cannot be read "
                f"({error}); restore it from a backup, or publish again, which "
                "registers what it needs anew"
            ) from error
        _rebase(registry, self._data)
        return registry

    def _write_registry(self, registry_proto: Registry) -> None:
        with writing_to(self._filepath):
            _write(followed(self._filepath), registry_proto)


def is_left_behind(path: Path, own: Path) -> bool:
    """Tell whether a registered file is that of a repository that this is a copy of.

    A file elsewhere that someone chose is in no folder of a repository's data.
    """
    if path.name != own.name or path.parent.name != DATA or path == own:
        return False
    if not path.parent.exists():
        return True
    is_repo = (path.parent.parent / "feature_store.yaml").is_file()
    is_same = own.parent.exists() and path.parent.samefile(own.parent)
    return is_repo and not is_same


def _rebase(registry: Registry, data: Path) -> None:
    """Put the folder of this repository's data in the place of one left behind."""
    names = (*PUBLISHED_VIEWS, EVENT_VIEW)
    views = [view.spec for view in registry.feature_views if view.spec.name in names]
    paths = {view.name: _path(view.batch_source) for view in views}
    left = {
        path.parent
        for name, path in paths.items()
        if path.is_absolute() and is_left_behind(path, data / f"{name}.parquet")
    }
    if left:
        for source in _sources(registry):
            path = _path(source)
            if path.parent not in left:
                continue
            if source.HasField("spark_options"):
                source.spark_options.path = str(data / path.name)
            else:
                source.file_options.uri = str(data / path.name)


def _path(source: DataSource) -> Path:
    """Return the file that a source reads, of Feast's two kinds for parquet files."""
    return Path(source.spark_options.path or source.file_options.uri)


def _sources(message: Message) -> Iterator[DataSource]:
    """Return all data sources in a message, wherever they are."""
    if isinstance(message, DataSource):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            values = value if isinstance(value, Sequence) else [value]
            for part in values:
                if isinstance(part, Message):
                    yield from _sources(part)


def registry_file(store: FeatureStore) -> Path | None:
    """Return the file of a repository's registry; None where it is in no file here."""
    config = store.config.registry
    if config.registry_type != "file" or urlparse(str(config.path)).scheme:
        return None
    return followed(Path(store.repo_path) / config.path)


def repair_registry(store: FeatureStore) -> None:
    """Set a registry file aside that cannot be read, and put an empty one in its place.

    What a writer that was killed left beside the file goes, too.
    """
    path = registry_file(store)
    if path is None:
        return
    if path.is_file() and not _is_registry(path):
        now = datetime.now(UTC)
        aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S%f}")
        os.replace(path, aside)
        _write(path, Registry(registry_schema_version=REGISTRY_SCHEMA_VERSION))
        _LOG.warning(
            "the registry %s was damaged; it is now in %s, and what publishing needs "
            "is registered anew. Run `feast apply` for everything else that was "
            "registered",
            path,
            aside,
        )
    for partial in path.parent.glob(f".{path.name}.*"):
        remove_abandoned(partial, Path.unlink)


def forget_versions(store: FeatureStore) -> None:
    """Have a SQL registry forget the versions of views that it no longer has.

    Feast 0.67 leaves them there when a project is torn down. A view that is registered
    under the name of such a one, by whatever command, then fails: there is a first
    version already.
    """
    if store.config.registry.registry_type != "sql":
        return
    from feast.infra.registry import sql
    from sqlalchemy import delete, select, union  # there where such a registry is

    tables = (
        sql.feature_views,
        sql.stream_feature_views,
        sql.on_demand_feature_views,
        sql.label_views,
    )
    known = union(
        *(
            select(table.c.feature_view_name).where(table.c.project_id == store.project)
            for table in tables
        )
    )
    kept = sql.feature_view_version_history
    is_lost = kept.c.feature_view_name.not_in(known)
    registry: Any = store.registry
    with registry.write_engine.begin() as conn:
        conn.execute(delete(kept).where(kept.c.project_id == store.project, is_lost))


def _refuse_empty(path: Path) -> None:
    """Refuse a file without a byte, which reads as a registry of nothing."""
    if not path.stat().st_size:
        raise DecodeError("it is empty")


def _is_registry(path: Path) -> bool:
    try:
        _refuse_empty(path)
        Registry.FromString(path.read_bytes())
    except DecodeError:
        return False
    return True


def _write(path: Path, registry: Registry) -> None:
    """Write beside the file, and swap the new one in at the end."""
    registry.version_id = str(uuid.uuid4())
    registry.last_updated.FromDatetime(datetime.now(UTC))
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as fresh:
        fresh.write_bytes(registry.SerializeToString())
        sync(fresh)
