"""What Feast's server answers to rows that it cannot take."""

import json

import numpy as np
import pandas as pd
import pytest
from feast.feature_server import get_app
from starlette.testclient import TestClient

from skmmrec.feature_store import OnlineRecommender, open_store

from .conftest import publish_one

VECTOR = [9.0] * 5


def pushed(**changes):
    row = {
        "item_id": [3],
        "item_vector": [VECTOR],
        "item_model_version": ["v1"],
        "item_popularity": [1],
        "item_category": ["new"],
        "event_timestamp": [pd.Timestamp.now(tz="UTC").isoformat()],
    }
    row.update(changes)
    return {name: values for name, values in row.items() if values is not None}


@pytest.fixture
def client(repo, filled):
    filled(publish_one, repo)
    app = get_app(open_store(repo))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def send(client, path, body):
    # Infinity and NaN are no JSON, but Python reads them.
    headers = {"content-type": "application/json"}
    return client.post(path, content=json.dumps(body), headers=headers)


def push(client, to="online", **changes):
    body = {"push_source_name": "item_embeddings_push", "df": pushed(**changes)}
    return send(client, "/push", {**body, "to": to})


@pytest.mark.parametrize("to", ["online", "online_and_offline"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"item_vector": [VECTOR[:4]]}, "length 4 does not match expected 5"),
        ({"item_vector": [[]]}, "length 0 does not match expected 5"),
        ({"item_vector": [[np.inf, *VECTOR[1:]]]}, "item_vector of 3 must be finite"),
        ({"item_vector": [[*VECTOR[1:], np.nan]]}, "item_vector of 3 must be finite"),
        ({"item_vector": [["a"] * 5]}, "is of type <class 'str'>"),
        ({"item_vector": [3.0]}, "is not a sequence"),
        ({"item_vector": None}, "a column is missing"),
        ({"item_id": ["three"]}, "'three'"),
        ({"item_popularity": ["many"]}, "'many'"),
        ({"event_timestamp": ["yesterday"]}, "yesterday"),
        ({"item_vector": [VECTOR, VECTOR]}, "same length"),
    ],
)
def test_rows_that_cannot_be_taken_are_the_sender_s_mistake(
    client, repo, to, changes, reason
):
    before = OnlineRecommender(repo).recommend("101")
    files = {path: path.read_bytes() for path in (repo / "data").glob("*.parquet")}
    answer = push(client, to, **changes)
    assert answer.status_code == 422, answer.text
    assert reason in json.loads(answer.json())["message"]
    pd.testing.assert_frame_equal(OnlineRecommender(repo).recommend("101"), before)
    assert files == {path: path.read_bytes() for path in files}


def test_the_same_holds_where_rows_are_written(client):
    body = {"feature_view_name": "item_embeddings"}
    path = "/write-to-online-store"
    rows = {**body, "df": pushed(item_vector=[VECTOR[:3]])}
    answer = send(client, path, rows)
    assert answer.status_code == 422
    assert "length 3 does not match expected 5" in answer.text
    assert send(client, path, {**body, "df": pushed()}).status_code == 200


def test_rows_that_can_be_taken_are(client, repo):
    assert push(client).status_code == 200
    best = OnlineRecommender(repo).recommend("101", exclude_seen=False)
    assert 3 in best["item_id"].tolist()


# Feast's own errors have a status by a name that Starlette has deprecated.
@pytest.mark.filterwarnings("ignore:.*HTTP_422")
def test_other_mistakes_keep_their_status(client):
    rows = {"push_source_name": "nobody", "df": pushed(), "to": "online"}
    answer = send(client, "/push", rows)
    assert answer.status_code == 422
    assert "Unable to find push source 'nobody'" in answer.text
    assert send(client, "/push", {**rows, "to": "nowhere"}).status_code == 422


def test_a_fault_of_the_server_is_none_of_the_sender(client, monkeypatch):
    from skmmrec.feature_store import ExactSqliteOnlineStore, StoreError

    def fail(*args, **kwargs):
        raise StoreError("its disk is broken")

    monkeypatch.setattr(ExactSqliteOnlineStore, "online_write_batch", fail)
    answer = push(client)
    assert answer.status_code == 500
    assert "its disk is broken" in answer.text
