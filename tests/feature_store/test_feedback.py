"""Events of feedback: taken in by number, once each, whatever clocks say."""

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from feast.data_source import PushMode
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import (
    OnlineRecommender,
    _clock,
    delete_ids,
    open_store,
    prune_feedback,
    publications,
    publish,
    rollback,
    verify,
)
from skmmrec.interactions import InteractionData, read_interactions

from .conftest import new_repo, reads_with_duckdb
from .test_events import events as pushed_events
from .test_fold_in import history_model


def model(n):
    return history_model(version=f"v{n}", seed=n)


def publish_first(repo):
    publish(model(1), repo)


@pytest.fixture
def online(repo, filled):
    return OnlineRecommender(filled(publish_first, repo))


def record(online, *items):
    for item in items:
        online.record(77, item)


def waiting(online):
    return online.feedback()["item_id"].tolist()


def test_events_are_numbered(online):
    record(online, 4, 9)
    events = online.feedback()
    assert events.index.name == "event"
    assert events.index.tolist() == [1, 2]
    assert events.columns.tolist() == ["user_id", "item_id", "y", "timestamp"]


def test_what_happens_between_fetch_and_publish_comes_back(repo, online):
    record(online, 4, 9)
    events = online.feedback()
    record(online, 11)
    publish(model(2), repo, feedback=events)
    assert waiting(online) == [11]
    record(online, 12)
    assert waiting(online) == [11, 12]
    assert online.retrain_due(2)
    assert not online.retrain_due(3)


def test_events_can_be_asked_for_page_by_page(repo, online):
    record(online, 4, 9, 11, 12)
    assert online.feedback(limit=2)["item_id"].tolist() == [4, 9]
    assert online.feedback(after=2)["item_id"].tolist() == [11, 12]
    assert online.feedback(after=1, limit=10**30)["item_id"].tolist() == [9, 11, 12]
    assert online.feedback(after=np.int64(1), limit=1)["item_id"].tolist() == [9]
    assert online.feedback(after=10**30).empty
    publish(model(2), repo, feedback=online.feedback(limit=2))
    assert online.feedback(limit=1)["item_id"].tolist() == [11]
    assert online.feedback(after=1)["item_id"].tolist() == [11, 12]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"limit": 0}, ValueError),
        ({"limit": 2.0}, TypeError),
        ({"limit": True}, TypeError),
        ({"after": -1}, ValueError),
        ({"after": "1"}, TypeError),
    ],
)
def test_what_is_no_page_is_refused(online, options, error):
    with pytest.raises(error, match=next(iter(options))):
        online.feedback(**options)


def test_nothing_is_taken_in_unless_it_is_said(repo, online):
    record(online, 4, 9)
    publish(model(2), repo)
    assert waiting(online) == [4, 9]
    publish(model(3), repo, feedback=online.feedback().iloc[:0])
    assert waiting(online) == [4, 9]


@pytest.mark.parametrize(
    "part",
    [
        lambda events: events,
        lambda events: events[events["y"] > 0],
        lambda events: events.iloc[::-1],
        lambda events: events["y"],
        lambda events: 2,
        lambda events: np.int64(2),
    ],
)
def test_any_part_of_the_table_says_up_to_where(repo, online, part):
    online.record(77, 4, y=-1.0)
    record(online, 9)
    token = part(online.feedback())
    record(online, 11)
    publish(model(2), repo, feedback=token)
    assert waiting(online) == [11]


@pytest.mark.parametrize(
    "lost",
    [
        lambda events: events.reset_index(),
        lambda events: events.reset_index(drop=True),
        lambda events: events.rename_axis("row"),
        lambda events: events.set_axis(events.index.astype(str)).rename_axis("event"),
        lambda events: events.iloc[:0].reset_index(drop=True),
    ],
)
def test_a_table_without_the_numbers_is_refused(repo, online, lost):
    record(online, 4)
    with pytest.raises(ValueError, match="feedback must have the index 'event'"):
        publish(model(2), repo, feedback=lost(online.feedback()))
    assert online.model_version == "v1"
    assert waiting(online) == [4]


