"""Requests go on with the publication before while the next one is loaded."""

import os
import threading
import time
from dataclasses import replace

import pandas as pd
import pytest

from skmmrec.feature_store import (
    DamagedStoreError,
    OnlineRecommender,
    _handover,
    delete_ids,
    publish,
    rollback,
)
from skmmrec.feature_store._handover import Handover
from skmmrec.feature_store._served import ServedModel
from skmmrec.feature_store.backends.base import Pace, Snapshot

from .conftest import make_recommender
from .test_publications import model

FIRST = Snapshot(1, "v1", b"", 10, 10)
SECOND = Snapshot(2, "v2", b"", 20, 20)
THIRD = Snapshot(3, "v3", b"", 30, 30)
LONG = 60.0  # seconds, after which a test fails


class Gate:
    """A load that ends when it is told to."""

    def __init__(self, error=None):
        self.started, self.open = [], threading.Event()
        self.error = error

    def __call__(self, snapshot):
        self.started.append(snapshot)
        assert self.open.wait(LONG)
        if self.error:
            raise self.error


def handover(load, *served):
    """Return one that has read a publication, and a function that reads another."""
    new = Handover()
    for snapshot in served:
        new.read(lambda snapshot=snapshot: snapshot, load)
    return new, lambda snapshot: new.read(lambda: snapshot, load).version


def test_the_first_is_read_at_once_and_the_next_when_it_is_loaded():
    gate = Gate()
    both, read = handover(gate)
    assert read(FIRST) == "v1"
    assert [read(SECOND) for _ in range(3)] == ["v1"] * 3
    assert gate.started == [SECOND]
    gate.open.set()
    both.join(LONG)
    assert read(SECOND) == "v2"
    gate.open.clear()
    assert read(FIRST) == "v2"  # back again: that is another handover
    gate.open.set()
    both.join(LONG)
    assert read(FIRST) == "v1"
    assert gate.started == [SECOND, FIRST]


def test_a_record_that_is_written_again_is_of_the_same_publication():
    gate = Gate()
    _, read = handover(gate, FIRST)
    assert read(replace(FIRST, version="v1 again", served_us=15)) == "v1 again"
    assert read(replace(FIRST, version="another", event_us=11)) == "v1 again"
    assert len(gate.started) == 1
    gate.open.set()


def test_what_this_process_publishes_is_read_at_once():
    gate = Gate()
    one, read = handover(gate, FIRST)
    _, read_too = handover(gate, FIRST)
    assert read(SECOND) == read_too(SECOND) == "v1"
    _handover.hand_over_now()
    assert read(SECOND) == read_too(SECOND) == "v2"
    assert read(THIRD) == "v2"
    assert one.adopt(THIRD) is THIRD
    assert read(THIRD) == "v3"
    assert read_too(THIRD) == "v2"
    gate.open.set()


def test_after_a_while_requests_wait(monkeypatch):
    gate = Gate()
    _, read = handover(gate, FIRST)
    assert read(SECOND) == "v1"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + _handover.PATIENCE - 1)
    assert read(THIRD) == "v1"  # also if it is another one by then
    monkeypatch.setattr(time, "monotonic", lambda: now + _handover.PATIENCE + 1)
    assert read(THIRD) == "v3"
    assert read(SECOND) == "v3"  # which begins to count anew
    gate.open.set()


