"""A repository that was copied or moved has its own files, and no others."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feast.data_source import PushMode

from skmmrec.feature_store import (
    BusyStoreError,
    OnlineRecommender,
    delete_ids,
    embedding_definitions,
    open_store,
    prune_feedback,
    publish,
    rollback,
    verify,
)
from skmmrec.feature_store._registry import is_left_behind
from skmmrec.feature_store._repo import apply
from skmmrec.feature_store.backends import backend_of

from .conftest import make_recommender, reads_with_duckdb

FILES = ("user_embeddings", "item_embeddings", "feedback_events")
START = datetime(2020, 1, 1, tzinfo=UTC)


def _contents(repo):
    return {name: (repo / "data" / f"{name}.parquet").read_bytes() for name in FILES}


def _offline_users(repo):
    return set(pd.read_parquet(repo / "data" / "user_embeddings.parquet")["user_id"])


@pytest.fixture
def published(repo):
    publish(make_recommender(seed=1, version="v1"), repo)
    publish(make_recommender(seed=2, version="v2"), repo)
    return repo


@pytest.fixture(params=[True, False], ids=["own registry", "Feast's registry"])
def any_registry(request, published):
    """Remove the rebasing registry, which a repository need not name."""
    if not request.param:
        path = published / "feature_store.yaml"
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if "registry_store_type" not in line]
        path.write_text("".join(kept))
    return published


def test_what_is_done_in_a_copy_leaves_the_original_alone(any_registry, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(any_registry, copy)
    before = _contents(any_registry)
    delete_ids(copy, users=["100"], items=[3])
    rollback(copy)
    publish(make_recommender(seed=3, version="v3"), copy)
    prune_feedback(copy)
    assert _contents(any_registry) == before
    assert "100" in _offline_users(any_registry)
    assert OnlineRecommender(any_registry).model_version == "v2"
    versions = pd.read_parquet(copy / "data" / "item_embeddings.parquet")
    assert set(versions["item_model_version"]) == {"v1", "v2", "v3"}
    assert verify(any_registry).ok
    assert verify(copy).ok


def test_deleting_in_a_copy_deletes_there(any_registry, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(any_registry, copy)
    delete_ids(copy, users=["100"])
    assert "100" not in _offline_users(copy)


@reads_with_duckdb
def test_feast_works_in_a_repository_that_was_moved(published, tmp_path):
    moved = tmp_path / "moved"
    published.rename(moved)
    store = open_store(moved)
    store.materialize(START, datetime.now(UTC) + timedelta(minutes=1))
    event = pd.DataFrame(
        {
            "event_id": ["e1"],
            "event_user_id": ["101"],
            "event_item_id": [4],
            "event_y": [1.0],
            "event_timestamp": [datetime.now(UTC)],
        }
    )
    store.push("feedback_events_push", event, to=PushMode.OFFLINE)
    pushed = pd.read_parquet(moved / "data" / "feedback_events.parquet")
    assert list(pushed["event_id"]) == ["e1"]
    publish(make_recommender(seed=3, version="v3"), moved)
    assert verify(make_recommender(seed=3, version="v3"), moved).ok
    assert not published.exists()


@reads_with_duckdb
def test_feast_reads_the_rows_of_the_copy(published, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(published, copy)
    third = make_recommender(seed=3, version="v3")
    publish(third, copy)
    frame = pd.DataFrame({"user_id": ["100"], "event_timestamp": [datetime.now(UTC)]})
    features = ["user_embeddings:user_vector"]
    for repo, seed in ((copy, 3), (published, 2)):
        found = open_store(repo).get_historical_features(frame, features).to_df()
        np.testing.assert_array_equal(
            np.float32(found["user_vector"][0]),
            make_recommender(seed=seed).vectors.users.loc["100"],
        )


def test_files_elsewhere_that_someone_chose_stay(repo, tmp_path):
    chosen = tmp_path / "elsewhere" / "data"
    chosen.mkdir(parents=True)
    store = open_store(repo)
    apply(store, list(embedding_definitions(5, user_id_type="string", data=chosen)))
    publish(make_recommender(), store)
    assert {path.stem for path in chosen.iterdir()} == set(FILES)
    assert not list((repo / "data").glob("*.parquet"))


def test_one_folder_by_two_names_is_one(published, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(published)
    path = link / "data" / "user_embeddings.parquet"
    assert not is_left_behind(path, published / "data" / "user_embeddings.parquet")
    assert is_left_behind(path, tmp_path / "new" / "data" / "user_embeddings.parquet")


def _linked(path, folder):
    """Put a link in the place of a file, which goes to a folder."""
    folder.mkdir(exist_ok=True)
    target = Path(shutil.move(path, folder / f"of-{path.name}"))
    path.symlink_to(target)
    return target


def test_files_behind_links_are_the_ones_that_change(published, tmp_path):
    names = ["user_embeddings.parquet", "registry.db", "embeddings.json"]
    targets = [_linked(published / "data" / name, tmp_path / "disk") for name in names]
    delete_ids(published, users=["100"])
    assert "100" not in set(pd.read_parquet(targets[0])["user_id"])
    publish(make_recommender(seed=3, version="v3"), published)
    assert all((published / "data" / name).is_symlink() for name in names)
    assert b"v3" in targets[1].read_bytes()
    assert b"v3" in targets[2].read_bytes()
    targets[1].write_bytes(b"\xff" * 100)
    publish(make_recommender(seed=4, version="v4"), published)
    assert b"v4" in targets[1].read_bytes()


def test_a_database_behind_a_link_is_one_with_its_own_name(repo, tmp_path):
    target = tmp_path / "disk" / "vectors.db"
    target.parent.mkdir()
    (repo / "data").mkdir()
    (repo / "data" / "online.db").symlink_to(target)
    publish(make_recommender(seed=1, version="v1"), repo)
    OnlineRecommender(repo).record("100", 3)
    assert not list((repo / "data").glob("online.db[.-]*"))
    by_name = tmp_path / "by_name"
    shutil.copytree(repo, by_name)
    (by_name / "data" / "online.db").unlink()
    settings = by_name / "feature_store.yaml"
    settings.write_text(settings.read_text().replace("data/online.db", str(target)))
    one, other = (backend_of(open_store(each)) for each in (repo, by_name))
    busy = pytest.raises(BusyStoreError, match=r"vectors\.db")
    with one.sole_publisher(1), busy, other.sole_publisher(0.01):
        raise AssertionError("two publish at once")
    assert len(OnlineRecommender(by_name).feedback()) == 1
    assert verify(by_name).ok
