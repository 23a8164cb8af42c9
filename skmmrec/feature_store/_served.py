"""What the online store holds of the model that is served."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from feast import FeatureStore, FeatureView
from numpy.typing import ArrayLike

from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    CATEGORY,
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
    Features,
    Id,
    Row,
    Snapshot,
    VectorTable,
    entity_keys,
    key_ids,
    pack_ids,
    pack_int,
    pack_text,
    pack_vectors,
    to_us,
    unpack,
)
from skmmrec.interactions import ITEM, USER

from ._fold_in import HistorySum
from ._ranking import (
    User,
    after_event,
    bias_user,
    positions,
    users_of,
)
from ._reader import checked_ids, id_type, read_features
from ._repo import feature_view
from ._types import SingleId

# A second attempt is needed only if a model is published between two reads; five in a
# row mean that somebody publishes without pause.
_ATTEMPTS = 5


class ServedModel:
    """Users, items and events of the served model, in the online store.

    Parameters
    ----------
    store : FeatureStore
        With an online store of a kind that there is a backend for.

    Raises
    ------
    TypeError
        When the store is of another kind.
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.backend = backend_of(store)

    @property
    def user_view(self) -> FeatureView:
        """Feature view of the users."""
        return feature_view(self.store, USER_VIEW)

    @property
    def item_view(self) -> FeatureView:
        """Feature view of the items."""
        return feature_view(self.store, ITEM_VIEW)

    def snapshot(self) -> Snapshot:
        """Return what is published; raise a LookupError if nothing is."""
        served = self.backend.state("served")
        if served is None:
            raise LookupError(f"nothing is published in {self.store.repo_path}")
        return served

    def history_sum(self) -> HistorySum | None:
        """Return how users follow from their items; None if they do not."""
        snapshot = self.snapshot()
        if snapshot.exponent is None:
            return None
        return HistorySum(snapshot.exponent, snapshot.half_life)

    def items(self) -> VectorTable:
        """Return all items, from memory while their table does not change."""
        return self.backend.vectors(self.item_view, ITEM_VECTOR, ITEM_VERSION)

    def with_users(self, ids: list[Id]) -> tuple[VectorTable, dict[Id, User]]:
        """Read items and users of one version, even if a new one is published now."""
        for _ in range(_ATTEMPTS):
            items = self.items()
            rows = self._user_rows(ids)
            versions = {unpack(row.get(USER_VERSION, b"")) for row in rows if row}
            if versions <= {items.version} or self.items().version == items.version:
                break
        return items, users_of(ids, rows, items.version)

    def write_items(
        self,
        ids: list[Id],
        matrix: np.ndarray,
        version: str | None,
        categories: Sequence[str | None],
    ) -> None:
        """Add items to a version; the last column of (n, dim) vectors is their bias."""
        rows = [
            {ITEM_VECTOR: vector, ITEM_VERSION: pack_text(str(version))}
            for vector in pack_vectors(matrix)
        ]
        for row, category in zip(rows, categories, strict=True):
            if category is not None:
                row[CATEGORY] = pack_text(category)
        self._write(self.item_view, ids, rows, to_us(datetime.now(UTC)))

    def record(
        self, user: SingleId, item: SingleId, y: float, event: bytes | None = None
    ) -> bool:
        """Keep an event, and move the user's vector; see `OnlineRecommender.record`.

        `event` is the key of the pushed event that this is, which is then deleted.
        """
        [user_id] = checked_ids(self.user_view, [user])
        [item_id] = checked_ids(self.item_view, [item])
        # These may prepare tables, which cannot wait for the transaction.
        self._user_rows([user_id])
        self.items()
        [user_key], [item_key] = (
            entity_keys(USER, [user_id]),
            entity_keys(ITEM, [item_id]),
        )
        with self.backend.exclusive():
            table, now = self.items(), to_us(datetime.now(UTC))
            vector = vectors_of(table, [item_id])[0]
            if event is not None:
                self.backend.delete(feature_view(self.store, EVENT_VIEW), [event])
            self.backend.append_feedback(user_key, item_key, y, now)
            known = users_of([user_id], self._user_rows([user_id]), table.version)
            before = known.get(user_id, bias_user(table))
            history_sum = self.history_sum()
            if item_id in before.seen or not (known or history_sum is not None):
                return False
            after = after_event(before, item_id, vector, y, history_sum)
            self._write_user(user_id, after, table, now)
        return after.history_size > before.history_size

    def record_pushed(self) -> int:
        """Record what was pushed; see `OnlineRecommender.record_pushed`."""
        view = feature_view(self.store, EVENT_VIEW)
        keys, columns = self.backend.keys(view), [EVENT_USER, EVENT_ITEM, EVENT_Y]
        rows, known = self.backend.read(view, keys, columns), self.items().ids
        recorded, broken = 0, []
        for key in sorted(rows):
            user, item, y = (unpack(rows[key].get(name, b"")) for name in columns)
            if None in (user, item, y) or not math.isfinite(y):
                broken.append(key)
            elif len(positions(known, [item])):
                self.record(user, item, y, event=key)
                recorded += 1
        if broken:
            warnings.warn(_left_message(broken), UserWarning, stacklevel=3)
        return recorded

    def feedback(self) -> pd.DataFrame:
        """Return the events since the model was published."""
        return self.backend.feedback(self.snapshot().event_us)

    def _user_rows(self, ids: list[Id]) -> list[Features]:
        features = [USER_VECTOR, USER_VERSION, SEEN, HISTORY_SIZE]
        return read_features(self.store, self.user_view, ids, features)

    def _write_user(
        self, user_id: Id, user: User, table: VectorTable, now: int
    ) -> None:
        features = {
            USER_VECTOR: pack_vectors(user.vector[None])[0],
            USER_VERSION: pack_text(str(table.version)),
            SEEN: pack_ids(user.seen, id_type(self.item_view)),
            HISTORY_SIZE: pack_int(user.history_size),
        }
        self._write(self.user_view, [user_id], [features], now)

    def _write(
        self, view: FeatureView, ids: list[Id], features: list[Features], now: int
    ) -> None:
        """Write rows; the model's own may be dated later than now."""
        when = max(now, self.snapshot().event_us + 1)
        keys = entity_keys(view.join_keys[0], ids)
        rows = [Row(key, row, when) for key, row in zip(keys, features, strict=True)]
        self.backend.write(view, rows)


def _left_message(keys: list[bytes]) -> str:
    return (
        f"{len(keys)} pushed events without a user, an item or a finite y were left, "
        f"such as {EVENT} {key_ids(EVENT, keys)[0]!r:.100}; push them again under the "
        "same id to mend them"
    )


def vectors_of(table: VectorTable, items: list[Id]) -> np.ndarray:
    """Vectors of items, (n, dim); a KeyError names one that there is none of."""
    rows = positions(table.ids, items)
    if len(rows) < len(items):
        known = set(table.ids[rows].tolist())
        absent = next(item for item in items if item not in known)
        raise KeyError(
            f"no vector of model version {table.version!r} for {ITEM} {absent!r}"
        )
    vectors: np.ndarray = table.matrix[rows]
    return vectors


def item_matrix(
    ids: list[Id], vectors: ArrayLike, biases: ArrayLike, width: int
) -> np.ndarray:
    """Check the vectors of new items and append the biases as the last column."""
    n = len(ids)
    content = np.asarray(vectors, np.float32)
    if content.shape != (n, width):
        raise ValueError(
            f"vectors of {n} ids must have shape ({n}, {width}), got {content.shape}"
        )
    column = np.asarray(biases, np.float32)
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
