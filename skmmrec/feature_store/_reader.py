"""Read published features by id, in request order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from feast import FeatureStore, FeatureView

from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    ITEM_VECTOR,
    ITEM_VIEW,
    USER_VECTOR,
    USER_VIEW,
    Features,
    Id,
    Place,
    Snapshot,
    entity_keys,
    has_numbers,
    parsed_vectors,
)
from skmmrec.interactions import as_list

from ._ids import refuse_missing, store_ids
from ._repo import feature_view, open_store
from ._types import Ids, Repo

_VECTORS = {"user": (USER_VIEW, USER_VECTOR), "item": (ITEM_VIEW, ITEM_VECTOR)}


def read_vectors(repo: Repo, entity: str, ids: Ids) -> tuple[np.ndarray, np.ndarray]:
    """Read published vectors from the online store.

    Parameters
    ----------
    repo : str, path or feast.FeatureStore
        Folder of the repository, or its store.
    entity : {"user", "item"}
        Whose vectors are read.
    ids : array-like of shape (n,)
        Ids of users or items.

    Returns
    -------
    vectors : float32 ndarray of shape (n, dim)
        In the order of `ids`, bit for bit as published; NaN where an id is unknown.
    found : bool ndarray of shape (n,)
        Which ids are known.

    Raises
    ------
    ValueError
        For another `entity`, or ids that are missing, not whole or infinite.
    TypeError
        For ids of another type than the stored ones.
    DamagedStoreError
        When a vector cannot be read.
    """
    if entity not in _VECTORS:
        raise ValueError(f"entity must be 'user' or 'item', got {entity!r}")
    store = open_store(repo)
    view_name, feature = _VECTORS[entity]
    view = feature_view(store, view_name)
    wanted = checked_ids(view, ids)
    values = _read_column(store, view, wanted, feature)
    found = np.array([value is not None for value in values], dtype=bool)
    rows = np.flatnonzero(found)
    place = Place.of(view, feature)
    stored = parsed_vectors(
        [value for value in values if value is not None],
        lambda row, why: place.damaged(wanted[rows[row]], why),
    )
    if found.all() and len(found):
        return stored, found
    dim = stored.shape[1] or vector_length(view, feature)
    vectors = np.full((len(values), dim), np.nan, dtype=np.float32)
    vectors[found] = stored.reshape(-1, dim)
    return vectors, found


def _read_column(
    store: FeatureStore, view: FeatureView, ids: Sequence[Id], feature: str
) -> list[bytes | None]:
    keys = entity_keys(view.join_keys[0], ids)
    column = backend_of(store).read_column(view, keys, feature)
    return [value if has_numbers(value := column.get(key)) else None for key in keys]


def checked_ids(view: FeatureView, ids: Ids) -> list[Id]:
    """Validate ids, or a single one, against the type of the view's join key."""
    name = view.join_keys[0]
    return refuse_missing(store_ids(as_list(ids, name), id_type(view), name), name)


def id_type(view: FeatureView) -> str:
    """Return the type of the view's join key: "int64" or "string"."""
    name: str = view.entity_columns[0].dtype.to_value_type().name
    return name.lower()


def vector_length(view: FeatureView, feature: str) -> int:
    """Return the length that a vector feature is defined with."""
    return next(f.vector_length for f in view.features if f.name == feature)


def read_features(
    store: FeatureStore,
    view: FeatureView,
    ids: Sequence[Id],
    features: Sequence[str],
    snapshot: Snapshot | None = None,
) -> list[Features]:
    """Read serialized values by feature: one dict an id, empty for unknown ids.

    With `snapshot`, those of this publication, whatever is served by now.
    """
    keys = entity_keys(view.join_keys[0], ids)
    rows = backend_of(store).read(view, keys, features, snapshot)
    return [rows.get(key, {}) for key in keys]
