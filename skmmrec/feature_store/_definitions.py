"""What Feast has to know about users, items and their vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from feast import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    PushSource,
    ValueType,
)
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.feast_object import FeastObject
from feast.types import Array, Bool, FeastType, Float32, Float64, Int64, String

from skmmrec.feature_store.backends.base import (
    CATEGORY,
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
    MEMORY,
    MEMORY_WEIGHTS,
    POPULARITY,
    SEEN,
    TIMESTAMP,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
)
from skmmrec.interactions import ITEM, USER, check_count

from ._score import score_view

VERSION_TAG = "model_version"

_ID_TYPES: dict[str, tuple[ValueType, FeastType]] = {
    "int64": (ValueType.INT64, Int64),
    "string": (ValueType.STRING, String),
}

_SCALARS: dict[str, FeastType] = {
    "int64": Int64,
    "float64": Float64,
    "bool": Bool,
    "string": String,
}


@dataclass(frozen=True)
class EmbeddingDefinitions:
    """Feast objects that describe published vectors; iterate to get all of them.

    Attributes
    ----------
    user, item : feast.Entity
        Join keys ``user_id`` and ``item_id``.
    user_embeddings, item_embeddings : feast.FeatureView
    recommendation : feast.FeatureService
        Everything that a recommendation needs.
    embeddings : feast.FeatureService
        The vectors alone, as input of another model.
    user_item_score : feast.OnDemandFeatureView
        Inner product of a user and an item, computed on request: their score, without
        what a memory of items adds.
    event : feast.Entity
        Join key ``event_id``.
    feedback_events : feast.FeatureView
        Where pushed events wait for `OnlineRecommender.record_pushed`.
    services : tuple of feast.FeatureService
        One a model version, named ``model_VERSION``.
    """

    user: Entity
    item: Entity
    user_embeddings: FeatureView
    item_embeddings: FeatureView
    recommendation: FeatureService
    embeddings: FeatureService
    user_item_score: OnDemandFeatureView
    event: Entity
    feedback_events: FeatureView
    services: tuple[FeatureService, ...] = ()

    def __iter__(self) -> Iterator[FeastObject]:
        yield from (value for name, value in vars(self).items() if name != "services")
        yield from self.services


def embedding_definitions(
    dim: int,
    *,
    user_id_type: str = "int64",
    item_id_type: str = "int64",
    data: str | Path = "data",
    ttl: timedelta | None = None,
    versions: Iterable[str] = (),
    item_features: Mapping[str, str] | None = None,
    item_vectors: Mapping[str, int] | None = None,
    memory: bool = False,
    source: str = "file",
) -> EmbeddingDefinitions:
    """Define the entities, feature views and services of published vectors.

    Parameters
    ----------
    dim : int
        Length of the vectors: the columns of ``recommender.item_vectors_`` plus one
        for the item's bias.
    user_id_type, item_id_type : {"int64", "string"}, default="int64"
    data : str or path, default="data"
        Folder of the parquet files. Feast's duckdb store reads a relative path from
        the working directory, so give an absolute one.
    ttl : timedelta, optional
        Age at which vectors expire. By default they never do.
    versions : iterable of str, default=()
        Model versions to define a feature service for.
    item_features : mapping of str to str, optional
        Further features of the items: "int64", "float64", "bool" or "string" by name.
    item_vectors : mapping of str to int, optional
        Further vectors of the items: their lengths by the name of the feature.
    memory : bool, default=False
        Whether the model has a memory of items: lists of the items that one of a
        history speaks for, and how strongly.
    source : {"file", "spark"}, default="file"
        What the offline store reads parquet files as: Feast's store for Spark wants a
        ``SparkSource``, all others a ``FileSource``.

    Returns
    -------
    EmbeddingDefinitions

    Raises
    ------
    ValueError
        For a `dim` below 1, or an unknown id type, kind of feature or source.

    Notes
    -----
    Rows may also be pushed, to ``user_embeddings_push`` and ``item_embeddings_push``,
    and events to ``feedback_events_push``.
    Feature names differ between the two views, as Feast asks for when both are read in
    one request.

    Examples
    --------
    >>> from skmmrec.feature_store import embedding_definitions
    >>> definitions = embedding_definitions(dim=65, item_id_type="string")
    >>> definitions.item.join_key
    'item_id'
    >>> [field.name for field in definitions.item_embeddings.features]
    ['item_vector', 'item_model_version', 'item_popularity', 'item_category']
    """
    check_count(dim, "dim")
    if source not in ("file", "spark"):
        raise ValueError(f"source must be 'file' or 'spark', got {source!r}")
    item_type = _id_type(item_id_type, "item_id_type")[1]
    user, users = _view(
        "user",
        _id_type(user_id_type, "user_id_type"),
        [
            _vector(USER_VECTOR, dim),
            Field(name=USER_VERSION, dtype=String),
            Field(name=SEEN, dtype=Array(item_type)),
            Field(name=HISTORY_SIZE, dtype=Int64),
            Field(name=DISLIKED, dtype=Array(item_type)),
        ],
        _pushed(USER_VIEW, Path(data), source),
        ttl,
    )
    item, items = _view(
        "item",
        _id_type(item_id_type, "item_id_type"),
        [
            _vector(ITEM_VECTOR, dim),
            Field(name=ITEM_VERSION, dtype=String),
            Field(name=POPULARITY, dtype=Int64),
            Field(name=CATEGORY, dtype=String),
            *(_memory(item_type) if memory else []),
            *_further(item_features or {}, item_vectors or {}),
        ],
        _pushed(ITEM_VIEW, Path(data), source),
        ttl,
    )
    return EmbeddingDefinitions(
        user,
        item,
        users,
        items,
        FeatureService(name="recommendation", features=[users, items]),
        FeatureService(
            name="embeddings", features=[users[[USER_VECTOR]], items[[ITEM_VECTOR]]]
        ),
        score_view(users[[USER_VECTOR]], items[[ITEM_VECTOR]]),
        *_events(user_id_type, item_id_type, _pushed(EVENT_VIEW, Path(data), source)),
        tuple(_version_service(version, users, items) for version in versions),
    )


def _version_service(
    version: str, users: FeatureView, items: FeatureView
) -> FeatureService:
    """Define the service of one model version, which its tag names."""
    return FeatureService(
        name=f"model_{version}", features=[users, items], tags={VERSION_TAG: version}
    )


def _events(
    user_id_type: str, item_id_type: str, source: PushSource
) -> tuple[Entity, FeatureView]:
    event = Entity(name="event", join_keys=[EVENT], value_type=ValueType.STRING)
    view = FeatureView(
        name=EVENT_VIEW,
        entities=[event],
        schema=[
            Field(name=EVENT, dtype=String),
            Field(name=EVENT_USER, dtype=_id_type(user_id_type, "user_id_type")[1]),
            Field(name=EVENT_ITEM, dtype=_id_type(item_id_type, "item_id_type")[1]),
            Field(name=EVENT_Y, dtype=Float64),
        ],
        source=source,
        ttl=timedelta(0),
    )
    return event, view


def _pushed(view: str, data: Path, kind: str) -> PushSource:
    path, name = str(data / f"{view}.parquet"), f"{view}_file"
    batch_source = _spark_source if kind == "spark" else _file_source
    return PushSource(name=f"{view}_push", batch_source=batch_source(name, path))


def _file_source(name: str, path: str) -> DataSource:
    parquet = ParquetFormat()
    return FileSource(
        name=name, path=path, file_format=parquet, timestamp_field=TIMESTAMP
    )


def _spark_source(name: str, path: str) -> DataSource:
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import (
        SparkSource,
    )

    return SparkSource(
        name=name, path=path, file_format="parquet", timestamp_field=TIMESTAMP
    )


def _view(
    kind: str,
    id_type: tuple[ValueType, FeastType],
    features: list[Field],
    source: PushSource,
    ttl: timedelta | None,
) -> tuple[Entity, FeatureView]:
    join_key = {"user": USER, "item": ITEM}[kind]
    entity = Entity(name=kind, join_keys=[join_key], value_type=id_type[0])
    view = FeatureView(
        name=f"{kind}_embeddings",
        entities=[entity],
        schema=[Field(name=join_key, dtype=id_type[1]), *features],
        source=source,
        ttl=ttl or timedelta(0),
    )
    return entity, view


def _memory(item_type: FeastType) -> list[Field]:
    """Define what an item of a history says of others: lists of one length."""
    return [
        Field(name=MEMORY, dtype=Array(item_type)),
        Field(name=MEMORY_WEIGHTS, dtype=Array(Float32)),
    ]


def _further(features: Mapping[str, str], vectors: Mapping[str, int]) -> list[Field]:
    """Define further features of the items, none of which Feast's search takes."""
    odd = sorted(set(features.values()) - set(_SCALARS))
    if odd:
        raise ValueError(
            f"item_features must be among {list(_SCALARS)}, got {odd[0]!r}"
        )
    scalars = [Field(name=n, dtype=_SCALARS[kind]) for n, kind in features.items()]
    return scalars + [
        Field(name=name, dtype=Array(Float32), vector_length=dim)
        for name, dim in vectors.items()
    ]


def _vector(name: str, dim: int) -> Field:
    return Field(
        name=name,
        dtype=Array(Float32),
        vector_index=True,
        vector_length=dim,
        vector_search_metric="inner_product",
    )


def _id_type(id_type: str, name: str) -> tuple[ValueType, FeastType]:
    if id_type not in _ID_TYPES:
        raise ValueError(f"{name} must be one of {set(_ID_TYPES)}, got {id_type!r}")
    return _ID_TYPES[id_type]
