"""Parts of the Redis engine that need no server."""

import socket
import traceback

import numpy as np
import pytest
import yaml
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from feast.repo_config import FeastConfigError
from hypothesis import given, settings, strategies as st

pytest.importorskip("redis", reason="no Redis client: skmmrec[redis]")

from skmmrec.feature_store import StoreError, open_store
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    entity_keys,
    pack_vectors,
    tcp_options,
)
from skmmrec.feature_store.backends.redis._format import (
    event_fields,
    feast_time,
    is_whole,
    read_event,
    read_feast_time,
)
from skmmrec.feature_store.backends.redis._names import Names
from skmmrec.feature_store.backends.redis._packed import pack_rows, unpack_rows
from skmmrec.feature_store.backends.redis._server import Server
from skmmrec.feature_store.backends.redis._store import _place

TYPE = "skmmrec.feature_store.ExactRedisOnlineStore"
quickly = settings(max_examples=60)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"redis_type": "redis_cluster"}, "cannot swap models at once"),
        ({"client": "glide"}, "glide reads Feast's own hashes only"),
        ({"skip_dedup": True}, "would let older values overwrite newer ones"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(repo, setting, message):
    path = repo / "feature_store.yaml"
    text = yaml.safe_load(path.read_text())
    text["online_store"] = {"type": TYPE, **setting}
    path.write_text(yaml.safe_dump(text))
    with pytest.raises(FeastConfigError, match=message):
        open_store(repo)


@pytest.mark.parametrize(
    ("connection", "place"),
    [
        ("db.shop:6379,password=a,secret", "db.shop:6379"),
        ("one:1,two:2,password=secret,ssl=true", "one:1,two:2"),
        ("redis://:secret@db:6379", "the given address"),
    ],
)
def test_a_server_is_named_without_its_password(connection, place):
    assert _place(connection) == place


def test_errors_of_settings_do_not_show_passwords(repo):
    path = repo / "feature_store.yaml"
    text = yaml.safe_load(path.read_text())
    secret = {"connection_string": "a:1,password=secret"}
    text["online_store"] = {"type": TYPE, "key_ttl_seconds": "x", **secret}
    path.write_text(yaml.safe_dump(text, sort_keys=False))
    with pytest.raises(FeastConfigError, match="key_ttl_seconds") as error:
        open_store(repo)
    told = "".join(traceback.format_exception(error.value))
    assert str(path) in told
    assert "secret" not in told


def test_feasts_own_settings_are_taken(repo):
    path = repo / "feature_store.yaml"
    text = yaml.safe_load(path.read_text())
    given_settings = {
        "redis_type": "redis_sentinel",
        "client": "redis",
        "key_ttl_seconds": 9,
        "skip_dedup": False,
    }
    text["online_store"] = {"type": TYPE, **given_settings}
    path.write_text(yaml.safe_dump(text))
    online = open_store(repo).config.online_store
    assert {name: getattr(online, name) for name in given_settings} == given_settings


def test_a_server_that_is_gone_is_soon_told(repo, monkeypatch):
    """A service has ten seconds for an answer, which may take several commands."""
    path, pauses = repo / "feature_store.yaml", []
    text = yaml.safe_load(path.read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    text["online_store"] = {"type": TYPE, "connection_string": place}
    path.write_text(yaml.safe_dump(text))
    monkeypatch.setattr("redis.retry.sleep", pauses.append)
    with pytest.raises(StoreError, match=f"Redis at {place} did not do"):
        backend_of(open_store(repo)).served()
    assert len(pauses) == 4
    assert sum(pauses) < 2


@pytest.mark.parametrize("kind", ["redis", "redis_sentinel"])
def test_connections_end_on_which_nobody_answers(repo, kind):
    """By the settings of the connection string, where it has them."""
    path = repo / "feature_store.yaml"
    text = yaml.safe_load(path.read_text())
    place = "127.0.0.1:1,socket_timeout=7"
    text["online_store"] = {"type": TYPE, "connection_string": place}
    text["online_store"] |= {"redis_type": kind, "sentinel_master": "main"}
    path.write_text(yaml.safe_dump(text))
    pool = backend_of(open_store(repo))._server.client.connection_pool
    sentinel = getattr(pool, "sentinel_manager", None)
    asked = [] if sentinel is None else sentinel.sentinels
    assert len(asked) == (kind == "redis_sentinel")
    for each in [pool, *(one.connection_pool for one in asked)]:
        settings = each.connection_kwargs
        assert settings["socket_timeout"] == 7
        assert settings["socket_keepalive_options"] == tcp_options()
        assert settings["socket_connect_timeout"] > 0


@given(
    ids=st.lists(st.text(max_size=5), min_size=1, max_size=30, unique=True),
    dim=st.integers(0, 5),
    data=st.data(),
)
@quickly
def test_packed_rows_come_back_from_pieces_that_overlap(ids, dim, data):
    keys = entity_keys("item_id", ids)
    matrix = np.random.default_rng(0).normal(size=(len(ids), dim)).astype(np.float32)
    values = pack_vectors(matrix)
    starts = data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=5))
    cuts = sorted({0, *starts})
    ends = [*cuts[1:], len(ids)]
    longer = [data.draw(st.integers(0, 3)) for _ in cuts]
    pieces = [
        (start, pack_rows(keys[start : end + more], values[start : end + more]))
        for start, end, more in zip(cuts, ends, longer, strict=True)
    ]
    found = [key for part, _ in unpack_rows(pieces) for key in part]
    assert found == keys
    numbers = np.concatenate([numbers for _, numbers in unpack_rows(pieces)])
    np.testing.assert_array_equal(numbers, matrix)


