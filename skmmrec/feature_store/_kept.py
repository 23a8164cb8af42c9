"""What others have registered of an object, which stays when it is defined anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from feast import FeatureService, FeatureStore, FeatureView
from feast.data_source import DataSource
from feast.feast_object import FeastObject

# What a definition of this package leaves open: texts that it may have one day, and
# settings of which it knows only Feast's default.
_TEXTS = ("description", "owner", "org")
_SETTINGS = (
    "ttl",
    "online",
    "offline",
    "enabled",
    "enable_validation",
    "state",
    "logging_config",
    "precompute_online",
)


def with_what_is_registered(
    store: FeatureStore, objects: Sequence[FeastObject]
) -> list[FeastObject]:
    """Give definitions the tags, owners, descriptions and settings registered for them.

    Of a feature service also the views of others, which were added to it. The
    definitions are changed in place.
    """
    known = {(type(found), found.name): found for found in _registered(store)}
    for new in objects:
        for part in _parts(new):
            if (old := known.get((type(part), part.name))) is not None:
                _keep(part, old)
    return list(objects)


def _registered(store: FeatureStore) -> Iterable[Any]:
    yield from store.list_entities()
    yield from store.list_feature_views()
    yield from store.list_on_demand_feature_views()
    yield from store.list_feature_services()
    yield from store.list_data_sources()


def _parts(new: FeastObject) -> Iterable[Any]:
    """Return an object, and the sources of a view, which are registered beside it."""
    yield new
    if isinstance(new, FeatureView):
        sources: tuple[DataSource | None, ...] = new.batch_source, new.stream_source
        yield from (source for source in sources if source is not None)


def _keep(new: Any, old: Any) -> None:
    """Give one object what is registered of it, where it says nothing itself."""
    _keep_words(new, old)
    for name in _SETTINGS:
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))
    if isinstance(new, FeatureView):
        fields = {field.name: field for field in old.schema}
        for field in new.schema:
            if field.name in fields:
                _keep_words(field, fields[field.name])
    if isinstance(new, FeatureService):
        own = {projection.name for projection in new.feature_view_projections}
        new.feature_view_projections += [
            projection
            for projection in old.feature_view_projections
            if projection.name not in own
        ]


def _keep_words(new: Any, old: Any) -> None:
    """Keep tags that the new one does not set, and texts that it leaves empty."""
    new.tags = {**old.tags, **new.tags}
    for name in _TEXTS:
        if hasattr(old, name):
            setattr(new, name, getattr(new, name) or getattr(old, name))