@pytest.mark.parametrize(
    ("token", "error", "words"),
    [
        (2, ValueError, "event 2 was taken in, but the last event recorded here is 1"),
        (-1, ValueError, "number of an event"),
        (1.0, TypeError, "got float"),
        (True, TypeError, "got bool"),
        ("all", TypeError, "got str"),
        ([1], TypeError, "got list"),
    ],
)
def test_what_is_no_event_is_refused(repo, online, token, error, words):
    record(online, 4)
    with pytest.raises(error, match=words):
        publish(model(2), repo, feedback=token)
    assert online.model_version == "v1"
    assert waiting(online) == [4]


def test_a_user_may_go_between_fetch_and_publish(repo, online):
    record(online, 4)
    events = online.feedback()
    delete_ids(repo, users=[77])
    publish(model(2), repo, feedback=events)
    record(online, 9)
    assert waiting(online) == [9]


def test_a_model_that_knows_less_gives_events_back(repo, online):
    record(online, 4, 9)
    publish(model(2), repo, feedback=online.feedback())
    assert waiting(online) == []
    publish(model(3), repo, feedback=1)
    assert waiting(online) == [9]
    publish(model(4), repo, feedback=0)
    assert waiting(online) == [4, 9]


def test_pruning_waits_for_all_that_can_be_served(repo, online):
    record(online, 4, 9)
    publish(model(2), repo, feedback=1)
    assert prune_feedback(repo) == 0  # version 1 has taken in nothing
    publish(model(3), repo, feedback=2, keep=2)
    assert prune_feedback(repo) == 1
    rollback(repo, "v2")
    assert waiting(online) == [9]
    publish(model(4), repo, feedback=2, keep=1)
    assert prune_feedback(repo) == 1
    assert prune_feedback(repo) == 0
    record(online, 11)
    assert online.feedback().index.tolist() == [3]
    publish(model(5), repo, feedback=3)
    assert publications(repo)["feedback"].tolist() == [2, 3]


@reads_with_duckdb
def test_pushed_events_that_were_pruned_do_not_come_back(repo, online):
    store = open_store(repo)
    push = {"to": PushMode.ONLINE_AND_OFFLINE}
    store.push(
        "feedback_events_push", pushed_events(a=(77, 4, 1), b=(77, 9, 1)), **push
    )
    assert online.record_pushed() == 2
    publish(model(2), repo, feedback=1, keep=1)
    store.push("feedback_events_push", pushed_events(c=(77, 11, 1)), **push)
    assert prune_feedback(repo) == 1
    materialize(store)
    assert online.record_pushed() == 1
    assert waiting(online) == [9, 11]
    file = pq.read_table(repo / "data" / "feedback_events.parquet")
    assert sorted(file["event_id"].to_pylist()) == ["b", "c"]


def materialize(store):
    end = datetime.now(UTC) + timedelta(days=3)
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), end)


@reads_with_duckdb
def test_a_pushed_event_counts_once_whatever_is_materialized(repo, online):
    store = open_store(repo)
    rows = pushed_events(a=(77, 4, 1))
    store.push("feedback_events_push", rows, to=PushMode.ONLINE_AND_OFFLINE)
    assert online.record_pushed() == 1
    for _ in range(2):
        materialize(store)
        assert online.record_pushed() == 0
        store.push("feedback_events_push", rows, to=PushMode.ONLINE)
        assert online.record_pushed() == 0
    assert waiting(online) == [4]
    publish(model(2), repo, feedback=online.feedback())
    materialize(store)
    assert online.record_pushed() == 0
    assert waiting(online) == []


class Clock:
    """Stands for this machine's clock; it shows any time."""

    def __init__(self, monkeypatch):
        self.off = timedelta(0)
        monkeypatch.setattr(_clock, "datetime", self)

    def now(self, zone):
        return datetime.now(zone) + self.off


