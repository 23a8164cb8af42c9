"""Publishing to and serving from Feast's Redis online store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from feast import FeatureStore, FeatureView
from feast.infra.online_stores.helpers import _mmh3, compute_versioned_name
from feast.infra.online_stores.redis import RedisOnlineStore

from skmmrec.feature_store.backends.base import (
    ITEM_VIEW,
    Backend,
    Batch,
    CachedVectors,
    Features,
    Row,
    Snapshot,
    VectorTable,
    chunks,
    entity_keys,
    feedback_frame,
    key_prefix,
    oldest_us,
    unpack,
    vector_table,
)
from skmmrec.interactions import USER

from ._format import (
    glob_literal,
    is_whole,
    read_event,
    read_snapshot,
    read_time,
    time_field,
    write_event,
    write_snapshot,
    write_time,
)
from ._swap import SWAP

# Seconds until a killed process loses its lease, which others wait for. A publisher
# renews it with each chunk, that is several times a second.
_LEASE = 30.0
# Commands in one go: about 1 MB of answers with vectors of 128 numbers.
_PIPELINE = 2000
# Keys in one step of a scan; Redis serves nobody else meanwhile, a few milliseconds.
_SCAN = 10_000


class RedisBackend(Backend):
    """Feast's hashes in one Redis server, replaced in one step.

    Notes
    -----
    The step blocks the server for about as long as it takes to list its keys. A cluster
    has no such step, so it is refused.
    """

    online: RedisOnlineStore

    def __init__(self, store: FeatureStore) -> None:
        super().__init__(store)
        if self.config.online_store.redis_type == "redis_cluster":
            raise ValueError(
                "redis_type redis_cluster cannot swap models at once; publish to a "
                "single server or to sentinels"
            )
        self._client: Any = self.online._get_client(self.config.online_store)
        self._swap = self._client.register_script(SWAP)
        self._cache = CachedVectors()
        self._local = threading.local()
        self._end = self.project.encode()

    def _own(self, name: str) -> bytes:
        """Name one of our own entries."""
        return f"skmmrec:{self.project}:{name}".encode()

    def _fields(self, view: FeatureView, features: Sequence[str]) -> list[bytes]:
        """Name the fields in which Feast keeps some features, and their time."""
        versioning = self.config.registry.enable_online_feature_view_versioning
        name = compute_versioned_name(view, versioning)
        return [
            *(_mmh3(f"{name}:{feature}") for feature in features),
            time_field(name),
        ]

    @contextmanager
    def sole_publisher(self, timeout: float) -> Iterator[None]:
        """Hold a lease, renewed by every chunk."""
        lock = self._client.lock(
            self._own("publish"), timeout=_LEASE, blocking_timeout=timeout
        )
        if not lock.acquire():
            raise TimeoutError(
                f"another process has been publishing to project {self.project!r} "
                f"for {timeout} s"
            )
        self._local.lease = lock
        try:
            yield
        finally:
            self._local.lease = None
            _release(lock)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lease of recorders; what is written waits for the end."""
        with self._client.lock(
            self._own("record"), timeout=_LEASE, blocking_timeout=_LEASE
        ):
            pipe = self._local.pipe = self._client.pipeline(transaction=True)
            try:
                yield
                pipe.execute()
            finally:
                self._local.pipe = None
                pipe.reset()

    def state(self, state: str) -> Snapshot | None:
        """Return the snapshot in a state."""
        text = self._client.hget(self._own("publication"), state)
        return None if text is None else read_snapshot(text)

    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Forget what was staged before."""
        self.discard()
        self._client.hset(self._own("publication"), "staged", write_snapshot(snapshot))

    def _staged(self, view: FeatureView) -> tuple[bytes, bytes]:
        """Name the list of staged keys, and what their names begin with."""
        return self._own(f"staged:{view.name}"), self._own(f"row:{view.name}:")

    def count_staged(self, view: FeatureView) -> int:
        """Count the staged keys."""
        return int(self._client.llen(self._staged(view)[0]))

    def stage_rows(
        self, view: FeatureView, batch: Batch, rows: range, event_us: int
    ) -> None:
        """Write hashes beside those that are served, in one transaction."""
        listed, stage = self._staged(view)
        stamp = write_time(event_us)
        ids = entity_keys(batch.join_key, batch.ids[rows.start : rows.stop])
        keys = [key + self._end for key in ids]
        serialized = batch.serialized(rows.start, rows.stop)
        with self._client.pipeline(transaction=True) as pipe:
            for key, row in zip(keys, serialized, strict=True):
                names, values = self._fields(view, list(row)), [*row.values(), stamp]
                pipe.hset(stage + key, mapping=dict(zip(names, values, strict=True)))
            pipe.rpush(listed, *keys)
            pipe.execute()
        self._local.lease.reacquire()

    def serve(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Swap all views and the state in one transaction."""
        ttl = self.config.online_store.key_ttl_seconds or 0
        with self.exclusive():
            pipe = self._local.pipe
            for view in views:
                listed, stage = self._staged(view)
                fields = self._fields(view, [field.name for field in view.features])
                start = len(key_prefix(view.join_keys[0]))
                self._swap(
                    keys=[listed],
                    args=[self._pattern(view), start, self._end, stage, ttl, *fields],
                    client=pipe,
                )
            pipe.hset(self._own("publication"), "served", write_snapshot(snapshot))
            pipe.hdel(self._own("publication"), "staged")
            pipe.hincrby(self._own("publication"), "changes", 1)

    def discard(self) -> None:
        """Delete staged hashes."""
        for listed in self._client.scan_iter(glob_literal(self._own("staged:")) + b"*"):
            view = listed.removeprefix(self._own("staged:")).decode()
            stage = self._own(f"row:{view}:")
            for part in chunks(self._client.lrange(listed, 0, -1), _PIPELINE):
                self._client.unlink(*(stage + key for key in part))
            self._client.unlink(listed)
        self._client.hdel(self._own("publication"), "staged")

    def read(
        self, view: FeatureView, keys: Sequence[bytes], features: Sequence[str]
    ) -> dict[bytes, Features]:
        """Read hashes by key."""
        oldest = oldest_us(view)
        found: dict[bytes, Features] = {}
        for key, (*values, time) in self._hashes(view, keys, features):
            if time is not None and (not oldest or read_time(time) >= oldest):
                row = zip(features, values, strict=True)
                found[key] = {name: v for name, v in row if v is not None}
        return found

    def _hashes(
        self, view: FeatureView, keys: Sequence[bytes], features: Sequence[str]
    ) -> Iterator[tuple[bytes, list[bytes | None]]]:
        names = self._fields(view, features)
        for part in chunks(keys, _PIPELINE):
            with self._client.pipeline(transaction=False) as pipe:
                for key in part:
                    pipe.hmget(key + self._end, names)
                yield from zip(part, pipe.execute(), strict=True)

    def keys(self, view: FeatureView) -> list[bytes]:
        """List the keys that have a time of this view."""
        found = self._client.scan_iter(self._pattern(view), count=_SCAN)
        start = len(key_prefix(view.join_keys[0]))
        keys = [key[: -len(self._end)] for key in set(found)]
        keys = [key for key in keys if is_whole(key, start)]
        return [key for key, values in self._hashes(view, keys, []) if values[0]]

    def _pattern(self, view: FeatureView) -> bytes:
        prefix = key_prefix(view.join_keys[0])
        return glob_literal(prefix) + b"*" + glob_literal(self._end)

    def vectors(self, view: FeatureView, feature: str, version: str) -> VectorTable:
        """Return the cached table of vectors."""
        return self._cache.get(view, feature, version, self._stamp, self._load)

    def _stamp(self) -> list[bytes | None]:
        fields = ["served", "changes"]
        return list(self._client.hmget(self._own("publication"), fields))

    def _load(
        self, view: FeatureView, feature: str, version: str
    ) -> tuple[object, VectorTable]:
        """Read all hashes; again if a model was swapped in meanwhile."""
        while True:
            stamp, served = self._stamp(), self.state("served")
            current = served.version if served else None
            hashes = self._hashes(view, self.keys(view), [feature, version])
            rows = [
                (key, vector, read_time(time))
                for key, (vector, tag, time) in hashes
                if vector and tag and time and unpack(tag) == current
            ]
            if self._stamp() == stamp:
                return stamp, vector_table(view.join_keys[0], rows, current)

    def write(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Write hashes: with the rest of `exclusive`, or each unless it is older."""
        pipe = getattr(self._local, "pipe", None)
        if pipe is not None:
            for row in rows:
                self._put(pipe, view, row)
            return
        for row in rows:
            key, [time] = row.key + self._end, self._fields(view, [])

            def put(
                pipe: Any, row: Row = row, key: bytes = key, time: bytes = time
            ) -> None:
                stored = pipe.hget(key, time)
                pipe.multi()
                if stored is None or read_time(stored) <= row.event_us:
                    self._put(pipe, view, row)

            self._client.transaction(put, key)

    def _put(self, pipe: Any, view: FeatureView, row: Row) -> None:
        key, names = row.key + self._end, self._fields(view, list(row.features))
        values = [*row.features.values(), write_time(row.event_us)]
        pipe.hset(key, mapping=dict(zip(names, values, strict=True)))
        if self.config.online_store.key_ttl_seconds:
            pipe.expire(key, self.config.online_store.key_ttl_seconds)
        if view.name == ITEM_VIEW:
            pipe.hincrby(self._own("publication"), "changes", 1)

    def delete(self, view: FeatureView, keys: Sequence[bytes]) -> None:
        """Delete the fields of a view; other views of the entity stay."""
        fields = self._fields(view, [field.name for field in view.features])
        pipe = getattr(self._local, "pipe", None)
        if pipe is not None:
            self._remove(pipe, keys, fields)
            return
        for part in chunks(keys, _PIPELINE):
            with self._client.pipeline(transaction=True) as pipe:
                self._remove(pipe, part, fields)
                pipe.hincrby(self._own("publication"), "changes", 1)
                pipe.execute()

    def _remove(self, pipe: Any, keys: Sequence[bytes], fields: list[bytes]) -> None:
        for key in keys:
            pipe.hdel(key + self._end, *fields)

    def change(
        self, view: FeatureView, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Update values under the lease of recorders."""
        [field, _] = self._fields(view, [feature])
        with self.exclusive():
            for key, (value, _) in self._hashes(view, self.keys(view), [feature]):
                new = change(value) if value is not None else None
                if new is not None:
                    self._local.pipe.hset(key + self._end, field, new)

    def append_feedback(
        self, user_key: bytes, item_key: bytes, y: float, event_us: int
    ) -> None:
        """Append one event, with the rest of `exclusive`."""
        event = write_event(user_key, item_key, y, event_us)
        self._local.pipe.rpush(self._own("feedback"), event)

    def feedback(self, since: int) -> pd.DataFrame:
        """Read events."""
        events = map(read_event, self._client.lrange(self._own("feedback"), 0, -1))
        return feedback_frame([event for event in events if event[3] >= since])

    def delete_feedback(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Keep the events of the others."""
        gone, column = set(keys), 0 if join_key == USER else 1
        with self.exclusive():
            events = self._client.lrange(self._own("feedback"), 0, -1)
            kept = [event for event in events if read_event(event)[column] not in gone]
            self._local.pipe.delete(self._own("feedback"))
            for part in chunks(kept, _PIPELINE):
                self._local.pipe.rpush(self._own("feedback"), *part)


def _release(lock: Any) -> None:
    """Release a lease, unless it ran out, as another process may hold it then."""
    if lock.owned():
        lock.release()
