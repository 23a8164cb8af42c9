"""The same code on PostgreSQL with pgvector and on Redis, started on this machine."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from feast.repo_config import FeastConfigError

from skmmrec.feature_store import (
    OnlineRecommender,
    delete_ids,
    embedding_definitions,
    open_store,
    publish,
    read_vectors,
    verify,
)
from skmmrec.feature_store._repo import apply
from skmmrec.feature_store.backends import backend_of
from skmmrec.recommender._forgotten import Forgotten

from ..conftest import FakeRecommender, make_recommender
from ..services import postgres_settings, redis_settings
from ..test_events import events
from ..test_fold_in import history_model
from ..test_online import expected

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[3]
_PROJECTS = itertools.count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    with postgres_settings(tmp_path_factory) as settings:
        yield settings


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    with redis_settings(tmp_path_factory) as settings:
        yield settings


@pytest.fixture(params=["postgres", "redis"])
def remote(repo, request):
    """Return a repository whose online store is a server, in a project of its own."""
    path = repo / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["online_store"] = request.getfixturevalue(request.param)
    settings["project"] = f"p{os.getpid()}_{next(_PROJECTS)}"
    path.write_text(yaml.safe_dump(settings))
    return repo


def test_vectors_come_back_bit_for_bit_in_request_order(remote):
    bits = np.random.default_rng(3).integers(0, 2**32, size=(20, 9), dtype=np.uint32)
    values = bits.view(np.float32)
    values[~np.isfinite(values)] = -0.0
    table = pd.DataFrame(values, index=range(20))
    publish(FakeRecommender(table, table, pd.Series([[1]] * 20)), remote, chunk_size=7)
    for entity in ("user", "item"):
        read, found = read_vectors(remote, entity, [3, 99, 0, 3])
        assert found.tolist() == [True, False, True, True]
        assert np.isnan(read[1]).all()
        np.testing.assert_array_equal(
            read[found].view(np.uint32), values[[3, 0, 3]].view(np.uint32)
        )


def test_feast_reads_what_was_published(remote, recommender):
    store = open_store(remote)
    publish(recommender, store)
    rows = [{"user_id": "101", "item_id": 7}, {"user_id": "104", "item_id": 2}]
    answer = store.get_online_features(
        features=store.get_feature_service("recommendation"), entity_rows=rows
    ).to_dict()
    vectors = recommender.vectors
    read = np.array(answer["item_vector"], np.float32)
    np.testing.assert_array_equal(read, vectors.items.loc[[7, 2]])
    assert answer["user_seen_items"] == vectors.seen.loc[["101", "104"]].tolist()
    assert answer["item_model_version"] == ["v1", "v1"]


def test_what_feast_pushes_is_read_here(remote, recommender):
    store = open_store(remote)
    publish(recommender, store)
    row = {
        "item_id": [7],
        "item_vector": [[1.0, 2.0, 3.0, 4.0, 5.0]],
        "item_model_version": ["v1"],
        "item_popularity": [0],
        "item_category": ["rock"],
        "event_timestamp": [pd.Timestamp.now(tz="UTC") + pd.Timedelta("1h")],
    }
    store.push("item_embeddings_push", pd.DataFrame(row))
    np.testing.assert_array_equal(
        read_vectors(remote, "item", [7])[0], [[1, 2, 3, 4, 5]]
    )


def test_recommendations_are_the_exact_top_k(remote, recommender):
    publish(recommender, remote)
    table = OnlineRecommender(remote).recommend(["105", "100"], k=6)
    assert table["user_id"].unique().tolist() == ["105", "100"]
    for user, rows in table.groupby("user_id"):
        best = expected(recommender, user, 6)
        assert rows["item_id"].tolist() == best.index.tolist()
        np.testing.assert_allclose(rows["score"], best, rtol=1e-6, atol=1e-6)


def test_a_new_model_replaces_the_old_one_whole(remote):
    publish(make_recommender(n_items=30), remote)
    online = OnlineRecommender(remote)
    assert online.model_version == "v1"
    newer = make_recommender(n_items=10, n_users=5, seed=2, version="v2")
    publish(newer, remote)
    assert online.model_version == "v2"
    assert read_vectors(remote, "item", range(30))[1].sum() == 10
    assert verify(newer, remote).ok


def test_other_projects_and_views_are_left_alone(remote, recommender):
    """A project whose name ends in another's, and another view of the same entity."""
    publish(recommender, remote)
    path = remote / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["project"] = "x" + settings["project"]
    settings["registry"] = "data/other.db"
    other = remote.parent / "other"
    other.mkdir()
    (other / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    second = make_recommender(n_items=4, seed=7, version="w")
    publish(second, other)
    publish(make_recommender(seed=8, version="w2"), other)
    assert verify(recommender, remote).ok
    publish(recommender, remote)
    assert OnlineRecommender(other).model_version == "w2"
    delete_ids(remote, items=[3])
    assert read_vectors(other, "item", [3])[1].all()


def test_skew_is_found(remote, recommender):
    publish(recommender, remote)
    assert verify(recommender, remote).ok
    items = recommender.vectors.items
    items.iloc[7, 2] = np.nextafter(items.iloc[7, 2], np.float32(9))
    assert verify(recommender, remote).changed == [("item_id", 7)]
    report = verify(make_recommender(n_users=13, n_items=29), remote)
    assert report.missing == [("user_id", "112")]
    assert report.extra == [("item_id", 29)]


def test_deleted_ids_are_gone(remote, recommender):
    item = recommender.vectors.seen["100"][0]
    publish(recommender, remote)
    delete_ids(remote, users=["101", "nobody"], items=[item])
    online = OnlineRecommender(remote, unknown="skip")
    assert online.recommend(["101"]).empty
    table = online.recommend(["100", "105"], k=99, exclude_seen=False)
    assert item not in table["item_id"].values
    assert not read_vectors(remote, "item", [item])[1].any()
    report = verify(recommender, remote)
    assert report.missing == [("user_id", "101"), ("item_id", item)]
    seen = recommender.vectors.seen.drop("101")
    touched = [user for user, items in seen.items() if item in items]
    assert report.changed == [("user_id", user) for user in touched]


def test_the_forgotten_are_gone_with_the_next_publication(remote):
    publish(history_model(), remote)
    store, online = open_store(remote), OnlineRecommender(remote)
    for user in (2, 3):
        online.record(user, 24)
    pushed = events(e1=(2, 5, 1.0), e2=(3, 5, 1.0), e3=(77, 5, 1.0))
    store.push("feedback_events_push", pushed)
    model = history_model(version="v2")
    left = model.vectors.users.index.drop(2)
    model.vectors = replace(
        model.vectors,
        users=model.vectors.users.loc[left],
        seen=model.vectors.seen.loc[left],
        forgotten=Forgotten().add([2, 77]),
    )
    publish(model, remote, timestamp=online.feedback().timestamp.min())
    assert verify(model, remote).ok
    assert online.feedback().user_id.tolist() == [3]
    assert online.record_pushed() == 1
    assert backend_of(store).feedback(0).user_id.tolist() == [3, 3]
    rows = pd.read_parquet(remote / "data" / "user_embeddings.parquet").user_id
    assert rows.value_counts().to_dict() == dict.fromkeys(left, 2)
    assert not read_vectors(remote, "user", [2, 77])[1].any()


@pytest.mark.parametrize("half_life", [None, 1.5])
def test_feedback_moves_the_user_at_once(remote, half_life):
    model = history_model(half_life=half_life)
    publish(model, remote)
    online, other = OnlineRecommender(remote), OnlineRecommender(remote)
    seen = model.vectors.seen[3]
    item = next(i for i in range(25) if i not in seen)
    assert online.record(3, item)
    assert not online.record(3, item)
    table = other.recommend([3], k=5)
    same = other.recommend_from_history([*seen, item], k=5)
    assert table["item_id"].tolist() == same["item_id"].tolist()
    np.testing.assert_allclose(table["score"], same["score"], rtol=1e-3, atol=1e-4)
    assert other.feedback()["item_id"].tolist() == [item, item]
    assert online.retrain_due(min_events=2)
    delete_ids(remote, users=[3])
    assert online.feedback().empty


def test_events_of_many_threads_are_all_kept(remote):
    publish(history_model(), remote)
    online = OnlineRecommender(remote)

    def record(part):
        for item in part:
            online.record(500, item)

    threads = [
        threading.Thread(target=record, args=(range(n, 24, 4),)) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(online.feedback()) == 24
    assert online.recommend([500], k=99)["item_id"].tolist() == [24]


def test_items_are_added_by_vector(remote):
    model = history_model()
    publish(model, remote)
    online = OnlineRecommender(remote)
    user = model.vectors.users.iloc[4].to_numpy()
    online.recommend([4])
    online.add_items([1000], [user[:-1] * 100], biases=[0.5])
    assert online.recommend([4], k=1)["item_id"].tolist() == [1000]


def test_expired_values_are_not_served(remote, recommender):
    publish(recommender, remote, timestamp=datetime.now(UTC) - timedelta(hours=2))
    store, ttl = open_store(remote), timedelta(hours=1)
    settings = {"user_id_type": "string", "data": remote / "data", "ttl": ttl}
    apply(store, list(embedding_definitions(5, **settings)))
    assert not read_vectors(store, "item", [1])[1].any()
    assert OnlineRecommender(store, unknown="popular").recommend(["100"]).empty


def test_an_older_model_is_not_published(remote, recommender):
    publish(recommender, remote, timestamp=datetime(2026, 5, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="older than version 'v1'"):
        publish(make_recommender(seed=1), remote, timestamp=datetime(2026, 4, 1))
    assert verify(recommender, remote).ok


@pytest.mark.parametrize(
    "value",
    ["'; DROP TABLE users; --", "nul\0byte", "🦊 ünï", "*?[a]\\^", "x" * 1_000_000, ""],
    ids=["sql", "nul", "emoji", "pattern", "1 MB", "empty"],
)
def test_hostile_ids_come_back_as_themselves(remote, value):
    model = FakeRecommender(
        pd.DataFrame(np.ones((1, 2), np.float32), index=[value]),
        pd.DataFrame(np.eye(2, dtype=np.float32), index=[value, "other"]),
        pd.Series([["other"]], index=[value]),
    )
    if len(value) > 2000 and "postgres" in (remote / "feature_store.yaml").read_text():
        with pytest.raises(ValueError, match="PostgreSQL indexes up to 2000"):
            publish(model, remote)
        return
    publish(model, remote)
    table = OnlineRecommender(remote).recommend([value])
    assert table["user_id"].tolist() == table["item_id"].tolist() == [value]
    assert verify(model, remote).ok


@pytest.mark.parametrize("step", ["begin", "stage", "serve"])
def test_an_interrupted_publication_is_completed_by_the_next(remote, monkeypatch, step):
    old, new = make_recommender(), make_recommender(seed=1, version="v2")
    publish(old, remote)
    kind, after = type(backend_of(open_store(remote))), {"stage": 1}.get(step, 0)
    calls, whole = itertools.count(), getattr(kind, step)

    def failing(*args):
        if next(calls) >= after:
            raise InterruptedError
        return whole(*args)

    with monkeypatch.context() as patch:
        patch.setattr(kind, step, failing)
        with pytest.raises(InterruptedError):
            publish(new, remote)
    assert verify(old, remote).ok
    publish(new, remote)
    assert verify(new, remote).ok


def test_a_resumed_publication_does_not_write_rows_twice(remote, monkeypatch):
    store = open_store(remote)
    kind, new = type(backend_of(store)), make_recommender()
    with monkeypatch.context() as patch:
        patch.setattr(kind, "serve", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            publish(new, store)
    monkeypatch.setattr(kind, "stage_rows", None)
    publish(new, store)
    monkeypatch.undo()
    assert verify(new, store).ok


def test_readers_never_see_a_mixture_while_models_change(remote):
    """Each model's scores are its version number, so that a mixture would show."""
    models = []
    for n in range(1, 7):
        model = make_recommender(n_users=4, dim=3, version=str(n))
        model.vectors.users[:] = np.float32([1, 0, 0])
        model.vectors.items[:] = np.float32([n, 0, 0])
        models.append(model)
    publish(models[0], remote)
    online, odd, done = OnlineRecommender(remote), [], threading.Event()
    users = list(models[0].vectors.users.index)

    def read():
        while not done.is_set():
            table = online.recommend(users, k=5, exclude_seen=False)
            if table["score"].nunique() != 1 or len(table) != 20:
                odd.append(table)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for model in models[1:]:
        publish(model, remote, chunk_size=2)
    done.set()
    for reader in readers:
        reader.join()
    assert not odd
    assert set(online.recommend(users)["score"]) == {6.0}


def test_two_publishers_at_once_take_turns(remote):
    models = [make_recommender(seed=n, version=f"v{n}") for n in range(3)]
    publish(models[0], remote)
    threads = [
        threading.Thread(target=publish, args=(model, remote), kwargs={"chunk_size": 3})
        for model in models[1:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    served = OnlineRecommender(remote).model_version
    assert verify(models[int(served[1:])], remote).ok


def test_a_busy_store_times_out(remote, recommender, monkeypatch):
    store = open_store(remote)
    publish(recommender, store)
    monkeypatch.setattr("skmmrec.feature_store._publish.LOCK_TIMEOUT", 0.1)
    with (
        backend_of(store).sole_publisher(1.0),
        pytest.raises(TimeoutError, match=r"publishing to project 'p.*' for 0.1 s"),
    ):
        publish(recommender, remote)
    publish(recommender, remote)


PUBLISH = """
import sys, warnings
warnings.simplefilter("ignore")
from skmmrec.feature_store import publish
from tests.feature_store.conftest import make_recommender
from skmmrec.feature_store.backends.redis import _writer
_writer._PUBLISHER = 2.0  # seconds until the lease of the killed one runs out
model = make_recommender(n_items=15_000, seed=1, version=sys.argv[2])
publish(model, sys.argv[1], chunk_size=20)
"""


@pytest.mark.slow
def test_a_killed_publisher_leaves_the_old_model(remote):
    old, store = make_recommender(version="old"), open_store(remote)
    publish(old, store)
    backend = backend_of(store)
    for version, delay in [("v1", 0.0), ("v2", 0.1), ("v2", 0.2)]:
        command = [sys.executable, "-c", PUBLISH, str(remote), version]
        child = subprocess.Popen(command, cwd=ROOT)
        while getattr(backend.staged(), "version", "") != version:
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(delay)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert backend.staged().version == version
        assert verify(old, store).ok
    new = make_recommender(n_items=15_000, seed=1, version="v2")
    publish(new, store)
    assert verify(new, store).ok


def test_a_redis_cluster_is_refused(repo, redis):
    path = repo / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["online_store"] = {**redis, "redis_type": "redis_cluster"}
    path.write_text(yaml.safe_dump(settings))
    with pytest.raises(FeastConfigError, match="redis_cluster cannot swap models at"):
        OnlineRecommender(repo)