SECOND, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "hours", "days"))
OFFSETS = [sign * off for off in (SECOND, HOUR, DAY) for sign in (1, -1)]


@pytest.mark.parametrize("publisher", OFFSETS, ids=str)
@pytest.mark.parametrize("recorder", [-DAY, timedelta(0), DAY], ids=str)
def test_no_clock_has_to_agree(repo, monkeypatch, publisher, recorder):
    clock = Clock(monkeypatch)
    clock.off = publisher
    publish(model(1), repo)
    online, recorded = OnlineRecommender(repo), []
    for n, off in enumerate([recorder, publisher, -recorder]):
        clock.off = off
        for item in (3 * n, 3 * n + 1):
            assert online.record(77, item)
            recorded.append(item)
        assert waiting(online) == recorded
        left = online.recommend([77], k=99)["item_id"].tolist()
        assert not set(recorded) & set(left)
    # The clock of the publisher jumps back and forth between publications.
    events = online.feedback()
    online.record(77, 20)
    for n, off in enumerate((-publisher, publisher, timedelta(0))):
        clock.off = off
        publish(model(2 + n), repo, feedback=events)
        assert online.model_version == f"v{2 + n}"
        assert waiting(online) == [20]
        assert verify(model(2 + n), repo).ok
    clock.off = -publisher
    assert rollback(repo).version == "v3"
    assert waiting(online) == [20]
    assert verify(model(3), repo).ok


def test_events_of_a_store_that_was_set_back_are_not_taken_for_others(repo, online):
    """Its numbers come again: event 2 is another one than the model has seen."""
    record(online, 4)
    before = shutil.copytree(repo, repo.parent / "backup")
    record(online, 9)
    events = online.feedback()
    online = OnlineRecommender(before)
    record(online, 7)
    with pytest.raises(ValueError, match="under this number another one is recorded"):
        publish(model(2), before, feedback=events)
    assert waiting(online) == [4, 7]
    publish(model(2), before, feedback=events.iloc[:1])
    assert waiting(online) == [7]
    publish(model(3), before, feedback=online.feedback().drop(columns="user_id"))
    assert waiting(online) == []


def test_events_are_taken_in_in_the_order_they_came(online, monkeypatch):
    """By a recommender that sorts them by time; a clock is set back meanwhile."""
    clock, came = Clock(monkeypatch), [4, 9, 2, 7, 5]
    for item, hours in zip(came, [0, -1, 30, -5000, 2], strict=True):
        clock.off = timedelta(hours=hours)
        record(online, item)
    events = online.feedback()
    assert events["item_id"].tolist() == came
    rows, _ = read_interactions(events.drop(columns="y"))
    data = InteractionData.collect(rows, pd.Index([77]), pd.Index(range(25)))
    assert data.seen.items.tolist() == came
    jumps = events["timestamp"].diff()[1:]
    assert (jumps >= timedelta(0)).all()
    assert jumps.max() > timedelta(hours=29)  # what did not go back is as it was


@reads_with_duckdb
@pytest.mark.parametrize("off", [DAY, -DAY], ids=str)
def test_what_is_materialized_with_any_clock_brings_nothing_back(
    repo, monkeypatch, off
):
    clock, store = Clock(monkeypatch), open_store(repo)
    clock.off = off
    publish(history_model(n_items=25), store)
    clock.off = -off
    second = history_model(n_items=15, version="v2", seed=2)
    publish(second, store)
    materialize(store)
    store.materialize_incremental(end_date=datetime.now(UTC))
    assert verify(second, store).ok
    online = OnlineRecommender(store)
    clock.off = timedelta(0)
    online.record(1, 12)
    before = online.recommend([1], k=99)
    materialize(store)
    pd.testing.assert_frame_equal(online.recommend([1], k=99), before)


