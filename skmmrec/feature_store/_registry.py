"""Feast's registry file: replaced whole, and made anew where it is damaged."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlparse

from feast import FeatureStore
from feast.infra.registry.file import FileRegistryStore
from feast.infra.registry.registry import REGISTRY_SCHEMA_VERSION
from feast.protos.feast.core.Registry_pb2 import Registry
from google.protobuf.message import DecodeError

try:
    import fcntl
except ImportError:  # there is none on Windows, where partial files then stay
    fcntl = None  # type: ignore[assignment]

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
    """

    def _write_registry(self, registry_proto: Registry) -> None:
        _write(self._filepath, registry_proto)


def registry_file(store: FeatureStore) -> Path | None:
    """Return the file of a repository's registry; None where it is in no file here."""
    config = store.config.registry
    if config.registry_type != "file" or urlparse(str(config.path)).scheme:
        return None
    return Path(store.repo_path) / config.path


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
        _free(partial)


def _is_registry(path: Path) -> bool:
    try:
        Registry.FromString(path.read_bytes())
    except DecodeError:
        return False
    return True


def _write(path: Path, registry: Registry) -> None:
    """Write beside the file, and swap the new one in at the end."""
    registry.version_id = str(uuid.uuid4())
    registry.last_updated.FromDatetime(datetime.now(UTC))
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}.{registry.version_id}")
    try:
        with _claimed(partial):
            with open(partial, "wb") as file:
                file.write(registry.SerializeToString())
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _claimed(partial: Path) -> Iterator[None]:
    """Say that a file is being written, for as long as the process lives."""
    if fcntl is None:
        yield
        return
    with open(partial, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _free(partial: Path) -> None:
    """Remove a partial file whose writer is gone."""
    if fcntl is None:
        return
    try:
        with open(partial, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink(missing_ok=True)
    except (BlockingIOError, FileNotFoundError):
        return