def test_rows_behind_a_gap_are_left_out():
    keys, values = entity_keys("item_id", [1, 2]), pack_vectors(np.eye(2))
    assert list(unpack_rows([(1, pack_rows(keys, values))])) == []
    assert list(unpack_rows([])) == []


@given(
    projects=st.tuples(st.text(max_size=8), st.text(max_size=8)),
    names=st.tuples(st.text(max_size=8), st.text(max_size=8)),
)
@quickly
def test_no_project_has_entries_of_another(projects, names):
    one, other = (Names(p).own(n) for p, n in zip(projects, names, strict=True))
    same = projects[0] == projects[1] and names[0] == names[1]
    assert (one == other) == same


@given(
    ids=st.lists(st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9), max_size=3),
    more=st.binary(min_size=1, max_size=12),
)
@quickly
def test_a_key_is_whole_without_the_end_of_another_project(ids, more):
    joins = [f"key{n}" for n in range(len(ids))]
    start = serialize_entity_key_prefix(joins)
    values = [entity_keys("k", [i])[0] for i in ids]
    head = len(serialize_entity_key_prefix(["k"]))
    key = start + b"".join(value[head:] for value in values)
    assert is_whole(key, len(start), len(ids))
    assert not is_whole(key + more, len(start), len(ids))
    if ids:
        assert not is_whole(key[:-1], len(start), len(ids))


@given(event_us=st.integers(-(2**55), 2**55))
@quickly
def test_times_are_those_of_feast(event_us):
    assert read_feast_time(feast_time(event_us).SerializeToString()) == event_us


@given(
    user=st.binary(max_size=9),
    item=st.binary(max_size=9),
    y=st.floats(allow_nan=False),
    event_us=st.integers(-(2**62), 2**62),
    pushed=st.none() | st.binary(max_size=9),
)
@quickly
def test_events_come_back(user, item, y, event_us, pushed):
    fields = event_fields(user, item, y, event_us, pushed)
    read = dict(zip(fields[::2], fields[1::2], strict=True))
    assert read_event(read) == (user, item, y, event_us)
    assert read.get(b"pushed") == pushed


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("FullStoreError", "MISCONF Redis is configured to save RDB", "Make room on"),
        ("FullStoreError", "OOM command not allowed when used memory >", "maxmemory"),
        ("ReadOnlyStoreError", "READONLY You can't write against a read only replica",
         "write to its master"),
        ("StoreError", "ERR unknown command", "did not do what was asked: ERR unknown"),
    ],
)  # fmt: skip
def test_errors_name_the_server_and_what_to_do(kind, text, message):
    from redis.exceptions import ResponseError

    with (
        pytest.raises(RuntimeError, match=f"Redis at host:1 .*{message}") as error,
        Server(None, "host:1").errors(),
    ):
        raise ResponseError(text)
    assert type(error.value).__name__ == kind
