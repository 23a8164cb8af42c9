"""Feast's own commands and ours, one after the other, with both registries of Feast."""

import pytest
import yaml
from feast import FeatureStore

from skmmrec.feature_store import (
    OnlineRecommender,
    embedding_definitions,
    publish,
    repo_settings,
    verify,
)
from skmmrec.feature_store._registry import forget_versions

from .conftest import copy_repo
from .test_fold_in import history_model

KINDS = {"dim": 65, "user_id_type": "int64", "item_id_type": "int64"}


def make(tmp_path, kind):
    folder = copy_repo(tmp_path)
    (folder / "data").mkdir()
    if kind == "sql":
        path = folder / "feature_store.yaml"
        registry = f"sqlite:///{folder}/data/registry.sqlite"
        settings = yaml.safe_load(path.read_text())
        settings["registry"] = {"registry_type": "sql", "path": registry}
        path.write_text(yaml.safe_dump(settings))
    return folder


def definitions(folder):
    return list(embedding_definitions(**repo_settings(folder, **KINDS)))


# What commands do, each with a store of its own.


def apply(folder):
    FeatureStore(folder).apply(definitions(folder))


def delete_items(folder):
    """Apply definitions without a view."""
    gone = [each for each in definitions(folder) if each.name == "item_embeddings"]
    FeatureStore(folder).apply([], objects_to_delete=gone, partial=False)


def teardown(folder):
    FeatureStore(folder).teardown()


def publish_first(folder):
    publish(history_model(version="v0", seed=7), folder)


def record(folder):
    assert OnlineRecommender(folder).record(4, 20)


@pytest.mark.filterwarnings("ignore:On demand feature view is an experimental")
@pytest.mark.parametrize(
    ("kind", "commands"),
    [
        ("file", [publish_first, record, teardown]),
        ("file", [publish_first, delete_items, apply]),
        ("sql", [publish_first, record, teardown]),
    ],
)
def test_publish_works_after_whatever_feast_did(tmp_path, kind, commands):
    """And `feast apply` after that, and recording."""
    folder = make(tmp_path, kind)
    for command in commands:
        command(folder)
    model = history_model(seed=3)
    publish(model, folder)
    apply(folder)
    assert verify(model, folder).ok
    online = OnlineRecommender(folder)
    assert online.feedback().empty or teardown not in commands
    assert online.record(77, 21)


def test_versions_of_views_that_are_there_and_of_other_projects_stay(tmp_path):
    folder = make(tmp_path, "sql")
    store, name = FeatureStore(folder), "user_embeddings"
    store.apply([each for each in definitions(folder) if each.name == name])
    projects = (store.project, "other")
    for project in projects:
        store.registry._save_version_snapshot("gone", project, 0, "feature_view", b"")
    forget_versions(store)
    asked = [(view, project) for view in (name, "gone") for project in projects]
    list_versions = store.registry.list_feature_view_versions
    assert [len(list_versions(*each)) for each in asked] == [1, 0, 0, 1]
