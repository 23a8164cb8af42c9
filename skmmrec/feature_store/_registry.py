"""Feast's registry file, replaced whole."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry


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
        registry_proto.version_id = str(uuid.uuid4())
        registry_proto.last_updated.FromDatetime(datetime.now(UTC))
        self._filepath.parent.mkdir(exist_ok=True)
        name = f".{self._filepath.name}.{registry_proto.version_id}"
        partial = self._filepath.with_name(name)
        try:
            with open(partial, "wb") as file:
                file.write(registry_proto.SerializeToString())
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self._filepath)
        finally:
            partial.unlink(missing_ok=True)
