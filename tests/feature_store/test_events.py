"""Events that arrive through Feast's push source."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from feast.data_source import PushMode

from skmmrec.feature_store import OnlineRecommender, delete_ids, open_store, publish

from .conftest import reads_with_duckdb
from .test_fold_in import history_model


def events(**rows):
    """Make rows to push: ``e1=(user, item, y)``."""
    users, items, y = zip(*rows.values(), strict=True)
    return pd.DataFrame(
        {
            "event_id": list(rows),
            "event_user_id": users,
            "event_item_id": items,
            "event_y": [float(value) for value in y],
            "event_timestamp": pd.Timestamp.now(tz="UTC"),
        }
    )


@pytest.fixture
def store(repo):
    store = open_store(repo)
    publish(history_model(), store)
    return store


def test_pushed_events_count_as_recorded_ones(repo, store):
    pushed, direct = OnlineRecommender(store), OnlineRecommender(repo)
    store.push("feedback_events_push", events(e1=(77, 4, 1), e2=(78, 9, -1)))
    assert pushed.record_pushed() == 2
    assert pushed.record_pushed() == 0
    assert direct.record(79, 4)
    for column in ("item_id", "score"):
        assert (
            pushed.recommend([77])[column].tolist()
            == direct.recommend([79])[column].tolist()
        )
    assert 9 not in pushed.recommend([78], k=99)["item_id"].tolist()
    assert pushed.feedback()[["user_id", "item_id", "y"]].to_numpy().tolist() == [
        [77, 4, 1.0],
        [78, 9, -1.0],
        [79, 4, 1.0],
    ]


def assert_recorded_in_the_order_of_times(store):
    times = pd.to_datetime([30, 10, 20, 20], unit="s", utc=True)
    pushed = events(a=(77, 1, 1), b=(77, 2, 1), d=(77, 3, 1), c=(77, 4, 1))
    store.push("feedback_events_push", pushed.assign(event_timestamp=times))
    online = OnlineRecommender(store)
    assert online.record_pushed() == 4
    assert online.feedback()["item_id"].tolist() == [2, 4, 3, 1]


def test_waiting_events_are_recorded_in_the_order_of_their_times(store):
    """Their ids may be of any kind: a user is made of the latest likes."""
    assert_recorded_in_the_order_of_times(store)


@pytest.mark.services
def test_other_engines_record_in_the_order_of_times(remote):
    store = open_store(remote)
    publish(history_model(), store)
    assert_recorded_in_the_order_of_times(store)


def test_an_event_waits_for_its_item(store):
    online = OnlineRecommender(store)
    store.push("feedback_events_push", events(e1=(77, 500, 1)))
    assert online.record_pushed() == 0
    online.add_items([500], [[1.0, 2.0, 3.0]])
    assert online.record_pushed() == 1
    assert online.feedback()["item_id"].tolist() == [500]


@pytest.mark.parametrize(
    "broken", [(78, 5, np.nan), (78, 5, -np.inf), (78, None, 1), (None, 5, 1)]
)
def test_a_broken_event_is_left_and_named(store, broken):
    online = OnlineRecommender(store)
    pushed = events(e1=(77, 4, 1), e2=broken, e3=(79, 6, 1))
    store.push("feedback_events_push", pushed)
    with pytest.warns(UserWarning, match="1 pushed events .* such as event_id 'e2'"):
        assert online.record_pushed() == 2
    assert online.feedback()["user_id"].tolist() == [77, 79]
    assert np.isfinite(online.feedback()["y"]).all()
    store.push("feedback_events_push", events(e2=(78, 5, 1)))
    assert online.record_pushed() == 1
    assert online.feedback()["user_id"].tolist() == [77, 79, 78]


def test_a_failure_in_between_records_an_event_once(store, monkeypatch):
    online = OnlineRecommender(store)
    store.push("feedback_events_push", events(e1=(77, 4, 1)))
    with monkeypatch.context() as patch:
        patch.setattr(online._served, "_write_user", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            online.record_pushed()
    assert online.feedback().empty
    assert online.record_pushed() == 1
    assert len(online.feedback()) == 1


@reads_with_duckdb
def test_waiting_events_are_deleted_with_their_user(repo, store):
    pushed = events(e1=(77, 4, 1), e2=(78, 5, 1), e3=(79, 6, 1))
    store.push("feedback_events_push", pushed, to=PushMode.ONLINE_AND_OFFLINE)
    delete_ids(store, users=[77], items=[6])
    online = OnlineRecommender(store)
    assert online.record_pushed() == 1
    assert online.feedback()["user_id"].tolist() == [78]
    file = pq.read_table(repo / "data" / "feedback_events.parquet")
    assert file["event_user_id"].to_pylist() == [78]