@pytest.mark.parametrize("ahead", [timedelta(days=2, minutes=1), 36500 * DAY], ids=str)
def test_a_publication_of_the_future_is_refused(repo, ahead):
    when = datetime.now(UTC) + ahead
    for timestamp in (when, when.replace(tzinfo=None)):
        with pytest.raises(ValueError, match=r"days, .* ahead of this machine's clock"):
            publish(model(1), repo, timestamp=timestamp)
    assert not (repo / "data").exists()
    publish(model(1), repo, timestamp=datetime.now(UTC) + 1.9 * DAY)


def test_a_clock_that_was_far_ahead_stops_nobody(repo, monkeypatch, caplog):
    clock = Clock(monkeypatch)
    clock.off = 36500 * DAY
    first = publish(model(1), repo)
    clock.off = timedelta(0)
    second = publish(model(2), repo)
    assert second.timestamp == first.timestamp + timedelta(microseconds=1)
    assert "dated 36499 days" in caplog.text or "dated 36500 days" in caplog.text
    online = OnlineRecommender(repo)
    record(online, 4)
    assert waiting(online) == [4]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(-50, 50)),
        st.tuples(st.just("fetch"), st.just(0)),
        st.tuples(st.just("publish"), st.integers(-50, 50)),
        st.tuples(st.just("rollback"), st.integers(-50, 50)),
        st.tuples(st.just("prune"), st.just(0)),
    ),
    min_size=3,
    max_size=14,
)


@settings(max_examples=6)
@given(steps=STEPS)
def test_events_come_back_once_in_order(steps):
    check_steps(steps)


@pytest.mark.slow
@settings(max_examples=40)
@given(steps=STEPS)
def test_events_come_back_once_in_order_in_many_ways(steps):
    check_steps(steps)


def check_steps(steps):
    """Each step by a machine whose clock is some hours wrong."""
    with new_repo() as repo, pytest.MonkeyPatch.context() as patch:
        clock, recorded, token = Clock(patch), [], None
        publish(model(0), repo)
        online, taken_in = OnlineRecommender(repo), {1: 0}
        for n, (kind, hours) in enumerate(steps, 1):
            clock.off = timedelta(hours=hours)
            number = int(publications(repo).query("served")["number"].iloc[0])
            if kind == "record":
                recorded.append(n % 20)
                online.record(100 + n, n % 20)
            elif kind == "fetch":
                token = online.feedback()
            elif kind == "publish":
                publish(model(n), repo, feedback=token)
                last = taken_in[number]
                if token is not None and len(token):
                    last = int(token.index[-1])
                number, token = int(publications(repo)["number"].max()), None
                taken_in[number] = last
            elif kind == "prune":
                prune_feedback(repo)
            elif len(publications(repo)) > 1:
                other = publications(repo).query("not served")["number"].iloc[-1]
                number = int(other)
                rollback(repo, number)
            events = online.feedback()
            assert events["item_id"].tolist() == recorded[taken_in[number] :]
            assert events.index.tolist() == list(
                range(taken_in[number] + 1, len(recorded) + 1)
            )


def test_who_only_records_reads_no_table_of_items(repo, monkeypatch):
    publish(history_model(), repo)
    writer, reader = OnlineRecommender(repo), OnlineRecommender(repo)
    reader.recommend([1])
    assert reader.record(77, 4)
    assert reader.record(77, 2)

    def read_all(*_, **__):
        raise AssertionError("all items were read")

    monkeypatch.setattr(writer._served.backend, "vectors", read_all)
    assert writer.record(78, 4)
    assert writer.record(78, 2)
    assert not writer.record(78, 2)
    with pytest.raises(KeyError, match=r"no vector of .* item_id 500"):
        writer.record(78, 500)
    monkeypatch.undo()
    lists = [writer.recommend([user], k=5).drop(columns="user_id") for user in (77, 78)]
    pd.testing.assert_frame_equal(*lists, check_exact=True)
