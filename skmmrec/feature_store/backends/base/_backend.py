"""What publishing and serving ask of an online store, whatever its engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import pandas as pd
from feast import FeatureStore, FeatureView

from ._batch import Batch
from ._search import VectorTable
from ._snapshot import Snapshot
from ._types import Features


class Row(NamedTuple):
    """Serialized features of one entity."""

    key: bytes
    features: Features
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
    def sole_publisher(self, timeout: float) -> AbstractContextManager[None]:
        """Keep other publishers out; the lock ends with the process."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other recorders out, and write all or nothing."""

    @abstractmethod
    def state(self, state: str) -> Snapshot | None:
        """Return the snapshot in state "served" or "staged"."""

    @abstractmethod
    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Make room for a new snapshot of some views."""

    def stage(
        self,
        view: FeatureView,
        batch: Batch,
        event_us: int,
        chunk_size: int,
        advance: Callable[[int], object],
    ) -> None:
        """Write what is not staged yet, each chunk all or nothing.

        Parameters
        ----------
        view : feast.FeatureView
        batch : Batch
        event_us : int
            Event time of all rows, microseconds since the epoch.
        chunk_size : int
            Entities to write at a time.
        advance : callable
            Told of each number of entities that is done.
        """
        done, n = self.count_staged(view), len(batch.ids)
        advance(done)
        for start in range(done, n, chunk_size):
            rows = range(start, min(start + chunk_size, n))
            self.stage_rows(view, batch, rows, event_us)
            advance(len(rows))

    @abstractmethod
    def count_staged(self, view: FeatureView) -> int:
        """Count the entities that are staged already."""

    @abstractmethod
    def stage_rows(
        self, view: FeatureView, batch: Batch, rows: range, event_us: int
    ) -> None:
        """Stage some entities of a batch, all or nothing."""

    @abstractmethod
    def serve(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Put what is staged in the place of what is served, at once."""

    @abstractmethod
    def discard(self) -> None:
        """Forget an interrupted publication."""

    @abstractmethod
    def read(
        self, view: FeatureView, keys: Sequence[bytes], features: Sequence[str]
    ) -> dict[bytes, Features]:
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
