"""What others register of users, items and services stays when a model is published."""

import warnings
from datetime import timedelta

import pandas as pd
import pytest
from feast import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    PushSource,
)
from feast.repo_contents import RepoContents
from feast.types import Int64, String

from skmmrec.feature_store import (
    OnlineRecommender,
    embedding_definitions,
    open_store,
    publish,
    repo_settings,
)

from .conftest import make_recommender

TAGS = {"team": "shop"}
PRICES = pd.DataFrame({"price": range(30)}, index=range(30))


@pytest.fixture(scope="module")
def published(filled, tmp_path_factory):
    """A repository that was published to, described, and published to again."""
    repo = filled(describe, tmp_path_factory.mktemp("described") / "repo")
    publish(make_recommender(version="v2"), repo, features=PRICES)
    return repo, open_store(repo)


def describe(repo):
    """Publish, and say of all that is registered who owns it."""
    publish(make_recommender(), repo)
    store = open_store(repo)
    ages = _ages(store, repo)
    views = store.list_feature_views()
    for view in views:
        view.ttl = timedelta(days=2)
        view.enable_validation = True
        view.batch_source = view.stream_source.batch_source
        for field in view.features:
            field.description, field.tags = f"about {field.name}", TAGS
    services = store.list_feature_services()
    recommendation = next(s for s in services if s.name == "recommendation")
    services.remove(recommendation)
    own = [view for view in views if view.name != "feedback_events"]
    wider = FeatureService(name="recommendation", features=[*own, ages])
    found = [
        *(*views, ages, *services, wider),
        *(*store.list_entities(), *store.list_on_demand_feature_views()),
        *(source for v in views for source in (v.batch_source, v.stream_source)),
    ]
    for each in found:
        each.tags = {**each.tags, **TAGS}
        each.owner, each.description = f"{each.name}@example.com", f"of {each.name}"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "On demand feature view is an experimental")
        store.apply(found)


def _ages(store, repo):
    path = str(repo / "data" / "ages.parquet")
    rows = pd.DataFrame({"user_id": ["100"], "age": [7], "event_timestamp": ["2026"]})
    rows["event_timestamp"] = rows["event_timestamp"].astype("datetime64[us, UTC]")
    rows.to_parquet(path)
    return FeatureView(
        name="ages",
        entities=[store.get_entity("user")],
        schema=[Field(name="user_id", dtype=String), Field(name="age", dtype=Int64)],
        source=FileSource(name="ages", path=path, timestamp_field="event_timestamp"),
    )


def test_tags_owners_and_descriptions_stay(published):
    store = published[1]
    services = [s for s in store.list_feature_services() if s.name != "model_v2"]
    kept = [
        *(*store.list_entities(), *store.list_feature_views(), *services),
        *(*store.list_on_demand_feature_views(), *store.list_data_sources()),
    ]
    kept.remove(store.get_data_source("ages"))  # nothing was said of it
    assert len({each.name for each in kept}) > 12
    for each in kept:
        assert each.tags.items() >= TAGS.items(), each.name
        said = each.owner, each.description
        assert said == (f"{each.name}@example.com", f"of {each.name}")


def test_settings_of_views_and_words_about_features_stay(published):
    view = published[1].get_feature_view("item_embeddings")
    assert view.ttl == timedelta(days=2)
    assert view.enable_validation
    said = {field.name: (field.description, field.tags) for field in view.features}
    assert said.pop("price") == ("", {})
    assert all(v == (f"about {name}", TAGS) for name, v in said.items())
    assert isinstance(view.stream_source, PushSource)
    for source in (view.stream_source, view.batch_source):
        assert source.owner == f"{source.name}@example.com"


def test_a_service_keeps_views_of_others_and_gets_new_features(published):
    repo, store = published
    features = store.get_feature_service("recommendation")
    found = store.get_online_features(
        features=features, entity_rows=[{"user_id": "100", "item_id": 3}]
    ).to_dict()
    assert found["price"] == [3]
    assert found["age"] == [None]  # was never materialized
    assert len(OnlineRecommender(repo).recommend(["100"], k=3, where="price > 9")) == 3


def test_a_service_of_a_version_keeps_what_is_said_of_it(published):
    repo, store = published
    service = store.get_feature_service("model_v2")
    service.owner = "me@example.com"
    store.apply([service])
    publish(make_recommender(version="v2", seed=1), repo, features=PRICES)
    service = open_store(repo).get_feature_service("model_v2")
    assert (service.owner, service.tags) == ("me@example.com", {"model_version": "v2"})


def test_a_plan_of_what_is_published_needs_no_tables(published):
    repo, store = published
    wanted = list(embedding_definitions(**repo_settings(repo, dim=5)))
    kinds = {
        Entity: "entities",
        FeatureView: "feature_views",
        OnDemandFeatureView: "on_demand_feature_views",
        FeatureService: "feature_services",
    }
    contents = {name: [] for name in RepoContents._fields}
    for each in wanted:
        contents[kinds[type(each)]].append(each)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "On demand feature view is an experimental")
        _, tables, _ = store.plan(RepoContents(**contents))
    assert tables.infra_object_diffs == []
