"""What publishing and serving ask of an online store, whatever its engine."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from feast import FeatureStore, FeatureView

from skmmrec._ids import ITEM, TIME, USER

from ._batch import Batch
from ._encoding import key_ids, unpack, unpack_vectors
from ._search import VectorTable
from ._snapshot import Snapshot

_BACKENDS: WeakKeyDictionary[FeatureStore, Backend] = WeakKeyDictionary()
_LOCK = threading.Lock()


class Row(NamedTuple):
    """Serialized features of one entity."""

    key: bytes
    features: dict[str, bytes]
    event_us: int


class Backend(ABC):
    """One online store, spoken to in serialized keys and values.

    Parameters
    ----------
    store : feast.FeatureStore

    Notes
    -----
    Keys and values have the bytes that Feast gives them, so that whatever is written
    here is read by Feast and the other way round.
    """

    def __init__(self, store: FeatureStore) -> None:
        self.config = store.config
        self.project = store.project
        self.online = store.provider.online_store

    @abstractmethod
    def sole_publisher(self, timeout: float) -> AbstractContextManager[Any]:
        """Keep other publishers out; free when the process dies."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[Any]:
        """Keep other recorders out, and write all or nothing."""

    @abstractmethod
    def state(self, state: str) -> Snapshot | None:
        """Return the snapshot in state "served" or "staged"."""

    @abstractmethod
    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Make room for a new snapshot of some views."""

    @abstractmethod
    def stage(
        self,
        view: FeatureView,
        batch: Batch,
        when: datetime,
        chunk_size: int,
        advance: Callable[[int], Any],
    ) -> None:
        """Write what is not staged yet."""

    @abstractmethod
    def serve(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Put what is staged in the place of what is served, at once."""

    @abstractmethod
    def discard(self) -> None:
        """Forget a publication that was cut off."""

    @abstractmethod
    def read(
        self, view: FeatureView, keys: Sequence[bytes], features: Sequence[str]
    ) -> dict[bytes, dict[str, bytes]]:
        """Return serialized values that have not expired, by key and feature."""

    def read_column(
        self, view: FeatureView, keys: Sequence[bytes], feature: str
    ) -> dict[bytes, bytes]:
        """Return serialized values of one feature, by key."""
        rows = self.read(view, keys, [feature])
        return {key: row[feature] for key, row in rows.items() if feature in row}

    @abstractmethod
    def keys(self, view: FeatureView) -> list[bytes]:
        """Return the keys of all stored entities of a view."""

    @abstractmethod
    def vectors(self, view: FeatureView, feature: str, version: str) -> VectorTable:
        """Return all vectors of the model version that is served."""

    @abstractmethod
    def write(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Write rows; a value with a newer event time stays."""

    @abstractmethod
    def delete(self, view: FeatureView, keys: Sequence[bytes]) -> None:
        """Remove the rows of some entities."""

    @abstractmethod
    def change(
        self, view: FeatureView, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Change the values of a feature wherever `change` gives another one."""

    @abstractmethod
    def append_feedback(
        self, user_key: bytes, item_key: bytes, y: float, event_us: int
    ) -> None:
        """Keep one event."""

    @abstractmethod
    def feedback(self, since: int) -> pd.DataFrame:
        """Return events from `since` (microseconds) on, in the order they came."""

    @abstractmethod
    def delete_feedback(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Remove all events of some users or items."""


class CachedVectors:
    """Item vectors in memory, read again when a stamp says that they have changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[tuple[str, ...], tuple[Any, VectorTable]] = {}

    def get(
        self,
        source: tuple[str, ...],
        stamp: Callable[[], Any],
        load: Callable[[], tuple[Any, VectorTable]],
    ) -> VectorTable:
        """Return the table; `load` gives it with the stamp that it was read under."""
        current = stamp()
        found = self._tables.get(source)
        if found is None or found[0] != current:
            with self._lock:
                found = self._tables.get(source)
                if found is None or found[0] != current:
                    found = self._tables[source] = load()
        return found[1]


def vector_table(
    join_key: str, rows: Sequence[tuple[bytes, bytes, int]], version: str | None
) -> VectorTable:
    """Build a table from rows of key, vector and event time, sorted by id."""
    keys = [row[0] for row in rows]
    matrix = unpack_vectors([row[1] for row in rows])
    times = np.array([row[2] for row in rows], np.int64)
    table = VectorTable(keys, key_ids(join_key, keys), matrix, times, version)
    return table.take(np.argsort(table.ids, kind="stable"))


def feedback_frame(rows: Sequence[tuple[bytes, bytes, float, int]]) -> pd.DataFrame:
    """Build the table of events from rows of user key, item key, y and time (us)."""
    users, items, y, times = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pd.DataFrame(
        {
            USER: key_ids(USER, users),
            ITEM: key_ids(ITEM, items),
            "y": pd.Series(y, dtype=float),
            TIME: pd.to_datetime(pd.Series(times, dtype="int64"), unit="us", utc=True),
        }
    )


def text_of(value: bytes) -> str | None:
    """Content of a serialized string, which Feast also stores as text."""
    content = unpack(value)
    return content if isinstance(content, str) else None


def backend_of(store: FeatureStore) -> Backend:
    """Return the backend for a repository's online store.

    Raises
    ------
    TypeError
        For a kind of online store that cannot be served from.
    """
    with _LOCK:
        if store not in _BACKENDS:
            _BACKENDS[store] = _new_backend(store)
        return _BACKENDS[store]


def _new_backend(store: FeatureStore) -> Backend:
    from ._sqlite import TYPE, ExactSqliteOnlineStore

    kind = store.config.online_store.type
    if isinstance(store.provider.online_store, ExactSqliteOnlineStore):
        from ._sqlite_backend import SqliteBackend

        return SqliteBackend(store)
    if kind == "postgres":
        from ._postgres import PostgresBackend

        return PostgresBackend(store)
    if kind == "redis":
        from ._redis import RedisBackend

        return RedisBackend(store)
    raise TypeError(
        f"this needs an online_store of type {TYPE}, postgres or redis, got {kind}"
    )
