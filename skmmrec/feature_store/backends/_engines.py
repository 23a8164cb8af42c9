"""Which backend speaks to which online store."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import NamedTuple
from weakref import WeakKeyDictionary

from feast import FeatureStore

from skmmrec.feature_store.backends.base import Backend


class _Engine(NamedTuple):
    """Where the backend of an engine is: a folder beside this file, and a class."""

    folder: str
    backend: str


# By the `type` of the online store in feature_store.yaml. A new engine is a folder and
# a line here; it is imported when it is used, as its client may not be installed.
_ENGINES = {
    "skmmrec.feature_store.ExactSqliteOnlineStore": _Engine("sqlite", "SqliteBackend"),
    "postgres": _Engine("postgres", "PostgresBackend"),
    "redis": _Engine("redis", "RedisBackend"),
}
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
        *types, last = _ENGINES
        raise TypeError(
            f"this needs an online_store of type {', '.join(types)} or {last}, "
            f"got {kind}"
        )
    folder = import_module(f"{__package__}.{engine.folder}")
    backend: Backend = getattr(folder, engine.backend)(store)
    return backend
