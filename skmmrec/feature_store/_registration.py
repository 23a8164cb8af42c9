"""Register in Feast what a recommender's vectors need."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from feast import FeatureStore, FeatureView

from skmmrec.feature_store.backends.base import ITEM_VIEW, USER_VIEW, Batch

from ._definitions import VERSION_TAG, EmbeddingDefinitions, embedding_definitions
from ._reader import id_type
from ._repo import (
    DATA,
    apply,
    feature_view,
    is_of_another,
    known_versions,
    parquet_path,
    write_settings,
)

# Each version has a feature service in the registry, which Feast parses as a whole; ten
# keep it small. No measurement chose this number.
_VERSIONS = 10


@dataclass(frozen=True)
class Settings:
    """Arguments of `embedding_definitions` that follow from the recommender."""

    dim: int
    user_id_type: str
    item_id_type: str

    @classmethod
    def of(cls, users: Batch, items: Batch) -> Settings:
        """Read them from what is published."""
        return cls(users.matrix.shape[1], users.id_type, items.id_type)


def ensure_definitions(store: FeatureStore, settings: Settings) -> bool:
    """Register what is missing; refuse what contradicts stored vectors.

    True where what was registered contradicts these settings, and nothing is stored.
    """
    registered = _registered(store)
    if registered != settings and registered and _holds_rows(store):
        raise ValueError(_mismatch(store, registered, settings))
    versions = known_versions(store.repo_path)
    if registered != settings or not _is_complete(store, settings):
        _apply(store, settings, versions)
    write_settings(store.repo_path, {**asdict(settings), "versions": versions})
    return registered is not None and registered != settings


def _is_complete(store: FeatureStore, settings: Settings) -> bool:
    """Tell whether the registry has all views, their features and this folder."""
    wanted = [
        v for v in _definitions(store, settings, []) if isinstance(v, FeatureView)
    ]
    stored = {view.name: view for view in store.list_feature_views()}
    return all(
        view.name in stored
        and {f.name for f in view.features}
        <= {f.name for f in stored[view.name].features}
        and not is_of_another(store, stored[view.name])
        for view in wanted
    )


def add_service(store: FeatureStore, settings: Settings, version: str) -> None:
    """Register the service of a model version, and forget all but the last ones."""
    before = [v for v in known_versions(store.repo_path) if v != version]
    versions = [*before, version][-_VERSIONS:]
    write_settings(store.repo_path, {**asdict(settings), "versions": versions})
    apply(store, [_definitions(store, settings, versions).services[-1]])
    for service in store.list_feature_services():
        if service.tags.get(VERSION_TAG, version) not in versions:
            store.delete_feature_service(service.name)


def _registered(store: FeatureStore) -> Settings | None:
    try:
        views = [feature_view(store, name) for name in (USER_VIEW, ITEM_VIEW)]
    except LookupError:
        return None
    lengths = {f.vector_length for view in views for f in view.features}
    return Settings(max(lengths), *map(id_type, views))


def _definitions(
    store: FeatureStore, settings: Settings, versions: list[str]
) -> EmbeddingDefinitions:
    data = Path(store.repo_path).resolve() / DATA
    return embedding_definitions(**asdict(settings), data=data, versions=versions)


def _apply(store: FeatureStore, settings: Settings, versions: list[str]) -> None:
    apply(store, list(_definitions(store, settings, versions)))


def _holds_rows(store: FeatureStore) -> bool:
    return any(
        parquet_path(store, feature_view(store, name)).exists()
        for name in (USER_VIEW, ITEM_VIEW)
    )


def _mismatch(store: FeatureStore, stored: Settings, given: Settings) -> str:
    pairs = zip(asdict(stored).items(), asdict(given).values(), strict=True)
    odd = ", ".join(
        f"{name}={new!r} (stored: {old!r})" for (name, old), new in pairs if old != new
    )
    return (
        f"the recommender's vectors do not fit those in {store.repo_path}: {odd}; "
        "publish to another repository or fit the recommender to match"
    )
