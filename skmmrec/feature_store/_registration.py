"""Register in Feast what a recommender's vectors need."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from feast import FeatureStore, FeatureView

from skmmrec.feature_store.backends.base import (
    ITEM_VECTOR,
    ITEM_VIEW,
    MEMORY,
    USER_VECTOR,
    USER_VIEW,
    VECTOR,
    Rows,
)

from ._batches import further_kinds
from ._definitions import VERSION_TAG, EmbeddingDefinitions, embedding_definitions
from ._kept import with_what_is_registered
from ._reader import id_type, vector_length
from ._registry import forget_versions
from ._repo import (
    DATA,
    apply,
    feature_view,
    is_of_another,
    known_versions,
    parquet_path,
    published_settings,
    source_kind,
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
    item_features: dict[str, str] = field(default_factory=dict)
    item_vectors: dict[str, int] = field(default_factory=dict)
    memory: bool = False

    @classmethod
    def of(cls, users: Rows, items: Rows, known: Settings | None) -> Settings:
        """Read them from what is published; vectors that are not keep their length."""
        vectors = {} if known is None else dict(known.item_vectors)
        vectors.update(items.lengths)
        kinds = further_kinds(items).items()
        scalars = {name: kind for name, kind in kinds if kind != VECTOR}
        basis = users.dim, users.id_type, items.id_type
        return cls(*basis, scalars, vectors, MEMORY in items.kinds)

    def arguments(self) -> dict[str, Any]:
        """Name them."""
        return asdict(self)

    @property
    def basis(self) -> tuple[int, str, str]:
        """What cannot change while anything is stored."""
        return self.dim, self.user_id_type, self.item_id_type


def known_settings(repo_path: str | Path) -> Settings | None:
    """Return what was published before, as ``data/embeddings.json`` has it."""
    known = published_settings(repo_path)
    names = [each.name for each in fields(Settings)]
    given = {name: known[name] for name in names if name in known}
    return Settings(**given) if "dim" in given else None


def ensure_definitions(store: FeatureStore, settings: Settings) -> bool:
    """Register what is missing; refuse what contradicts stored vectors.

    True where what was registered contradicts these settings, and nothing is stored.
    """
    registered = _registered(store)
    differs = registered is not None and registered.basis != settings.basis
    if registered is not None and differs and _holds_rows(store):
        raise ValueError(_mismatch(store, registered, settings))
    versions = known_versions(store.repo_path)
    if differs or not _is_complete(store, settings):
        _apply(store, settings, versions)
    write_settings(store.repo_path, {**settings.arguments(), "versions": versions})
    return differs


def _is_complete(store: FeatureStore, settings: Settings) -> bool:
    """Tell whether the registry has all views, their features, sources and folder."""
    wanted = [
        v for v in _definitions(store, settings, []) if isinstance(v, FeatureView)
    ]
    stored = {view.name: view for view in store.list_feature_views()}
    return all(
        view.name in stored
        and _fields(view) <= _fields(stored[view.name])
        and not is_of_another(store, stored[view.name])
        and type(view.batch_source) is type(stored[view.name].batch_source)
        for view in wanted
    )


def _fields(view: FeatureView) -> set[tuple[str, str, int]]:
    return {(f.name, str(f.dtype), f.vector_length) for f in view.features}


def add_service(store: FeatureStore, settings: Settings, version: str) -> None:
    """Register the service of a model version, and forget all but the last ones."""
    before = [v for v in known_versions(store.repo_path) if v != version]
    versions = [*before, version][-_VERSIONS:]
    write_settings(store.repo_path, {**settings.arguments(), "versions": versions})
    service = _definitions(store, settings, versions).services[-1]
    apply(store, with_what_is_registered(store, [service]))
    for service in store.list_feature_services():
        if service.tags.get(VERSION_TAG, version) not in versions:
            store.delete_feature_service(service.name)


def _registered(store: FeatureStore) -> Settings | None:
    try:
        views = [feature_view(store, name) for name in (USER_VIEW, ITEM_VIEW)]
    except LookupError:
        return None
    lengths = [
        vector_length(view, name)
        for view, name in zip(views, (USER_VECTOR, ITEM_VECTOR), strict=True)
    ]
    user_type, item_type = map(id_type, views)
    return Settings(max(lengths), user_type, item_type)


def _definitions(
    store: FeatureStore, settings: Settings, versions: list[str]
) -> EmbeddingDefinitions:
    data = Path(store.repo_path).resolve() / DATA
    return embedding_definitions(
        **settings.arguments(), data=data, versions=versions, source=source_kind(store)
    )


def _apply(store: FeatureStore, settings: Settings, versions: list[str]) -> None:
    wanted = list(_definitions(store, settings, versions))
    forget_versions(store)
    apply(store, with_what_is_registered(store, wanted))


def _holds_rows(store: FeatureStore) -> bool:
    return any(
        parquet_path(store, feature_view(store, name)).exists()
        for name in (USER_VIEW, ITEM_VIEW)
    )


def _mismatch(store: FeatureStore, stored: Settings, given: Settings) -> str:
    names = ("dim", "user_id_type", "item_id_type")
    odd = ", ".join(
        f"{name}={new!r} (stored: {old!r})"
        for name, old, new in zip(names, stored.basis, given.basis, strict=True)
        if old != new
    )
    return (
        f"the recommender's vectors do not fit those in {store.repo_path}: {odd}; "
        "publish to another repository or fit the recommender to match"
    )
