import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from skmmrec.feature_store import (
    DamagedStoreError,
    OnlineRecommender,
    StoreError,
    _publish as publish_module,
    open_store,
    publications,
    publish,
    repo_settings,
    verify,
)
from skmmrec.feature_store.backends.sqlite import SqliteBackend

from .conftest import make_recommender
from .messages import entity_key_proto

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "times", [10, pytest.param(100, marks=pytest.mark.slow)], ids=str
)
def test_a_killed_publisher_leaves_the_old_model_or_the_new(repo, times):
    command = [sys.executable, "-m", "tests.feature_store.kill_publish", repo, times]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Interrupted(Exception):
    pass


def _interrupt(monkeypatch, name, after):
    """Fail in the call number `after` of a step of `publish`."""
    owner = publish_module if hasattr(publish_module, name) else SqliteBackend
    calls, step = iter(range(after)), getattr(owner, name)

    def failing(*args, **kwargs):
        if next(calls, None) is None:
            raise Interrupted
        return step(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize(
    ("step", "after"),
    [
        ("begin", 0),
        ("stage", 1),
        ("append_parquet", 1),
        ("serve", 0),
    ],
)
def test_an_interrupted_publication_is_completed_by_the_next(
    repo, monkeypatch, step, after
):
    old, new = make_recommender(), make_recommender(seed=1, version="v2")
    publish(old, repo)
    with monkeypatch.context() as patch:
        _interrupt(patch, step, after)
        with pytest.raises(Interrupted):
            publish(new, repo)
    assert verify(old, repo).ok
    publish(new, repo)
    assert verify(new, repo).ok
    leftovers = [path.name for path in (repo / "data").iterdir()]
    assert not [name for name in leftovers if name.endswith(".partial")]


def test_a_resumed_publication_does_not_write_rows_twice(repo, monkeypatch):
    import pyarrow.parquet as pq

    new = make_recommender()
    with monkeypatch.context() as patch:
        _interrupt(patch, "serve", 0)
        with pytest.raises(Interrupted):
            publish(new, repo)
    written = []
    monkeypatch.setattr(SqliteBackend, "stage_rows", lambda *args: written.append(args))
    publish(new, repo)
    assert written == []
    assert len(pq.read_table(repo / "data" / "user_embeddings.parquet")) == 12
    assert verify(new, repo).ok


def test_two_publishers_at_once_take_turns(repo):
    models = [make_recommender(seed=n, version=f"v{n}") for n in range(4)]
    publish(models[0], repo)
    threads = [
        threading.Thread(target=publish, args=(model, repo), kwargs={"chunk_size": 3})
        for model in models[1:]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    served = OnlineRecommender(repo).model_version
    assert verify(models[int(served[1:])], repo).ok


def test_a_busy_store_times_out_with_its_name(repo, recommender, monkeypatch):
    publish(recommender, repo)
    monkeypatch.setattr(publish_module, "LOCK_TIMEOUT", 0.1)
    lock = sqlite3.connect(repo / "data" / "online.db.publish", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TimeoutError, match=r"publishing to .*online\.db for 0.1 s"):
        publish(recommender, repo)
    lock.close()
    publish(recommender, repo)


def test_readers_never_see_a_mixture_while_models_change(repo):
    """Each model's scores are its version number, so that a mixture would show."""
    models = []
    for n in range(1, 9):
        model = make_recommender(n_users=4, dim=3, version=str(n))
        model.vectors.users[:] = np.float32([1, 0, 0])
        model.vectors.items[:] = np.float32([n, 0, 0])
        models.append(model)
    publish(models[0], repo)
    online, odd, done = OnlineRecommender(repo), [], threading.Event()
    users = list(models[0].vectors.users.index)

    def read():
        while not done.is_set():
            table = online.recommend(users, k=5, exclude_seen=False)
            if table["score"].nunique() != 1 or len(table) != 20:
                odd.append(table)

    # More would read no more: threads take turns, and the publisher would wait longer.
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for model in models[1:]:
        publish(model, repo, chunk_size=2)
    done.set()
    for reader in readers:
        reader.join()
    assert not odd
    assert set(online.recommend(users)["score"]) == {8.0}


def test_writing_users_does_not_reload_the_items(repo, recommender):
    from datetime import UTC, datetime

    from feast.protos.feast.types.Value_pb2 import Value

    publish(recommender, repo)
    store = open_store(repo)
    online = OnlineRecommender(store)
    before = online._served.items()
    view = store.get_feature_view("user_embeddings")
    values = {"user_model_version": Value(string_val="v1")}
    row = (entity_key_proto("user_id", "new"), values, datetime.now(UTC), None)
    store.provider.online_write_batch(store.config, view, [row], None)
    assert online._served.items() is before
    publish(recommender, store)
    assert online._served.items() is not before


def _serve_in_child(online, users, queue):
    queue.put((os.getpid(), online.recommend(users)["item_id"].tolist()))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_server_opens_its_own_connections(repo, recommender):
    publish(recommender, repo)
    online = OnlineRecommender(repo)
    expected = online.recommend(["100"])["item_id"].tolist()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_serve_in_child, args=(online, ["100"], queue))
    child.start()
    try:
        assert queue.get(timeout=60)[1] == expected
        assert online.recommend(["100"])["item_id"].tolist() == expected
    finally:
        child.kill()
        child.join()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe{}",
        b"[1]",
        b"null",
        b"",
        b'{"dim": 5, "user_id_type": "string"}',
        b'{"dim": "5", "user_id_type": "string", "item_id_type": "int64"}',
        b'{"dim": 5, "user_id_type": "string", "item_id_type": "int64", "memori": 1}',
    ],
    ids=str,
)
def test_damaged_settings_are_told_and_written_anew(repo, recommender, content):
    publish(recommender, repo)
    path = repo / "data" / "embeddings.json"
    good = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(DamagedStoreError, match=r"embeddings\.json is damaged"):
        repo_settings(repo)
    publish(recommender, repo)
    assert path.read_bytes() == good