def test_a_load_that_fails_is_told_and_read_by_who_asks(caplog):
    gate = Gate(DamagedStoreError("it is gone"))
    one, read = handover(gate, FIRST)
    assert read(SECOND) == "v1"
    gate.open.set()
    one.join(LONG)
    assert read(SECOND) == "v2"
    assert "publication 2 was not loaded: it is gone" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_waits_for_what_is_loaded(monkeypatch):
    gate = Gate()
    _, read = handover(gate, FIRST)
    assert read(SECOND) == "v1"
    threading.Timer(0.2, gate.open.set).start()
    child = os.fork()
    if child == 0:
        os._exit(0 if gate.open.is_set() and read(SECOND) == "v2" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(SECOND) == "v2"


# With a store


@pytest.fixture
def elsewhere(monkeypatch):
    """Publish and roll back as another process does, which this one is not told."""

    def run(change, *args, **kwargs):
        with monkeypatch.context() as patch:
            for module in ("_publish", "_publications"):
                name = f"skmmrec.feature_store.{module}.hand_over_now"
                patch.setattr(name, lambda: None)
            return change(*args, **kwargs)

    return run


@pytest.fixture
def held(monkeypatch):
    """Hold all loads until told otherwise."""
    gate, load = Gate(), ServedModel._load

    def wait(self, snapshot):
        gate(snapshot)
        load(self, snapshot)

    monkeypatch.setattr(ServedModel, "_load", wait)
    yield gate
    gate.open.set()


def versions(online, user="101"):
    """Return what says that it is served, and the scores that tell what is."""
    return online.model_version, online.recommend(user, k=3)["score"].tolist()


def settle(online, gate):
    gate.open.set()
    online._served._handover.join(LONG)


def published(repo, elsewhere):
    publish(model(1), repo)
    online = OnlineRecommender(repo)
    first = versions(online)
    elsewhere(publish, model(2), repo)
    return online, first


def test_requests_go_on_with_the_model_before(repo, elsewhere, held):
    online, first = published(repo, elsewhere)
    assert versions(online) == first
    fresh = versions(OnlineRecommender(repo))
    assert fresh[0] == "v2"
    assert fresh != first
    assert versions(online) == first
    settle(online, held)
    assert versions(online) == fresh
    elsewhere(rollback, repo)
    held.open.clear()
    assert versions(online) == fresh
    settle(online, held)
    assert versions(online) == first


def test_what_is_published_here_answers_at_once(repo, elsewhere, held):
    online, first = published(repo, elsewhere)
    publish(model(3), repo)
    assert versions(online)[0] == "v3"
    rollback(repo, "v1")
    assert versions(online) == first


def test_a_model_that_was_dropped_is_left(repo, elsewhere, held):
    online, first = published(repo, elsewhere)
    assert versions(online) == first
    elsewhere(publish, model(3), repo, keep=1)
    assert online.recommend("101", k=3)["score"].tolist() != first[1]
    assert online.model_version == "v3"


def test_whoever_the_model_before_does_not_know_is_looked_for(repo, elsewhere, held):
    publish(make_recommender(n_users=3, version="v1"), repo)
    online = OnlineRecommender(repo)
    assert set(online.recommend("101", k=3)["user_id"]) == {"101"}
    elsewhere(publish, make_recommender(n_users=6, version="v2"), repo)
    assert online.model_version == "v1"
    assert set(online.recommend(["104"], k=3)["user_id"]) == {"104"}
    assert online.model_version == "v2"


def test_an_error_is_of_what_is_served(repo, elsewhere, held):
    online, _ = published(repo, elsewhere)
    with pytest.raises(KeyError, match="of model version 'v2' for 1 of 1 users"):
        online.recommend("nobody")


def test_what_is_recorded_is_seen_at_once(repo, elsewhere, held):
    online, first = published(repo, elsewhere)
    assert versions(online) == first
    online.record("101", 3)
    assert online.model_version == "v2"
    assert 3 not in set(online.recommend("101", k=30)["item_id"])
    assert len(online.feedback()) == 1


def test_items_are_added_to_what_is_served(repo, elsewhere, held):
    online, first = published(repo, elsewhere)
    assert versions(online) == first
    online.add_items([99], [[50.0, 2.0]])
    assert online.model_version == "v2"
    assert 99 in set(online.recommend("101", k=30)["item_id"])


def test_what_is_deleted_is_gone_from_the_model_before_too(repo, elsewhere, held):
    online, _ = published(repo, elsewhere)
    gone = online.recommend("101", k=1)["item_id"].tolist()
    assert online.model_version == "v1"
    delete_ids(repo, items=gone)
    assert online.model_version == "v1"
    assert not set(gone) & set(online.recommend("101", k=30)["item_id"])


def test_conditions_are_loaded_beforehand(repo, elsewhere):
    prices = pd.DataFrame({"price": range(30)})
    publish(make_recommender(version="v1"), repo, features=prices)
    online = OnlineRecommender(repo)
    online.recommend("101", where="price < 3")
    elsewhere(publish, make_recommender(version="v2"), repo, features=prices)
    online.recommend("101")
    online._served._handover.join(LONG)
    assert online.model_version == "v2"
    assert set(online._served.items().kept) == {"price"}


def test_a_damaged_successor_is_told_by_requests(repo, elsewhere):
    online, _ = published(repo, elsewhere)
    for path in (repo / "data" / "online.db.publications").glob("*-2-*.db"):
        path.chmod(0o644)
        path.write_bytes(os.urandom(path.stat().st_size))
    online._served.snapshot()  # which begins to load
    online._served._handover.join(LONG)
    with pytest.raises(DamagedStoreError, match="publish the model again"):
        online.recommend("101")


@pytest.mark.services
def test_servers_go_on_with_the_model_before(remote, elsewhere, held):
    online, first = published(remote, elsewhere)
    assert versions(online) == first
    fresh = versions(OnlineRecommender(remote))
    settle(online, held)
    assert versions(online) == fresh
    elsewhere(publish, model(3), remote, keep=1)
    held.open.clear()
    assert online.recommend("101", k=3)["score"].tolist() != fresh[1]
    assert online.model_version == "v3"
    online.record("101", 3)
    assert 3 not in set(online.recommend("101", k=30)["item_id"])


def paused(repo, elsewhere, monkeypatch):
    """Count the pauses of a load, by thread."""
    pauses = []
    online, _ = published(repo, elsewhere)
    monkeypatch.setattr(Pace, "pause", lambda _: pauses.append(threading.get_ident()))
    online.recommend("101")
    online._served._handover.join(LONG)
    assert online.model_version == "v2"
    online.recommend("101")
    return pauses


def test_loads_give_way(repo, elsewhere, monkeypatch):
    pauses = paused(repo, elsewhere, monkeypatch)
    assert len(set(pauses)) == 1
    assert threading.get_ident() not in pauses


@pytest.mark.services
def test_loads_from_servers_give_way(remote, elsewhere, monkeypatch):
    pauses = paused(remote, elsewhere, monkeypatch)
    assert len(set(pauses)) == 1
    assert threading.get_ident() not in pauses
