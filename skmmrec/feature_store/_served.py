"""What the online store holds of the model that is served."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np
import pandas as pd
from feast import FeatureStore, FeatureView
from numpy.typing import ArrayLike

from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    DISLIKED,
    EVENT,
    EVENT_ITEM,
    EVENT_USER,
    EVENT_VIEW,
    EVENT_Y,
    HISTORY_SIZE,
    ITEM_VECTOR,
    ITEM_VERSION,
    ITEM_VIEW,
    SEEN,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
    Cells,
    Column,
    Event,
    Features,
    Id,
    Place,
    Row,
    Snapshot,
    UnknownIdError,
    VectorTable,
    entity_keys,
    has_numbers,
    key_ids,
    pack_ids,
    pack_int,
    pack_text,
    pack_vectors,
    parsed_vectors,
    unpack,
)
from skmmrec.interactions import ITEM, USER, unmasked

from ._clock import now_us
from ._conditions import Conditions
from ._fold_in import HistorySum
from ._folding import FoldingModel, ModelReader
from ._handover import Handover, is_same
from ._memory import StoredMemory
from ._publications import nothing_served
from ._ranking import (
    User,
    after_event,
    bias_user,
    positions,
    rows_of_ids,
    users_of,
)
from ._reader import checked_ids, id_type, read_features
from ._repo import feature_view, forget_views
from ._types import SingleId

# A second attempt is needed only if the publication that is read is dropped meanwhile,
# by one that follows; five in a row mean that somebody publishes without pause.
_ATTEMPTS = 5

T = TypeVar("T")


class ServedModel:
    """Users, items and events of the served model, in the online store.

    Parameters
    ----------
    store : FeatureStore
        With an online store of a kind that there is a backend for.
    model : FoldingModel or None
        Makes users where they are no sums of their items' vectors.

    Raises
    ------
    TypeError
        When the store is of another kind.
    """

    def __init__(self, store: FeatureStore, model: FoldingModel | None = None) -> None:
        self.store = store
        self.model = model
        self.backend = backend_of(store)
        self._handover = Handover()
        self._items: VectorTable | None = None  # those of the last request
        # Publications whose features are known: what is read, and what comes next.
        self._known: tuple[tuple[int, int], ...] = ()

    @property
    def user_view(self) -> FeatureView:
        """Feature view of the users."""
        return feature_view(self.store, USER_VIEW)

    @property
    def item_view(self) -> FeatureView:
        """Feature view of the items."""
        return feature_view(self.store, ITEM_VIEW)

    def served(self) -> Snapshot:
        """Return what is served; raise a LookupError if nothing is."""
        served = self.backend.served()
        if served is None:
            raise nothing_served(self.store, self.backend)
        return served

    def snapshot(self) -> Snapshot:
        """Return the publication to read: what is served, once it is in memory.

        See `Handover`; raise a LookupError if nothing is published.
        """
        snapshot = self._handover.read(self.served, self._load)
        self._know_features(snapshot)
        return snapshot

    def adopt(self, snapshot: Snapshot) -> Snapshot:
        """Read what is served from now on, as it has been written to."""
        self._know_features(snapshot)
        return self._handover.adopt(snapshot)

    def _know_features(self, snapshot: Snapshot) -> None:
        """Read feature views again: a publication may bring features of its own."""
        named = snapshot.number, snapshot.served_us
        if named not in self._known:
            forget_views(self.store)
            self._known = (*self._known[-1:], named)

    def _load(self, snapshot: Snapshot) -> None:
        """Read into memory what requests ask for, and what those before asked for."""
        self._know_features(snapshot)
        before, table = self._items, self.items(snapshot)
        conditions = self.conditions(table, snapshot)
        for name in [] if before is None else list(before.kept):
            if isinstance(name, str):
                with suppress(ValueError):  # it is gone, as its requests will say
                    conditions.of(name)
        table.max_norm  # noqa: B018 -- it is kept, too
        self.user_view  # noqa: B018

    def conditions(self, table: VectorTable, snapshot: Snapshot) -> Conditions:
        """Return what chooses among the items of a publication."""
        return Conditions(self.backend, self.item_view, table, snapshot)

    def pinned(self, read: Callable[[Snapshot], T], current: bool = False) -> T:
        """Read one publication: all that `read` asks for is of the one it is given.

        It is called again, for what is served then, where it fails and another one is
        served, as its publication may have been dropped, or lack what the other has.

        If `current`, what is served is read, also while that is not in memory.
        """
        for _ in range(_ATTEMPTS - 1):
            snapshot = self.adopt(self.served()) if current else self.snapshot()
            try:
                return read(snapshot)
            except Exception:
                current = True
                if is_same(self.served(), snapshot):
                    raise
        return read(self.adopt(self.served()))

    def items(self, snapshot: Snapshot | None = None) -> VectorTable:
        """Return all items, from memory while their table does not change.

        Of a publication, or of what is served now.
        """
        self._items = self.backend.vectors(self.item_view, ITEM_VECTOR, snapshot)
        return self._items

    def memory(self, table: VectorTable, snapshot: Snapshot) -> StoredMemory | None:
        """Return what the items of a publication say of each other, if they do."""
        if snapshot.memory_exponent is None:
            return None
        return StoredMemory(self.backend, self.item_view, table, snapshot)

    def users(self, ids: list[Id], snapshot: Snapshot, length: int) -> dict[Id, User]:
        """Read users by vectors of a length (0: any); unknown ones are left out."""
        features = [USER_VECTOR, USER_VERSION, SEEN, HISTORY_SIZE, DISLIKED]
        rows = read_features(self.store, self.user_view, ids, features, snapshot)
        return users_of(ids, rows, snapshot.version, length or None)

    def write_items(
        self,
        ids: list[Id],
        matrix: np.ndarray,
        snapshot: Snapshot,
        columns: Sequence[Column],
    ) -> None:
        """Add items to what is served, which the caller holds by `exclusive`.

        The last column of (n, dim) vectors is their bias; `columns` are what else is
        known of them.
        """
        rows: list[Features] = [
            {ITEM_VECTOR: vector, ITEM_VERSION: pack_text(snapshot.version)}
            for vector in pack_vectors(matrix)
        ]
        for column in columns:
            for row, value in zip(rows, column.packed(), strict=True):
                if value:
                    row[column.name] = value
        self._write(self.item_view, ids, rows)

    def record(
        self, user: SingleId, item: SingleId, y: float, pushed: bytes | None = None
    ) -> bool | None:
        """Keep an event, and move the user's vector; see `OnlineRecommender.record`.

        `pushed` is the key of the pushed event that this is, which is then deleted. The
        result is None if it was recorded before: nothing is done then.
        """
        [user_id] = checked_ids(self.user_view, [user])
        [item_id] = checked_ids(self.item_view, [item])
        lists = self._items is not None  # what answers lists is in memory
        if lists:
            self.pinned(self.items, current=True)  # while nobody waits for it
        [user_key], [item_key] = (
            entity_keys(USER, [user_id]),
            entity_keys(ITEM, [item_id]),
        )
        event = Event(user_key, item_key, y, now_us(), pushed)
        with self.backend.exclusive():
            snapshot = self.served()
            self._know_features(snapshot)
            if lists:
                self._handover.adopt(snapshot)
            vector = self._item_vector(item_id, snapshot)
            if pushed is not None:
                self.backend.delete(feature_view(self.store, EVENT_VIEW), [pushed])
            if not self.backend.append_feedback(event):
                return None
            known = self.users([user_id], snapshot, len(vector))
            before = known.get(user_id) or self.newcomer(user_id, len(vector), snapshot)
            is_new = not known
            if item_id in before.seen or (is_new and self.folder(snapshot) is None):
                return False
            after = self.after(user_id, before, (item_id, vector), y, snapshot)
            self._write_user(user_id, after, snapshot)
        return y > 0 and (
            after.vector is not before.vector or snapshot.memory_exponent is not None
        )

    def folder(self, snapshot: Snapshot) -> HistorySum | ModelReader | None:
        """Return what makes users of their histories; None if nothing here does."""
        history_sum = history_sum_of(snapshot)
        if history_sum is not None or self.model is None:
            return history_sum
        return self.model.of(snapshot.version)

    def newcomer(self, user_id: Id, length: int, snapshot: Snapshot) -> User:
        """Return a user without a history, of a vector of a length.

        A model has learned what such users are like; without one, the items' biases are
        all that is known.
        """
        user = bias_user(length)
        reader = None if self.model is None else self.model.of(snapshot.version)
        if reader is None:
            return user
        nothing = np.empty((0, length), np.float32)
        return user._replace(vector=reader.user(user_id, nothing))

    def required_folder(
        self, snapshot: Snapshot, consequence: str
    ) -> HistorySum | ModelReader:
        """Return what makes users; a ValueError if nothing here does."""
        folder = self.folder(snapshot)
        if folder is None:
            advice = (
                "without OnlineRecommender(model=), which takes this model or the "
                "folder that it was saved to"
            )
            return required_history_sum(snapshot, f"{consequence} {advice}")
        return folder

    def after(
        self,
        user_id: Id,
        user: User,
        item: tuple[Id, np.ndarray],
        y: float,
        snapshot: Snapshot,
    ) -> User:
        """Return a user who has met one more item, given with its vector."""
        folder, moved = self.folder(snapshot), None
        if y > 0 and isinstance(folder, HistorySum):
            moved = folder.add(user.vector, user.history_size, item[1])
        elif y > 0 and isinstance(folder, ModelReader):
            n = len(user.history) if folder.n_latest is None else folder.n_latest - 1
            before = user.history[max(0, len(user.history) - n) :]
            vectors = self._known_vectors(before, snapshot)
            moved = folder.user(user_id, np.vstack([*vectors, item[1]]))
        return after_event(user, item[0], y, moved)

    def _known_vectors(self, items: list[Id], snapshot: Snapshot) -> list[np.ndarray]:
        """Vectors of the items that are there, from their rows alone."""
        view = self.item_view
        rows = read_features(self.store, view, items, [ITEM_VECTOR], snapshot)
        there = {
            item: row[ITEM_VECTOR]
            for item, row in zip(items, rows, strict=True)
            if has_numbers(row.get(ITEM_VECTOR))
        }
        names, place = list(there), Place.of(view, ITEM_VECTOR)
        return list(
            parsed_vectors(
                list(there.values()), lambda row, why: place.damaged(names[row], why)
            )
        )

    def record_pushed(self) -> int:
        """Record what was pushed; see `OnlineRecommender.record_pushed`."""
        view = feature_view(self.store, EVENT_VIEW)
        keys, columns = self._waiting(view), [EVENT_USER, EVENT_ITEM, EVENT_Y]
        rows, known = (
            self.backend.cells(view, keys, columns),
            self.pinned(self.items, current=True).ids,
        )
        recorded, broken = 0, []
        for key in sorted(rows, key=lambda key: (_latest_us(rows[key]), key)):
            values = {name: value for name, (value, _) in rows[key].items()}
            user, item, y = (unpack(values.get(name, b"")) for name in columns)
            if None in (user, item, y) or not math.isfinite(y):
                broken.append(key)
            elif len(positions(known, [item])):
                recorded += self.record(user, item, y, pushed=key) is not None
        if broken:
            warnings.warn(_left_message(broken), UserWarning, stacklevel=3)
        return recorded

    def _item_vector(self, item: Id, snapshot: Snapshot) -> np.ndarray:
        """Vector of an item, from its row alone; an UnknownIdError if there is none.

        Who only writes need not read all items. Where they are in memory, it takes as
        long to see whether they have changed.
        """
        view = self.item_view
        [row] = read_features(self.store, view, [item], [ITEM_VECTOR], snapshot)
        if not has_numbers(row.get(ITEM_VECTOR)):
            raise _no_vector(snapshot.version, item)
        place = Place.of(view, ITEM_VECTOR)
        return parsed_vectors(
            [row[ITEM_VECTOR]], lambda _, why: place.damaged(item, why)
        )[0]

    def _waiting(self, view: FeatureView) -> list[bytes]:
        """Keys of pushed events; those that were recorded before are removed.

        Feast brings them back from its offline store when it materializes.
        """
        keys = self.backend.keys(view)
        recorded = self.backend.recorded(keys)
        if recorded:
            self.backend.delete(view, sorted(recorded))
        return [key for key in keys if key not in recorded]

    def feedback(self, after: int = 0, limit: int | None = None) -> pd.DataFrame:
        """Return the first events that the served model has not taken in."""
        return self.backend.feedback(max(after, self.served().feedback), limit)

    def _write_user(self, user_id: Id, user: User, snapshot: Snapshot) -> None:
        kind = id_type(self.item_view)
        features = {
            USER_VECTOR: pack_vectors(user.vector[None])[0],
            USER_VERSION: pack_text(snapshot.version),
            SEEN: pack_ids(user.seen, kind),
            HISTORY_SIZE: pack_int(user.history_size),
        }
        if user.disliked:
            features[DISLIKED] = pack_ids(user.disliked, kind)
        self._write(self.user_view, [user_id], [features])

    def _write(
        self, view: FeatureView, ids: list[Id], features: list[Features]
    ) -> None:
        """Write rows; `Backend.write` dates them after what they replace."""
        now, keys = now_us(), entity_keys(view.join_keys[0], ids)
        rows = [Row(key, row, now) for key, row in zip(keys, features, strict=True)]
        self.backend.write(view, rows)


def history_sum_of(snapshot: Snapshot) -> HistorySum | None:
    """Return how users follow from their items; None if they do not."""
    if snapshot.exponent is None:
        return None
    return HistorySum(snapshot.exponent, snapshot.half_life)


def required_history_sum(snapshot: Snapshot, consequence: str) -> HistorySum:
    """Return how users follow from their items; a ValueError if they do not."""
    history_sum = history_sum_of(snapshot)
    if history_sum is None:
        raise ValueError(
            f"users of model version {snapshot.version!r} are not sums of their items' "
            f"vectors, so {consequence}"
        )
    return history_sum


def _left_message(keys: list[bytes]) -> str:
    return (
        f"{len(keys)} pushed events without a user, an item or a finite y were left, "
        f"such as {EVENT} {key_ids(EVENT, keys)[0]!r:.100}; push them again under the "
        "same id to mend them"
    )


def vectors_of(table: VectorTable, items: list[Id]) -> np.ndarray:
    """Vectors of items, (n, dim); an UnknownIdError names one without."""
    vectors: np.ndarray = table.matrix[rows_of(table, items)]
    return vectors


def rows_of(table: VectorTable, items: list[Id]) -> np.ndarray:
    """Rows of items; an UnknownIdError names one without."""
    rows = rows_of_ids(table.ids, items)
    absent = np.flatnonzero(rows < 0)
    if len(absent):
        raise _no_vector(table.version, items[absent[0]])
    return rows


def _latest_us(row: Cells) -> int:
    return max((event_us for _, event_us in row.values()), default=0)


def _no_vector(version: str | None, item: Id) -> UnknownIdError:
    return UnknownIdError(
        f"no vector of model version {version!r} for {ITEM} {item!r}",
        advice="publish a model that knows it, or add it by add_items",
    )


def item_matrix(
    ids: list[Id], vectors: ArrayLike, biases: ArrayLike, width: int
) -> np.ndarray:
    """Check the vectors of new items and append the biases as the last column."""
    n = len(ids)
    content = np.asarray(unmasked(vectors), np.float32)
    if content.shape != (n, width):
        raise ValueError(
            f"vectors of {n} ids must have shape ({n}, {width}), got {content.shape}"
        )
    column = np.asarray(unmasked(biases), np.float32)
    if column.shape not in ((), (n,)):
        raise ValueError(
            f"biases of {n} ids must be a number or have shape ({n},), "
            f"got {column.shape}"
        )
    matrix = np.column_stack([content, np.broadcast_to(column, n)])
    odd = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(odd):
        raise ValueError(
            f"vectors and biases must be finite, those of item {ids[odd[0]]!r:.100} "
            "are not"
        )
    return matrix
