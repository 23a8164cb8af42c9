"""What people do with a store, on PostgreSQL and on Redis, started on this machine.

What an engine must do is in `contract`; what is special to one in a file of its own.
"""

import itertools
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.data_source import PushMode
from feast.on_demand_feature_view import on_demand_feature_view
from feast.repo_config import FeastConfigError
from feast.types import Float64, Int64

from skmmrec.feature_store import (
    OnlineRecommender,
    delete_ids,
    open_store,
    prune_feedback,
    publications,
    publish,
    read_vectors,
    rollback,
    verify,
)
from skmmrec.feature_store.backends import backend_of
from skmmrec.recommender._forgotten import Forgotten

from ..conftest import FakeRecommender, make_recommender, reads_with_duckdb
from ..earlier_rows import check_that_nothing_comes_back, materialize
from ..test_events import events
from ..test_feedback import Clock
from ..test_fold_in import history_model
from ..test_online import expected

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[3]


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


def test_recommendations_are_the_exact_top_k(remote, recommender):
    publish(recommender, remote)
    table = OnlineRecommender(remote).recommend(["105", "100"], k=6)
    assert table["user_id"].unique().tolist() == ["105", "100"]
    for user, rows in table.groupby("user_id"):
        best = expected(recommender, user, 6)
        assert rows["item_id"].tolist() == best.index.tolist()
        np.testing.assert_allclose(rows["score"], best, rtol=1e-6, atol=1e-6)


def test_publications_are_kept_listed_and_returned_to(remote):
    models = [
        make_recommender(n_items=30 - n, seed=n, version=f"v{n}") for n in range(4)
    ]
    for model in models:
        publish(model, remote, keep=3)
    online = OnlineRecommender(remote)
    assert publications(remote)["version"].tolist() == ["v1", "v2", "v3"]
    assert read_vectors(remote, "item", range(30))[1].sum() == 27
    for model in (models[2], models[1]):
        assert rollback(remote).version == online.model_version
        assert verify(model, remote).ok
        assert verify(remote).ok
    publish(models[0], remote, keep=1)
    assert publications(remote)["version"].tolist() == ["v0"]
    assert online.model_version == "v0"
    assert verify(remote) == ("v0", 42, [])


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
    publish(model, remote)
    assert verify(model, remote).ok
    assert online.feedback().user_id.tolist() == [3]
    assert online.record_pushed() == 1
    assert online.feedback().user_id.tolist() == [3, 3]
    assert rollback(remote).version == "v1"
    assert not read_vectors(remote, "user", [2, 77])[1].any()
    assert verify(remote).ok


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


@pytest.mark.parametrize("step", ["begin", "stage", "complete", "serve"])
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


# What went wrong once, whatever the engine.


@reads_with_duckdb
def test_nothing_that_feast_does_brings_back_rows_of_an_earlier_model(remote):
    check_that_nothing_comes_back(remote)


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize("ahead", [DAY, HOUR, -HOUR, -DAY], ids=str)
def test_no_clocks_have_to_agree(remote, monkeypatch, ahead):
    clock = Clock(monkeypatch)
    clock.off = ahead
    publish(history_model(), remote)
    online, recorded = OnlineRecommender(remote), []
    for item, off in enumerate([timedelta(0), ahead, -ahead]):
        clock.off = off
        assert online.record(500, item)
        recorded.append(item)
        assert online.feedback()["item_id"].tolist() == recorded
        left = online.recommend([500], k=99)["item_id"]
        assert not set(recorded) & set(left)
    taken_in = online.feedback()
    assert online.record(500, 9)
    clock.off = -ahead
    publish(history_model(version="v2"), remote, feedback=taken_in)
    assert online.feedback()["item_id"].tolist() == [9]
    assert verify(history_model(version="v2"), remote).ok


def test_a_publication_of_the_future_is_refused(remote):
    with pytest.raises(ValueError, match="2126"):
        publish(history_model(), remote, timestamp=datetime(2126, 1, 1, tzinfo=UTC))


@reads_with_duckdb
def test_a_pushed_event_counts_once_whatever_is_materialized(remote):
    publish(history_model(), remote)
    store, online = open_store(remote), OnlineRecommender(remote)
    pushed = events(e1=(5, 9, 1.0))
    store.push("feedback_events_push", pushed, to=PushMode.ONLINE_AND_OFFLINE)
    assert online.record_pushed() == 1
    for _ in range(2):
        materialize(store)
        assert online.record_pushed() == 0
    assert online.feedback()["item_id"].tolist() == [9]
    taken_in = online.feedback()
    publish(history_model(version="v2"), remote, feedback=taken_in, keep=1)
    assert prune_feedback(remote) == 1
    materialize(store)
    assert online.record_pushed() == 0


@pytest.mark.filterwarnings("ignore:On demand feature view:RuntimeWarning")
def test_a_stored_on_demand_view_is_read_beside_what_is_published(remote):
    publish(make_recommender(), remote)
    store, now = open_store(remote), pd.Timestamp.now(tz="UTC")
    path = str(remote / "data" / "drivers.parquet")
    table = pd.DataFrame({"driver": [1], "x": [2.0], "event_timestamp": [now]})
    table.to_parquet(path)
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    fields = [Field(name="driver", dtype=Int64), Field(name="x", dtype=Float64)]
    source = FileSource(path=path, timestamp_field="event_timestamp")
    view = FeatureView(name="fv", entities=[driver], schema=fields, source=source)

    @on_demand_feature_view(
        sources=[view],
        entities=[driver],
        schema=[Field(name="y", dtype=Float64)],
        mode="python",
        write_to_online_store=True,
    )
    def later(inputs):
        return {"y": [x + 1 for x in inputs["x"]]}

    store.apply([driver, view, later])
    store.write_to_online_store("later", table)
    rows = [{"driver": 1, "item_id": 3}, {"driver": 2, "item_id": 4}]
    features = ["later:y", "item_embeddings:item_model_version"]
    found = store.get_online_features(features, rows).to_dict()
    assert found["y"] == [3.0, None]
    assert found["item_model_version"] == ["v1", "v1"]


@pytest.mark.slow
def test_killed_publishers_and_recorders_lose_nothing(remote):
    command = [sys.executable, "-m", "tests.feature_store.kill_publish", remote, "10"]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_redis_cluster_is_refused(repo, redis):
    path = repo / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["online_store"] = {**redis, "redis_type": "redis_cluster"}
    path.write_text(yaml.safe_dump(settings))
    with pytest.raises(FeastConfigError, match="redis_cluster cannot swap models at"):
        OnlineRecommender(repo)
