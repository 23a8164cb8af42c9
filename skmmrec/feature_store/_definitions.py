"""What Feast has to know about users, items and their vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

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
from feast.types import Array, FeastType, Float32, Int64, String

from skmmrec._ids import ITEM, USER

from ._score import score_view

USER_VIEW, ITEM_VIEW = "user_embeddings", "item_embeddings"
USER_VECTOR, ITEM_VECTOR = "user_vector", "item_vector"
USER_VERSION, ITEM_VERSION = "user_model_version", "item_model_version"
SEEN = "user_seen_items"
TIMESTAMP = "event_timestamp"

_ID_TYPES: dict[str, tuple[ValueType, FeastType]] = {
    "int64": (ValueType.INT64, Int64),
    "string": (ValueType.STRING, String),
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
        Score of a user and an item, computed on request.
    """

    user: Entity
    item: Entity
    user_embeddings: FeatureView
    item_embeddings: FeatureView
    recommendation: FeatureService
    embeddings: FeatureService
    user_item_score: OnDemandFeatureView

    def __iter__(self) -> Iterator[Any]:
        yield from vars(self).values()


def embedding_definitions(
    dim: int,
    *,
    user_id_type: str = "int64",
    item_id_type: str = "int64",
    data: str | Path = "data",
    ttl: timedelta | None = None,
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

    Returns
    -------
    EmbeddingDefinitions

    Raises
    ------
    ValueError
        For a `dim` below 1 or an unknown id type.

    Notes
    -----
    Rows may also be pushed, to ``user_embeddings_push`` and ``item_embeddings_push``.
    Feature names differ between the two views, as Feast asks for when both are read in
    one request.

    Examples
    --------
    >>> from skmmrec.feature_store import embedding_definitions
    >>> definitions = embedding_definitions(dim=65, item_id_type="string")
    >>> definitions.item.join_key
    'item_id'
    >>> [field.name for field in definitions.item_embeddings.features]
    ['item_vector', 'item_model_version']
    """
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    item_type = _id_type(item_id_type, "item_id_type")[1]
    user, users = _view(
        "user",
        _id_type(user_id_type, "user_id_type"),
        [
            _vector(USER_VECTOR, dim),
            Field(name=USER_VERSION, dtype=String),
            Field(name=SEEN, dtype=Array(item_type)),
        ],
        Path(data) / f"{USER_VIEW}.parquet",
        ttl,
    )
    item, items = _view(
        "item",
        _id_type(item_id_type, "item_id_type"),
        [_vector(ITEM_VECTOR, dim), Field(name=ITEM_VERSION, dtype=String)],
        Path(data) / f"{ITEM_VIEW}.parquet",
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
    )


def _view(
    kind: str,
    id_type: tuple[ValueType, FeastType],
    features: list[Field],
    path: Path,
    ttl: timedelta | None,
) -> tuple[Entity, FeatureView]:
    join_key = {"user": USER, "item": ITEM}[kind]
    entity = Entity(name=kind, join_keys=[join_key], value_type=id_type[0])
    file = FileSource(
        name=f"{kind}_embeddings_file",
        path=str(path),
        file_format=ParquetFormat(),
        timestamp_field=TIMESTAMP,
    )
    view = FeatureView(
        name=f"{kind}_embeddings",
        entities=[entity],
        schema=[Field(name=join_key, dtype=id_type[1]), *features],
        source=PushSource(name=f"{kind}_embeddings_push", batch_source=file),
        ttl=ttl or timedelta(0),
    )
    return entity, view


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
