"""Feast's Redis online store, made exact."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Literal

from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.redis import (
    RedisOnlineStore,
    RedisOnlineStoreConfig,
)
from feast.repo_config import RepoConfig
from pydantic import ConfigDict, field_validator
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from skmmrec.feature_store.backends.base import (
    PUBLISHED_VIEWS,
    Cells,
    ContentSettings,
    ExactOnlineStore,
    Place,
    Row,
    Snapshot,
    VectorTable,
    WriteRow,
    fresh_cells,
    oldest_us,
    tcp_options,
    to_us,
    vector_table,
)

from ._feast import FeastHashes
from ._names import Names
from ._server import Server
from ._tables import Tables
from ._vectors import Vectors

TYPE: Final = "skmmrec.feature_store.ExactRedisOnlineStore"

# A host and a port.
_SERVER = re.compile(r"[\w.-]+:[0-9]{1,5}")

# A command is repeated where the connection is lost, after 0.1, 0.2, 0.4 and 0.5 s: who
# waits for an answer is told after a second that there is no server. The client's own
# pauses come to ten seconds and more, the time that a service has for a request.
_SHORTEST, _LONGEST, _RETRIES = 0.05, 0.5, 4
# Settings of connections where ``connection_string`` does not have them. Two seconds
# are enough to ask for a connection twice; a server that takes half a minute for a
# command, each of which needs milliseconds, is stopped.
_CONNECTION = {
    "socket_connect_timeout": 2.0,
    "socket_timeout": 30.0,
    "socket_keepalive": True,
    "socket_keepalive_options": tcp_options(),
}


class ExactRedisOnlineStoreConfig(ContentSettings, RedisOnlineStoreConfig):
    """Settings of `ExactRedisOnlineStore` in ``feature_store.yaml``.

    All others are Feast's: `connection_string`, `sentinel_master`, and so on.

    Parameters
    ----------
    type : str
        "skmmrec.feature_store.ExactRedisOnlineStore".
    redis_type : {"redis", "redis_sentinel"}
        A cluster spreads a model over servers that cannot be read or swapped at once.
    client : {"redis"}
        Feast's ``glide`` reads Feast's own hashes only.
    key_ttl_seconds : int, optional
        As in Feast, but for the published views: what is served stays until another
        publication is served.
    skip_dedup : False
        Writes are always in the order of event times.
    text_encoder : TextSearch, optional
        Answers searches by a text: its ``model``, and the ``feature`` to compare with.
    encoders : dict of str to ContentEncoder, optional
        What the vectors of `publish` were made by, by their name: a ``kind`` (text,
        image, audio or video), and parameters of that encoder. `skmmrec.service`
        answers words and files by them.
    """

    # Else an error of one field would show others, which may hold a password.
    model_config = ConfigDict(hide_input_in_errors=True)

    type: Literal["skmmrec.feature_store.ExactRedisOnlineStore"] = TYPE  # type: ignore[assignment]

    @field_validator("redis_type", "client", "skip_dedup")
    @classmethod
    def _supported(cls, value: Any, info: Any) -> Any:
        text = getattr(value, "value", value)
        if text not in _SUPPORTED[info.field_name]:
            raise ValueError(_REFUSALS[info.field_name])
        return value


_SUPPORTED: dict[str | None, tuple[object, ...]] = {
    "redis_type": ("redis", "redis_sentinel"),
    "client": ("redis",),
    "skip_dedup": (False,),
}
_REFUSALS: dict[str | None, str] = {
    "redis_type": "redis_type redis_cluster cannot swap models at once; use a single "
    "server, or redis_sentinel",
    "client": "client glide reads Feast's own hashes only, not what is published; "
    "leave it out, or write client: redis",
    "skip_dedup": "skip_dedup would let older values overwrite newer ones; leave it "
    "out",
}


class ExactRedisOnlineStore(ExactOnlineStore, RedisOnlineStore):
    """Feast's Redis store with exact search, ordered writes and expiry.

    Name it in ``feature_store.yaml``::

        online_store:
          type: skmmrec.feature_store.ExactRedisOnlineStore
          connection_string: localhost:6379

    Redis 6.2 or newer is needed, and ``maxmemory-policy noeviction`` recommended: under
    the policies ``allkeys-...`` the server may throw away what is served, which is then
    reported as a `DamagedStoreError`. A replica serves reads.

    Notes
    -----
    Rows of the published views are in entries that begin with ``skmmrec/``, also those
    that Feast pushes or materializes; those of all other views are where Feast's own
    class has them. All writers must use this class.
    """

    backend_type: ClassVar[str] = TYPE

    _parts: tuple[Tables, Vectors, FeastHashes] | None = None

    def parts(self, config: RepoConfig) -> tuple[Tables, Vectors, FeastHashes]:
        """Return what is published, vectors in memory, and Feast's own hashes."""
        if self._parts is None:
            client = self._get_client(config.online_store)
            _notice_silence(client)
            client.set_retry(Retry(ExponentialBackoff(_LONGEST, _SHORTEST), _RETRIES))
            server = Server(client, _place(config.online_store.connection_string))
            names = Names(config.project)
            tables = Tables(server, names)
            feast = FeastHashes(server, names, config)
            self._parts = tables, Vectors(tables), feast
        return self._parts

    def tables(self, config: RepoConfig) -> Tables:
        """Return what is published."""
        return self.parts(config)[0]

    def feast(self, config: RepoConfig) -> FeastHashes:
        """Return Feast's own hashes."""
        return self.parts(config)[2]

    def served(self, config: RepoConfig) -> Snapshot | None:
        """Return the publication that is served."""
        return self.tables(config).served()

    def read_values(
        self,
        config: RepoConfig,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str] | None = None,
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, Cells]:
        """Return values that have not expired, by key and feature (None: all)."""
        names = [f.name for f in view.features] if features is None else features
        if view.name in PUBLISHED_VIEWS:
            found = self.tables(config).read(view.name, keys, names, snapshot)
        else:
            found = self.feast(config).read(view, keys, names)
        oldest = oldest_us(view)
        return found if oldest is None else fresh_cells(found, oldest)

    def keys(self, config: RepoConfig, view: FeatureView) -> list[bytes]:
        """Return the keys of all entities of a view: of those published, the served."""
        if view.name not in PUBLISHED_VIEWS:
            return self.feast(config).keys(view)
        tables = self.tables(config)
        snapshot = tables.served()
        found = set(tables.later.keys(view.name, snapshot))
        if snapshot is not None:
            found.update(tables.keys(view.name, snapshot))
        return list(found)

    def vectors(
        self,
        config: RepoConfig,
        view: FeatureView,
        feature: str,
        snapshot: Snapshot | None = None,
    ) -> VectorTable:
        """Return all vectors of a feature; of published views, kept in memory."""
        if view.name in PUBLISHED_VIEWS:
            return self.parts(config)[1].get(view, feature, snapshot)
        feast = self.feast(config)
        found = feast.read(view, feast.keys(view), [feature])
        rows = [(key, *row[feature]) for key, row in found.items() if feature in row]
        return vector_table(Place.of(view, feature), rows, None)

    def write_newer(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: Sequence[WriteRow],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write rows; a value with a newer event time stays."""
        if table.name not in PUBLISHED_VIEWS:
            self.feast(config).write(table, data, progress)
            return
        version = config.entity_key_serialization_version
        rows = [_row(row, version) for row in data]
        self.tables(config).put_newer(table, rows)
        if progress:
            progress(len(rows))

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[WriteRow],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write rows in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def delete_table(self, config: RepoConfig, table: FeatureView) -> None:
        """Delete what Feast wrote of a view (called by ``feast apply``)."""
        self.feast(config).delete_all(table)
        if table.name in PUBLISHED_VIEWS:
            self.tables(config).later.delete_all(table.name)

    def delete_entity_values(self, config: RepoConfig, join_keys: list[str]) -> None:
        """Delete all rows of this project's entities with these join keys."""
        self.feast(config).delete_entities(join_keys)

    def teardown(
        self,
        config: RepoConfig,
        tables: Sequence[FeatureView],
        entities: Sequence[Entity],
    ) -> None:
        """Delete everything of the project (called by ``feast teardown``)."""
        super().teardown(config, tables, entities)
        self.tables(config).delete_all()


def _row(row: WriteRow, serialization: int) -> Row:
    entity_key, values, event, _ = row
    cells = {f: bytes(v.SerializeToString()) for f, v in values.items()}
    return Row(serialize_entity_key(entity_key, serialization), cells, to_us(event))


def _notice_silence(client: Redis) -> None:
    """Have connections end that nobody answers on; none has been opened yet."""
    pool = client.connection_pool
    sentinel = getattr(pool, "sentinel_manager", None)
    asked = [] if sentinel is None else sentinel.sentinels
    pools = [pool, *(each.connection_pool for each in asked)]
    for settings in (each.connection_kwargs for each in pools):
        for name, value in _CONNECTION.items():
            if settings.get(name) is None:
                settings[name] = value


def _place(connection: str) -> str:
    """Hosts and ports of a connection string, and nothing that could be a password.

    A password may have commas, or stand in a URL, which Feast does not read.
    """
    parts = (part.strip() for part in connection.split(","))
    return ",".join(filter(_SERVER.fullmatch, parts)) or "the given address"
