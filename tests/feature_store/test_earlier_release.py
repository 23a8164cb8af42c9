"""Stores that a release without numbered publications has published to."""

import json
import sqlite3
from contextlib import closing

import pytest

from skmmrec.feature_store import OnlineRecommender, open_store, publish, verify
from skmmrec.feature_store.backends import backend_of

from .test_publications import model

CREATE = (
    "CREATE TABLE IF NOT EXISTS skmmrec_publication (project TEXT, state TEXT, "
    "version TEXT, fingerprint {bytes}, event_us BIGINT, exponent {float}, "
    "half_life {float}, "
    "PRIMARY KEY (project, state))"
)
INSERT = "INSERT INTO skmmrec_publication VALUES ('{}', '{}', 'v0', NULL, 1, 0.5, NULL)"
WORDS = "model version 'v0' was published in .* by an earlier release .* publish it aga"


def publish_earlier(store, state="served"):
    """Leave the record that an earlier release left, where its engine has it."""
    online, config = store.provider.online_store, store.config
    kind = config.online_store.type
    if kind.endswith("RedisOnlineStore"):
        name = f"skmmrec:{store.project}:publication"
        text = json.dumps({"version": "v0", "fingerprint": "", "event_us": 1})
        online.tables(config).server("HSET", name, state, text)
        return
    insert = INSERT.format(store.project, state)
    if kind.endswith("SqliteOnlineStore"):
        create = CREATE.format(bytes="BLOB", float="REAL")
        path = store.repo_path / "data" / "online.db"
        with closing(sqlite3.connect(path)) as conn, conn:
            conn.execute(create)
            conn.execute(insert)
        return
    create = CREATE.format(bytes="BYTEA", float="DOUBLE PRECISION")
    with online.engine(config).connections.get() as conn:
        conn.execute(create)
        conn.execute(insert)


def check_that_it_is_told(repo):
    publish(model(1), repo)  # registers feature views, and is forgotten again
    store = open_store(repo)
    store.provider.online_store.teardown(store.config, [], [])
    store.refresh_registry()
    store = open_store(repo)
    store.apply(store.list_feature_views())
    online = OnlineRecommender(store)
    with pytest.raises(LookupError, match="nothing is published"):
        online.recommend("101")
    publish_earlier(store, "staged")
    with pytest.raises(LookupError, match="nothing is published"):
        online.recommend("101")
    publish_earlier(store)
    for ask in (
        lambda: online.recommend("101"),
        lambda: online.record("101", 3),
        online.feedback,
        lambda: verify(store),
    ):
        with pytest.raises(LookupError, match=WORDS):
            ask()
    assert online.model_version is None
    publish(model(2), repo)
    assert online.model_version == "v2"
    assert len(online.recommend("101", k=2)) == 2
    assert backend_of(store).served().version == "v2"


def test_a_store_of_an_earlier_release_is_told(repo):
    check_that_it_is_told(repo)


@pytest.mark.services
def test_a_server_of_an_earlier_release_is_told(remote):
    check_that_it_is_told(remote)
