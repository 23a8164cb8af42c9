"""Which backend speaks to which online store."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import NamedTuple
from weakref import WeakKeyDictionary

from feast import FeatureStore

from skmmrec.feature_store.backends.base import Backend


class _Engine(NamedTuple):
    """Where the backend of an engine is: a folder beside this file, and a class.

    `stock` is the type of Feast's own store of the engine, which knows nothing of
    publications.
    """

    folder: str
    backend: str
    stock: str


# By the `type` of the online store in feature_store.yaml. A new engine is a folder and
# a line here; it is imported when it is used, as its client may not be installed.
_ENGINES = {
    "skmmrec.feature_store.ExactSqliteOnlineStore": _Engine(
        "sqlite", "SqliteBackend", "sqlite"
    ),
    "skmmrec.feature_store.ExactPostgresOnlineStore": _Engine(
        "postgres", "PostgresBackend", "postgres"
    ),
    "skmmrec.feature_store.ExactRedisOnlineStore": _Engine(
        "redis", "RedisBackend", "redis"
    ),
}
# Feast's stores for vectors, and what came back through Feast 0.67 from their embedded
# modes (milvus-lite 3.2, qdrant-client 1.20), with rows like those that are published.
# Feast gives each point of Qdrant a random id, so none is ever replaced.
_MEASURED = {
    "milvus": (
        "its search gives the values and distances of one item to another, an older "
        "write replaces a newer one, and a row without a number cannot be read"
    ),
    "qdrant": (
        "no row can be read from it, its search gives no ids, and each write of an "
        "item is kept beside those before"
    ),
}
# How Feast turns ids into keys: as `base.entity_keys` does, which all rows have.
_KEYS = 3
_BACKENDS: WeakKeyDictionary[FeatureStore, Backend] = WeakKeyDictionary()
_LOCK = threading.Lock()


def backend_of(store: FeatureStore) -> Backend:
    """Return the backend for a repository's online store.

    Parameters
    ----------
    store : feast.FeatureStore

    Returns
    -------
    Backend
        The same one for the same store.

    Raises
    ------
    TypeError
        For a kind of online store that cannot be served from.
    ValueError
        Where Feast is told to make keys of ids in another way, by which it would find
        no row of a publication.
    """
    with _LOCK:
        if store not in _BACKENDS:
            _BACKENDS[store] = _new_backend(store)
        return _BACKENDS[store]


def _new_backend(store: FeatureStore) -> Backend:
    kind = store.config.online_store.type
    kind = getattr(store.provider.online_store, "backend_type", kind)
    engine = _ENGINES.get(kind)
    if engine is None:
        raise TypeError(_refusal(kind))
    version = store.config.entity_key_serialization_version
    if version != _KEYS:
        raise ValueError(
            f"entity_key_serialization_version is {version} in feature_store.yaml, and "
            f"Feast would find no published row by its keys: write {_KEYS}, and "
            "materialize or push the rows of your own views again"
        )
    folder = import_module(f"{__package__}.{engine.folder}")
    backend: Backend = getattr(folder, engine.backend)(store)
    return backend


def refuse_online_type(kind: str) -> None:
    """Raise a TypeError for a type of Feast's that rows are not served from.

    Its client need not be installed.
    """
    message = _known_refusal(kind)
    if message is not None:
        raise TypeError(message)


def _refusal(kind: str) -> str:
    """Say which type to write in feature_store.yaml, or which there are."""
    return _known_refusal(kind) or f"{_needed()}, got {kind}"


def _needed() -> str:
    *types, last = _ENGINES
    return f"this needs an online_store of type {', '.join(types)} or {last}"


def _known_refusal(kind: str) -> str | None:
    """Say why a type of Feast's own is refused; None for another."""
    for name, engine in _ENGINES.items():
        if kind == engine.stock:
            return (
                f"Feast's own online_store of type {kind!r} serves rows of any model: "
                f"write `type: {name}` in feature_store.yaml; all other settings stay"
            )
    for name, measured in _MEASURED.items():
        if kind.rpartition(".")[-1].lower().startswith(name):
            return (
                f"{_needed()}; Feast's store for {name} is not served from: {measured}"
            )
    return None
