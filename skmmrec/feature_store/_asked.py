"""What features need to be asked for, and which of them a service has."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from feast import FeatureService, FeatureStore, FeatureView, OnDemandFeatureView
from feast.errors import FeatureViewNotFoundException


class Asked(NamedTuple):
    """What some features need.

    Attributes
    ----------
    keys : dict of str to str
        Columns of ids, and the type that the store has for each, "unknown" where it
        was never told.
    given : list of str
        Columns that on-demand views take from who asks.
    names : list of str
        The features.
    """

    keys: dict[str, str]
    given: list[str]
    names: list[str]


class _Part(NamedTuple):
    """Features of one view, and the columns in the place of its join keys."""

    view: str
    columns: Mapping[str, str]
    names: list[str]


def asked_for(store: FeatureStore, features: FeatureService | list[str]) -> Asked:
    """Find out what a service, or references to features, need."""
    asked = Asked({}, [], [])
    for part in _parts(features):
        asked.names.extend(part.names)
        for view, columns in _views(store, part, asked.given):
            for key in view.join_keys:
                asked.keys[columns.get(key, key)] = _id_type(view, key)
    return asked._replace(given=list(dict.fromkeys(asked.given)))


def refuse_hidden_keys(
    features: FeatureService | list[str], columns: Container[str]
) -> None:
    """Refuse what Feast 0.67 answers with the row of another id.

    Where a view is read by ``friend_id`` in the place of ``user_id``, and another one
    by ``user_id``, the online store is asked for whichever of the two columns is last.
    """
    for part in _parts(features):
        for key, column in part.columns.items():
            if column != key and key in columns:
                raise ValueError(
                    f"Feast mixes up {column!r} and {key!r} where it reads both online "
                    f"for one service: put the view {part.view!r}, which it is to read "
                    f"by {column!r}, into a service of its own"
                )


def _parts(features: FeatureService | list[str]) -> Iterator[_Part]:
    if isinstance(features, FeatureService):
        for projection in features.feature_view_projections:
            names = [feature.name for feature in projection.features]
            yield _Part(projection.name, projection.join_key_map or {}, names)
        return
    for reference in features:
        view, _, name = reference.partition(":")
        own = view.partition("@")[0]  # view@v1 is one of its versions
        yield _Part(own, {}, [name])


def _views(
    store: FeatureStore, part: _Part, given: list[str]
) -> Iterable[tuple[FeatureView, Mapping[str, str]]]:
    """Return the stored views that a view reads from; note what it is to be given."""
    try:
        return [(store.get_feature_view(part.view), part.columns)]
    except FeatureViewNotFoundException:
        view: OnDemandFeatureView = store.get_on_demand_feature_view(part.view)
        given.extend(view.get_request_data_schema())
        sources = view.source_feature_view_projections.values()
        return [(store.get_feature_view(s.name), s.join_key_map or {}) for s in sources]


def _id_type(view: FeatureView, key: str) -> str:
    """Return the type of a join key, "unknown" where it was never told."""
    for column in view.entity_columns:
        if column.name == key:
            name: str = column.dtype.to_value_type().name
            return name.lower()
    return "unknown"