def test_settings_of_a_later_version_are_not_written_over(repo, recommender):
    """They name features that an earlier one would forget."""
    publish(recommender, repo)
    path = repo / "data" / "embeddings.json"
    later = json.dumps(json.loads(path.read_text()) | {"of_later": 1})
    path.write_text(later)
    for do in (lambda: repo_settings(repo), lambda: publish(recommender, repo)):
        with pytest.raises(StoreError, match=r"has of_later, which .* not know"):
            do()
    assert path.read_text() == later
    assert len(publications(repo)) == 1


def test_feast_tells_a_damaged_registry(repo, recommender):
    publish(recommender, repo)
    path = repo / "data" / "registry.db"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedStoreError, match=r"registry\.db is damaged"):
        open_store(repo).list_feature_views()
    publish(recommender, repo)
    assert open_store(repo).list_feature_views()


@pytest.mark.parametrize("text", [b"\xff\xfe", b"xx"])
def test_a_parquet_file_with_other_names_is_damaged(repo, recommender, text):
    publish(recommender, repo)
    path = repo / "data" / "user_embeddings.parquet"
    content = path.read_bytes().replace(b"event_timestamp", text + b"ent_timestamp")
    path.write_bytes(content)
    with pytest.raises(DamagedStoreError, match=r"user_embeddings\.parquet is damaged"):
        publish(recommender, repo)
    assert path.read_bytes() == content
    assert verify(recommender, repo).ok


def test_a_name_that_is_no_text_is_damage(repo, recommender):
    publish(recommender, repo)
    [path] = (repo / "data" / "online.db.publications").glob("*.db")
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE", b"\xff\xfeEATE TABLE"))
    with pytest.raises(DamagedStoreError, match="is damaged"):
        OnlineRecommender(repo).recommend(["100"])
    assert not verify(repo).ok
