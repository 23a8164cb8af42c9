"""What Redis alone does: leases, pieces, eviction, replicas, what was there before."""

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
import yaml

from skmmrec.feature_store import embedding_definitions, open_store
from skmmrec.feature_store._repo import apply
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    ITEM_VIEW,
    Snapshot,
)

from ..conftest import make_recommender
from ..services import redis_settings
from .contract import BackendContract

pytestmark = pytest.mark.services
_PROJECTS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_settings(tmp_path_factory) as settings:
        yield settings


class TestContract(BackendContract):
    @pytest.fixture
    def store(self, repo, server):
        return open_project(repo, server)


def open_project(repo, online, project=None):
    """Open a repository of a project of its own on a server."""
    path = repo / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["online_store"] = online
    settings["project"] = project or f"p{os.getpid()}_{next(_PROJECTS)}"
    path.write_text(yaml.safe_dump(settings))
    return open_store(repo)


def configure(repo, online, project=None, definitions=()):
    store = open_project(repo, online, project)
    found = embedding_definitions(5, user_id_type="string", data=repo / "data")
    apply(store, [*found, *definitions])
    return store


@pytest.fixture
def store(repo, server):
    return configure(repo, server)


def stage(store, model, number=1, event_us=None):
    from skmmrec.feature_store._batches import serving_batches

    backend = backend_of(store)
    batches = serving_batches(model.serving_vectors(), None)
    views = [store.get_feature_view(batch.view) for batch in batches]
    event_us = event_us or number * 10**15
    snapshot = Snapshot(number, batches[0].version, bytes([number]), event_us, 0)
    backend.begin(views, snapshot)
    sums = {
        batch.view: backend.stage(view, batch, 7, lambda n: None)
        for view, batch in zip(views, batches, strict=True)
    }
    counts = {batch.view: len(batch.ids) for batch in batches}
    return views, replace(snapshot, counts=counts, checksums=sums)


def put(store, model, number=1, event_us=None):
    """Publish without the offline store."""
    backend = backend_of(store)
    with backend.sole_publisher(10):
        views, snapshot = stage(store, model, number, event_us)
        backend.complete(views, snapshot)
        snapshot = replace(snapshot, served_us=snapshot.event_us)
        backend.serve(snapshot)
    return snapshot


def item_vectors(store, snapshot=None):
    view = store.get_feature_view(ITEM_VIEW)
    return backend_of(store).vectors(view, "item_vector", snapshot)


def test_smoke(store):
    model = make_recommender()
    one = put(store, model)
    table = item_vectors(store)
    np.testing.assert_array_equal(table.matrix, model.vectors.items)
    two = put(store, make_recommender(seed=2, version="v2"), 2)
    backend = backend_of(store)
    assert backend.publications() == [one, two]
    assert backend.served() == two
    np.testing.assert_array_equal(item_vectors(store, one).matrix, model.vectors.items)
