"""Feature views are read again when the registry has changed, and else are not."""

import os
import time

import pytest
from feast import FeatureStore

from skmmrec.feature_store import DamagedStoreError, _repo, open_store, publish

from .conftest import make_recommender


@pytest.fixture
def parsed(monkeypatch):
    """Names of the views that Feast is asked for; each is old at once."""
    names, real = [], FeatureStore.get_feature_view

    def counted(store, name, *args, **kwargs):
        names.append(name)
        return real(store, name, *args, **kwargs)

    monkeypatch.setattr(FeatureStore, "get_feature_view", counted)
    monkeypatch.setattr(_repo, "_VIEW_SECONDS", -1.0)
    return names


@pytest.fixture
def registry(repo):
    publish(make_recommender(n_users=3), repo)
    path = repo / "data" / "registry.db"
    age(path, 60)
    return path


def age(path, seconds):
    when = time.time() - seconds
    os.utime(path, (when, when))


def test_a_registry_that_stays_is_read_once(repo, registry, parsed):
    store = open_store(repo)
    for _ in range(3):
        for name in ("user_embeddings", "item_embeddings"):
            assert _repo.feature_view(store, name).name == name
    assert parsed == ["user_embeddings", "item_embeddings"]


def test_a_registry_that_changes_is_read_again(repo, registry, parsed):
    store, other = open_store(repo), open_store(repo)
    assert not _repo.feature_view(store, "item_embeddings").tags
    view = other.get_feature_view("item_embeddings")
    view.tags = {"said": "later"}
    other.apply([view])
    for seconds in (30, 0):  # whenever: it is another file
        age(registry, seconds)
        assert _repo.feature_view(store, "item_embeddings").tags == view.tags


def test_what_has_just_been_written_is_not_trusted(repo, registry, parsed):
    store = open_store(repo)
    for n in (1, 2, 3):
        age(registry, 0)
        _repo.feature_view(store, "item_embeddings")
        assert len(parsed) == n


@pytest.mark.parametrize("content", [b"\xff" * 100, None])
def test_a_registry_that_is_damaged_later_is_told(repo, registry, parsed, content):
    store = open_store(repo)
    before = registry.read_bytes()
    _repo.feature_view(store, "item_embeddings")
    registry.write_bytes(content or b"\xff" * len(before))
    with pytest.raises(DamagedStoreError, match=r"registry\.db"):
        _repo.feature_view(store, "item_embeddings")
