"""What the three online stores share: what is published, exact search, order, expiry.

Each is a subclass of Feast's own store of the engine. Feast's tables stay Feast's; the
rows of publications are beside them, see `_backend`.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from typing import Any, ClassVar, TypeVar

import numpy as np
from feast import FeatureView
from feast.filter_models import ComparisonFilter, CompoundFilter
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.repo_config import RepoConfig
from google.protobuf.message import DecodeError

from ._columns import column_of, condition_mask
from ._damage import Place
from ._expiry import fresh
from ._filters import Filter
from ._names import (
    ITEM_VERSION,
    ITEM_VIEW,
    PUBLISHED_VIEWS,
    USER_VERSION,
    USER_VIEW,
)
from ._queries import (
    SearchQuery,
    check_features,
    check_search,
    vector_lengths,
    vector_query,
)
from ._refusals import RowError, SearchError, refusing
from ._search import VectorTable, nearest
from ._snapshot import Snapshot
from ._text_search import TextSearch, text_vector
from ._times import from_us, to_us

T = TypeVar("T")

_LOG = logging.getLogger("skmmrec.feature_store")

WriteRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Neighbour = tuple[
    datetime | None, EntityKey | None, Value | None, Value | None, Value | None
]
Document = tuple[datetime | None, EntityKey | None, dict[str, Value] | None]
# Feature views and the features that a request asks of each.
GroupedRefs = list[tuple[FeatureView, list[str]]]
# Serialized value and event time (us) of each feature of an entity.
Cells = dict[str, tuple[bytes, int]]

# The publication that the views of one request are read from, and by which store.
_PINNED: ContextVar[tuple[object, Snapshot | None]] = ContextVar(
    "pinned", default=(None, None)
)

# The feature that says which model made a row.
VERSION_OF = {USER_VIEW: USER_VERSION, ITEM_VIEW: ITEM_VERSION}


class ExactOnlineStore(OnlineStore):
    """An online store that serves what was published, and nothing of other models.

    Notes
    -----
    - Of the published views, rows are read from the publication that is served. Rows
      that are pushed or materialized count if they belong to it (see `Snapshot.owns`);
      others are not written, with a message in the log.
    - Vectors are searched exactly, with numpy, for cosine, L2 and inner product.
    - A write never replaces a value with a newer event time.
    - Values older than the view's ``ttl`` are not served.
    """

    # The `type` in feature_store.yaml, which `backend_of` looks for, also in a class
    # derived from this one.
    backend_type: ClassVar[str]

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Neither reads nor writes: Feast then calls `online_read` in a thread."""
        return SupportedAsyncMethods()

    @abstractmethod
    def served(self, config: RepoConfig) -> Snapshot | None:
        """Return the publication that is served."""

    @abstractmethod
    def read_values(
        self,
        config: RepoConfig,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str] | None = None,
        snapshot: Snapshot | None = None,
    ) -> dict[bytes, Cells]:
        """Return values that have not expired, by key and feature (None: all).

        Of a published view, those of `snapshot` (None: of the one that is served) and
        what was written to it since; see `Backend.read`.
        """

    @abstractmethod
    def vectors(
        self,
        config: RepoConfig,
        view: FeatureView,
        feature: str,
        snapshot: Snapshot | None = None,
    ) -> VectorTable:
        """Return all vectors of a feature, in memory until they change."""

    @abstractmethod
    def write_newer(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: Sequence[WriteRow],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write rows; a value with a newer event time stays."""

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[WriteRow],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write rows, those that belong to what is served; newer event times win."""
        if table.name in PUBLISHED_VIEWS:
            data = self._owned(config, table, data)
        _check_lengths(table, data)
        self.write_newer(config, table, data, progress)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Read rows by entity, leaving out values older than the view's ttl."""
        serialization = config.entity_key_serialization_version
        keys = [serialize_entity_key(key, serialization) for key in entity_keys]
        found = self._read_pinned(config, table, keys, requested_features)
        return [feast_row(table, key, found.get(key)) for key in keys]

    def _read_pinned(
        self,
        config: RepoConfig,
        view: FeatureView,
        keys: Sequence[bytes],
        features: Sequence[str] | None,
    ) -> dict[bytes, Cells]:
        """Read the publication that this request began with, while it is there."""
        store, snapshot = _PINNED.get()
        if store is self and view.name in PUBLISHED_VIEWS:
            with suppress(LookupError):  # dropped since
                return self.read_values(config, view, keys, features, snapshot)
        return self.read_values(config, view, keys, features)

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Read rows by entity in a thread, as `online_read` does."""
        return await asyncio.to_thread(
            self.online_read, config, table, entity_keys, requested_features
        )

    def _read_features_per_fv(
        self, config: RepoConfig, grouped_refs: GroupedRefs, *args: Any
    ) -> None:
        """Read all views of one request from one publication."""
        with self._one_publication(config, grouped_refs):
            OnlineStore._read_features_per_fv(self, config, grouped_refs, *args)

    async def _read_features_per_fv_async(
        self, config: RepoConfig, grouped_refs: GroupedRefs, *args: Any
    ) -> None:
        """Read all views of one request from one publication."""
        with self._one_publication(config, grouped_refs):
            await OnlineStore._read_features_per_fv_async(
                self, config, grouped_refs, *args
            )

    @contextmanager
    def _one_publication(
        self, config: RepoConfig, grouped_refs: GroupedRefs
    ) -> Iterator[None]:
        """Pin what is served, where more than one read depends on it."""
        if sum(view.name in PUBLISHED_VIEWS for view, _ in grouped_refs) < 2:
            yield
            return
        token = _PINNED.set((self, self.served(config)))
        try:
            yield
        finally:
            _PINNED.reset(token)

    def search(
        self,
        config: RepoConfig,
        view: FeatureView,
        query: SearchQuery,
        k: int,
        filters: Filter | None = None,
        snapshot: Snapshot | None = None,
    ) -> tuple[VectorTable, np.ndarray, np.ndarray]:
        """Search exactly: the table, the rows found (nearest first), distances.

        Raises
        ------
        SearchError
            For a `k` below 1, a query of another length or not finite, an unknown
            distance, or filters that cannot be applied.
        """
        check_search(view, query, k)
        table = self.vectors(config, view, query.feature, snapshot)
        allowed = fresh(table, view)
        if filters is not None:

            def read(name: str) -> dict[bytes, bytes]:
                rows = self.read_values(config, view, table.keys, [name], snapshot)
                return {key: row[name][0] for key, row in rows.items() if name in row}

            with refusing():
                mask = condition_mask(
                    filters, view, lambda name: column_of(view, table, name, read)
                )
            allowed = mask if allowed is None else mask & allowed
        if not len(table.ids):
            return table, np.empty(0, np.int64), np.empty(0)
        with refusing():  # a length that the view is not defined with
            rows, distances = nearest(table, query.vector, k, query.metric, allowed)
        return table, rows, distances

    def retrieve_online_documents_v2(
        self,
        config: RepoConfig,
        table: FeatureView,
        requested_features: list[str],
        embedding: list[float] | None,
        top_k: int,
        distance_metric: str | None = None,
        query_string: str | None = None,
        filters: ComparisonFilter | CompoundFilter | None = None,
        include_feature_view_version_metadata: bool = False,
    ) -> list[Document]:
        """Exact search by a vector or a text, those found in the order of their ids.

        A text is answered where ``feature_store.yaml`` names a `TextSearch`.
        """
        check_features(table, requested_features)
        if query_string is None:
            query = vector_query(table, embedding, distance_metric)
        else:
            query = self._text_query(config, table, query_string, embedding)

        def read(snapshot: Snapshot | None) -> list[Document]:
            found, rows, distances = self.search(
                config, table, query, top_k, filters, snapshot
            )
            order = np.argsort(found.ids[rows], kind="stable")
            keys = [found.keys[row] for row in rows[order]]
            values = self.read_values(config, table, keys, requested_features, snapshot)
            return [
                _document(table, key, values.get(key), float(distance), query.is_text)
                for key, distance in zip(keys, distances[order], strict=True)
            ]

        return self._pinned(config, table, read)

    def retrieve_online_documents(
        self,
        config: RepoConfig,
        table: FeatureView,
        requested_features: list[str] | None,
        embedding: list[float],
        top_k: int,
        distance_metric: str | None = None,
    ) -> list[Neighbour]:
        """Exact vector search, nearest first, by Feast's earlier interface.

        Each has its event time, entity, vector (twice) and distance.
        """
        check_features(table, requested_features or ())
        query = vector_query(table, embedding, distance_metric)
        found, rows, distances = self.search(config, table, query, top_k)
        documents = list[Neighbour]()
        for row, distance in zip(rows, distances, strict=True):
            vector = Value(float_list_val=FloatList(val=found.matrix[row].tolist()))
            key = deserialize_entity_key(found.keys[row], 3)
            when = from_us(int(found.event_us[row]))
            distance_value = Value(float_val=float(distance))
            documents.append((when, key, vector, vector, distance_value))
        return documents

    def _text_query(
        self,
        config: RepoConfig,
        view: FeatureView,
        text: str,
        embedding: list[float] | None,
    ) -> SearchQuery:
        """Make a query of a text, by the encoder of feature_store.yaml."""
        settings: TextSearch | None = config.online_store.text_encoder
        if settings is None:
            raise SearchError(
                "this store answers no query_string, as online_store in "
                "feature_store.yaml names no text_encoder: give a query vector"
            )
        if embedding is not None:
            raise SearchError("give a query vector or a query_string, not both")
        if settings.feature not in vector_lengths(view):
            raise SearchError(
                f"query_string searches {settings.feature!r}, which feature view "
                f"{view.name!r} does not have"
            )
        vector = text_vector(config, settings, text)
        return SearchQuery(settings.feature, vector, "cosine", is_text=True)

    def _pinned(
        self,
        config: RepoConfig,
        view: FeatureView,
        read: Callable[[Snapshot | None], T],
    ) -> T:
        """Read one publication, again if it was dropped meanwhile by the next."""
        if view.name not in PUBLISHED_VIEWS:
            return read(None)
        while True:
            snapshot = self.served(config)
            try:
                return read(snapshot)
            except LookupError:
                if self.served(config) == snapshot:
                    raise

    def _owned(
        self, config: RepoConfig, view: FeatureView, data: list[WriteRow]
    ) -> list[WriteRow]:
        """Leave out rows of other models; all, while nothing is published."""
        snapshot, name = self.served(config), VERSION_OF[view.name]
        if snapshot is None:
            return data
        owned = [row for row in data if _owns(snapshot, row, name)]
        if len(owned) < len(data):
            _LOG.info(
                "%d of %d rows for %s are not of model version %r as it was published "
                "last, and were left out",
                len(data) - len(owned),
                len(data),
                view.name,
                snapshot.version,
            )
        _check_finite(owned)
        return owned


def _owns(snapshot: Snapshot, row: WriteRow, version_name: str) -> bool:
    _, values, event, _ = row
    version = values[version_name].string_val if version_name in values else None
    return snapshot.owns(version, to_us(event))


def _check_finite(data: Sequence[WriteRow]) -> None:
    """Refuse vectors that have no score."""
    for key, values, _, _ in data:
        for name, value in values.items():
            if not np.isfinite(value.float_list_val.val).all():
                raise RowError(
                    f"{name} of {_id_in(key)!r:.100} must be finite, it is not; "
                    "nothing was written: leave this row out"
                )


def _id_in(key: EntityKey) -> Any:
    entity = key.entity_values[0]
    return getattr(entity, entity.WhichOneof("val"))


def feast_row(
    view: FeatureView, key: bytes, cells: Cells | None
) -> tuple[datetime | None, dict[str, Value] | None]:
    """Return a row as Feast reads it: its latest event time, and values.

    Raises
    ------
    DamagedStoreError
        When a value cannot be read.
    """
    if not cells:
        return None, None
    latest = max(event_us for _, event_us in cells.values())
    protos = {n: _value(view, key, n, value) for n, (value, _) in cells.items()}
    return from_us(latest), protos


def _value(view: FeatureView, key: bytes, feature: str, value: bytes) -> Value:
    try:
        return Value.FromString(value)
    except DecodeError as error:
        raise Place.of(view, feature).damaged_of_key(key, error) from error


def _document(
    view: FeatureView,
    key: bytes,
    cells: Cells | None,
    distance: float,
    is_text: bool,
) -> Document:
    when, features = feast_row(view, key, cells)
    features = {**(features or {}), "distance": Value(float_val=distance)}
    if is_text:  # Feast asks for a rank that is larger for better ones
        features["text_rank"] = Value(float_val=1.0 - distance)
    # `entity_keys` writes Feast's version 3.
    return when, deserialize_entity_key(key, 3), features


def merge_cells(published: dict[bytes, Cells], later: dict[bytes, Cells]) -> None:
    """Put the cells of later rows, which must be owned, over those published."""
    for key, cells in later.items():
        published.setdefault(key, {}).update(cells)


def fresh_cells(found: dict[bytes, Cells], oldest: int) -> dict[bytes, Cells]:
    """Leave out cells that have expired: those from before `oldest` (us)."""
    rows = {
        key: {name: cell for name, cell in row.items() if cell[1] >= oldest}
        for key, row in found.items()
    }
    return {key: row for key, row in rows.items() if row}


def _check_lengths(view: FeatureView, data: Sequence[WriteRow]) -> None:
    """Refuse vectors of another length than the view is defined with."""
    lengths = vector_lengths(view)
    for key, values, _, _ in data:
        for name, value in values.items():
            length = len(value.float_list_val.val)
            if name in lengths and length not in (0, lengths[name]):
                raise RowError(
                    f"{name} of {_id_in(key)!r:.100} has {length} numbers; "
                    f"the feature view is defined for {lengths[name]}"
                )
