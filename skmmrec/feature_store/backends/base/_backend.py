"""What publishing and serving ask of an online store, whatever its engine.

The rows of each publication are written once, beside those of the others, and are
never changed but by `Backend.delete` and `Backend.change`. A pointer, the record of
what is served, chooses between them. Whatever is written afterwards (by `record`,
`add_items`, or by Feast's own `push` and `materialize`) goes to Feast's own tables and
counts, cell by cell in the place of the published values, as long as its row belongs to
the publication that is served: see `Snapshot.owns`. So neither a publication nor a
rollback copies or locks what is served, and nothing that is written later can bring
back rows of another model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from feast import FeatureStore, FeatureView

from ._batch import Rows
from ._cache import vector_table
from ._checksum import Checksum
from ._damage import Place
from ._feedback import EVENTS_PER_PAGE
from ._online_store import Cells, ExactOnlineStore
from ._search import VectorTable
from ._snapshot import Snapshot
from ._types import Features


class Row(NamedTuple):
    """Serialized features of one entity."""

    key: bytes
    features: Features
    event_us: int


class Event(NamedTuple):
    """One event of feedback.

    Attributes
    ----------
    user_key, item_key : bytes
        Serialized ids.
    y : float
    event_us : int
        When it was recorded, by the recorder's clock. Nothing depends on it:
        `feedback_frame` gives times that do not go back.
    pushed : bytes or None
        Key of the pushed event that this is. No two events have the same.
    """

    user_key: bytes
    item_key: bytes
    y: float
    event_us: int
    pushed: bytes | None = None


class Backend(ABC):
    """One online store, spoken to in serialized keys and values.

    Parameters
    ----------
    store : feast.FeatureStore

    Notes
    -----
    Keys and values have the bytes that Feast gives them, so that whatever is written
    here is read by Feast and the other way round.

    Whatever is read of a publication has its `Snapshot.served_us` as its event time.
    What goes wrong is a `StoreError` that names the place and what to do:
    `DamagedStoreError`, `FullStoreError`, `ReadOnlyStoreError` or `BusyStoreError`.
    """

    online: ExactOnlineStore

    def __init__(self, store: FeatureStore) -> None:
        self.config = store.config
        self.project = store.project
        self.online = cast(ExactOnlineStore, store.provider.online_store)

    # Locks

    @abstractmethod
    def sole_publisher(self, timeout: float) -> AbstractContextManager[None]:
        """Keep other publishers out; the lock ends with the process.

        Raises
        ------
        TimeoutError
            After `timeout` seconds.
        """

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other recorders and `serve` out, and write all or nothing."""

    # Publications. All but `publications`, `served` and `rows` are for the sole
    # publisher.

    @abstractmethod
    def publications(self) -> list[Snapshot]:
        """Return those that can be served, the earliest number first."""

    def served(self) -> Snapshot | None:
        """Return the one that is served."""
        return self.online.served(self.config)

    @abstractmethod
    def staged(self) -> Snapshot | None:
        """Return the one that is being written, or that a killed process left."""

    @abstractmethod
    def begin(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Make room for a new publication; what was staged before is discarded."""

    def stage(
        self,
        view: FeatureView,
        batch: Rows,
        chunk_size: int,
        advance: Callable[[int], object],
    ) -> str:
        """Write what is not staged yet, in the order of the keys, chunk by chunk.

        Parameters
        ----------
        view : feast.FeatureView
        batch : Rows
        chunk_size : int
            Entities to write at a time.
        advance : callable
            Told of each number of entities that is done.

        Returns
        -------
        str
            Checksum of all rows, those that were staged before among them.
        """
        done, checksum = self.count_staged(view), Checksum()
        for keys, columns in batch.serialized_chunks(chunk_size, done):
            checksum.update(keys, columns)
            if done > 0:
                done -= len(keys)
            else:
                self.stage_rows(view, keys, columns)
            advance(len(keys))
        return checksum.hexdigest()

    @abstractmethod
    def count_staged(self, view: FeatureView) -> int:
        """Count the entities that are staged already."""

    @abstractmethod
    def stage_rows(
        self,
        view: FeatureView,
        keys: Sequence[bytes],
        columns: Sequence[tuple[str, list[bytes]]],
    ) -> None:
        """Stage some entities, all or nothing.

        Parameters
        ----------
        view : feast.FeatureView
        keys : sequence of bytes
            In ascending order, after all those that are staged already.
        columns : sequence of (str, list of bytes)
            Each feature with its serialized values; empty where there is none.
        """

    @abstractmethod
    def complete(self, views: Sequence[FeatureView], snapshot: Snapshot) -> None:
        """Make a publication of what is staged, which is not served yet.

        Whatever takes long is done here, where nobody waits for it.
        """

    @abstractmethod
    def serve(self, snapshot: Snapshot) -> None:
        """Serve a publication, at once: move the pointer in one short transaction.

        What was written before and would count as its own goes, whatever its time: it
        was written to another publication of this version, by whichever clock.

        Parameters
        ----------
        snapshot : Snapshot
            One of `publications`, by its number; what else it says is recorded.
        """

    @abstractmethod
    def drop(self, number: int) -> None:
        """Forget a publication that is not served, and free its space."""

    @abstractmethod
    def discard(self) -> None:
        """Forget what is staged, and free its space.

        Also that which a killed process left of `begin`, `complete` or `drop`, and rows
        in Feast's own tables of the published views that do not belong to what is
        served.
        """

    @abstractmethod
    def rows(self, view: FeatureView, snapshot: Snapshot) -> Iterator[list[Row]]:
        """Return the rows of a publication as they were published, in parts.

        They come in the order of the keys, with all their features; those that are
        empty may be left out.

        Raises
        ------
        LookupError
            When `snapshot` has been dropped.
        DamagedStoreError
            When rows cannot be read.
        """

    def copied_vectors(
        self, view: FeatureView, snapshot: Snapshot
    ) -> Iterator[tuple[list[bytes], np.ndarray]]:
        """Return keys and vectors that an engine keeps once more, beside the rows.

        These are `ITEM_VECTOR` of `ITEM_VIEW`, in the order of the keys, in parts; none
        where rows are read instead. An engine that compares both in `rows` needs to
        return none either.

        Raises
        ------
        LookupError, DamagedStoreError
            As `rows` does.
        """
        return iter(())

    # Reading and writing

    def read(
        self,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str],
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, Features]:
        """Return serialized values that have not expired, by key and feature.

        Parameters
        ----------
        view : feast.FeatureView
            Any view. Of those that are published, what is served.
        keys : sequence of bytes
        features : sequence of str
        snapshot : Snapshot, optional
            Read this publication rather than what is served by now.

        Raises
        ------
        LookupError
            When `snapshot` has been dropped.
        """
        found = self.cells(view, keys, features, snapshot)
        return {
            key: {name: value for name, (value, _) in row.items()}
            for key, row in found.items()
        }

    def cells(
        self,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str],
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, Cells]:
        """Return the same as `read`, each value with its event time (us)."""
        return self.online.read_values(self.config, view, keys, features, snapshot)

    def read_column(
        self,
        view: FeatureView,
        keys: Sequence[bytes],
        feature: str,
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, bytes]:
        """Return serialized values of one feature, by key."""
        rows = self.read(view, keys, [feature], snapshot)
        return {key: row[feature] for key, row in rows.items() if feature in row}

    def has_rows(self, view: FeatureView) -> bool:
        """Tell whether rows of a view may be stored: some views are offline alone."""
        return True

    @abstractmethod
    def keys(self, view: FeatureView) -> list[bytes]:
        """Return the keys of all entities of a view: of those published, the served."""

    def vectors(
        self, view: FeatureView, feature: str, snapshot: Snapshot | None = None
    ) -> VectorTable:
        """Return all vectors of a feature, in memory until they change.

        The table's `version` is that of the publication; None where nothing is
        published, and then the table is empty.
        """
        snapshot = snapshot or self.served()
        if snapshot is None:
            return vector_table(Place.of(view, feature), [], None)
        return self.online.vectors(self.config, view, feature, snapshot)

    @abstractmethod
    def write(self, view: FeatureView, rows: Sequence[Row]) -> None:
        """Write rows of a published view, to be read in the place of those before.

        Their event times are those given, but later than what they replace and than
        the publication that is served: whose clock is behind is served all the same.
        Rows of other models, whatever their times, are replaced as if they were not
        there.
        """

    @abstractmethod
    def delete(self, view: FeatureView, keys: Sequence[bytes]) -> None:
        """Remove the rows of some entities, from all publications too."""

    def check_later(self, view: FeatureView) -> None:  # noqa: B027 - most need nothing
        """Raise a DamagedStoreError where rows that were written since are lost.

        An engine that never loses a part of what it has does nothing.
        """

    @abstractmethod
    def change(
        self, view: FeatureView, feature: str, change: Callable[[bytes], bytes | None]
    ) -> None:
        """Change the values of a feature wherever `change` gives another one.

        In all publications too. Checksums of what was changed are made anew, here and
        in `delete`.
        """

    # Feedback: events have sequence numbers, from 1, in the order in which they came.

    @abstractmethod
    def append_feedback(self, event: Event) -> bool:
        """Keep one event, inside `exclusive`; False if it was kept already."""

    @abstractmethod
    def feedback(self, after: int, limit: int | None = None) -> pd.DataFrame:
        """Return the first events after a sequence number, in their order.

        There are at most `limit` of them; None: all.
        """

    def feedback_pages(self) -> Iterator[pd.DataFrame]:
        """Return all events, in parts of bounded size."""
        after = 0
        while len(page := self.feedback(after, EVENTS_PER_PAGE)):
            yield page
            after = int(page.index[-1])

    def check_feedback(self) -> None:
        """Raise a DamagedStoreError where recorded events cannot be read."""
        for _ in self.feedback_pages():
            pass

    @abstractmethod
    def last_event(self) -> int:
        """Return the highest sequence number so far, 0 before the first event.

        Also when the event has been pruned or deleted since.
        """

    @abstractmethod
    def recorded(self, pushed: Sequence[bytes], until: int | None = None) -> set[bytes]:
        """Return which pushed events have been kept, up to a sequence number."""

    @abstractmethod
    def prune_feedback(self, until: int) -> int:
        """Forget and count the events up to a sequence number.

        Numbers are never used again.
        """

    @abstractmethod
    def delete_feedback(self, join_key: str, keys: Sequence[bytes]) -> None:
        """Remove all events of some users or items."""
