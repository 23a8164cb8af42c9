"""Publications beside each other: listing, rolling back, keeping and forgetting."""

import json
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import (
    FeastFeatures,
    OnlineRecommender,
    _publications as publications_module,
    _publish as publish_module,
    delete_ids,
    open_store,
    publications,
    publish,
    read_vectors,
    rollback,
    verify,
)
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    DamagedStoreError,
    Snapshot,
    StoreError,
)
from skmmrec.feature_store.backends.sqlite import SqliteBackend

from .conftest import make_recommender, new_repo, reads_with_duckdb
from .earlier_rows import check_that_nothing_comes_back
from .test_fold_in import history_model


class Interrupted(Exception):
    pass


def model(n, **changes):
    """Version ``v{n}``, with vectors of its own."""
    return make_recommender(
        **{"n_users": 6, "n_items": 8, "dim": 3, "seed": n, "version": f"v{n}"}
        | changes
    )


def versions(repo):
    return publications(repo)["version"].tolist()


def offline_versions(repo, view="user"):
    """Model versions in the offline file, in the order of their times."""
    table = pq.read_table(repo / "data" / f"{view}_embeddings.parquet").to_pandas()
    groups = table.sort_values("event_timestamp", kind="stable").groupby(
        "event_timestamp", sort=True
    )
    rows = groups[f"{view}_model_version"].agg(["first", "nunique", "size"])
    assert (rows["nunique"] == 1).all()
    return rows["first"].tolist()


@pytest.mark.parametrize("number", [None, 0, 2, "1"])
def test_a_publication_of_another_format_is_refused(number):
    fields = json.loads(Snapshot(7, "v1", b"", 10, 10).to_json())
    with pytest.raises(StoreError, match=f"publication 7 is of format {number!r}"):
        Snapshot.from_json(json.dumps(fields | {"format": number}))


def test_a_record_is_read_whole_or_refused():
    """Of a record that was cut, or has another name in it, nothing is guessed."""
    text = Snapshot(7, "v1", b"a", 10, 10, 3, counts={"users": 2}).to_json()
    later = json.dumps(json.loads(text) | {"of_later": 1})
    with pytest.raises(StoreError, match="publication 7 has of_later, which"):
        Snapshot.from_json(later)
    for cut in range(len(text)):
        with pytest.raises(DamagedStoreError, match="is damaged"):
            Snapshot.from_json(text[:cut])
    for name in json.loads(text):
        with pytest.raises(StoreError):
            Snapshot.from_json(text.replace(f'"{name}"', f'"{name}z"'))
    with pytest.raises(DamagedStoreError, match="is damaged"):
        Snapshot.from_json(b"\xff" + text.encode())
    earlier = {k: v for k, v in json.loads(text).items() if k != "memory_exponent"}
    assert Snapshot.from_json(json.dumps(earlier)) == Snapshot.from_json(text)


def test_a_store_of_another_format_is_refused_whoever_asks(repo):
    publish(model(1), repo)
    with closing(sqlite3.connect(repo / "data" / "online.db")) as conn, conn:
        other = """replace(content, '"format": 1', '"format": 99')"""
        conn.execute(f"UPDATE skmmrec_publications SET content = {other}")
    online = OnlineRecommender(repo)
    for ask in (
        lambda: online.recommend("101"),
        lambda: online.record("101", 3),
        lambda: publish(model(2), repo),
        lambda: publications(repo),
        lambda: rollback(repo),
        lambda: verify(repo),
    ):
        with pytest.raises(StoreError, match="publication 1 is of format 99"):
            ask()


def test_publications_are_listed(repo):
    publish(model(1), repo, timestamp=datetime(2026, 1, 1))
    when = publish(model(2, n_users=7), repo).timestamp
    table = publications(repo)
    assert table.columns.tolist() == [
        "number",
        "version",
        "timestamp",
        "served_since",
        "n_users",
        "n_items",
        "feedback",
        "served",
    ]
    assert table["number"].tolist() == [1, 2]
    assert table["version"].tolist() == ["v1", "v2"]
    assert table["timestamp"].tolist() == [datetime(2026, 1, 1, tzinfo=UTC), when]
    assert table["n_users"].tolist() == [6, 7]
    assert table["served"].tolist() == [False, True]


def test_nothing_published_is_an_empty_list(repo):
    table = publications(repo)
    assert len(table) == 0
    assert table["served"].dtype == bool
    with pytest.raises(LookupError, match="nothing published"):
        rollback(repo)


def test_a_rollback_serves_the_one_before_at_once(repo):
    first, second = model(1), model(2)
    publish(first, repo)
    later = publish(second, repo)
    online = OnlineRecommender(repo)
    assert online.model_version == "v2"
    back = rollback(repo)
    assert online.model_version == "v1"
    assert back.version == "v1"
    assert back[2:] == (6, 8, 3)
    assert back.timestamp > later.timestamp
    assert verify(first, repo).ok
    assert verify(repo).ok
    assert publications(repo)["served"].tolist() == [True, False]


def test_rollbacks_go_back_one_by_one_and_forth_by_name(repo):
    for n in (1, 2, 3):
        publish(model(n), repo)
    assert [rollback(repo).version for _ in range(2)] == ["v2", "v1"]
    with pytest.raises(LookupError, match=r"no publication before .* number 3 \(ver"):
        rollback(repo)
    assert rollback(repo, "v3").version == "v3"
    assert rollback(repo, np.int64(2)).version == "v2"
    for unknown in ("v9", 9, True):
        with pytest.raises(LookupError, match=r"has no publication .*'v1'"):
            rollback(repo, unknown)
    assert OnlineRecommender(repo).model_version == "v2"


def test_the_model_that_proved_itself_is_kept_and_returned_to(repo):
    for n in (1, 2, 3):
        publish(model(n), repo)
    rollback(repo, 1)
    publish(model(4), repo)
    assert versions(repo) == ["v1", "v3", "v4"]
    assert rollback(repo).version == "v1"


def test_a_version_that_comes_twice_is_told_by_its_number(repo):
    first, again = model(1), model(7, version="v1")
    for recommender in (first, model(2), again):
        publish(recommender, repo)
    rollback(repo, "v2")
    with pytest.raises(LookupError, match="more than one publication of version 'v1'"):
        rollback(repo, "v1")
    rollback(repo, 1)
    assert verify(first, repo).ok
    rollback(repo, 3)
    assert verify(again, repo).ok


def test_keep_says_how_many_stay(repo):
    for n in range(1, 6):
        publish(model(n), repo, keep=2)
    assert versions(repo) == ["v4", "v5"]
    assert offline_versions(repo) == offline_versions(repo, "item") == ["v4", "v5"]
    publish(model(6), repo, keep=1)
    assert versions(repo) == offline_versions(repo) == ["v6"]
    for n in range(7, 11):
        publish(model(n), repo, keep=None)
    assert versions(repo) == offline_versions(repo) == [f"v{n}" for n in range(6, 11)]
    folder = repo / "data" / "online.db.publications"
    assert len(list(folder.iterdir())) == 5


@pytest.mark.parametrize(
    ("keep", "error"),
    [(0, ValueError), (-1, ValueError), ("3", TypeError), (True, TypeError)],
)
def test_a_keep_that_keeps_nothing_is_refused(repo, keep, error):
    with pytest.raises(error, match="keep must be"):
        publish(model(1), repo, keep=keep)
    with pytest.raises(error, match="chunk_size must be"):
        publish(model(1), repo, chunk_size=keep)
    assert not (repo / "data").exists()


def test_only_the_last_services_stay_in_the_registry(repo, monkeypatch):
    monkeypatch.setattr("skmmrec.feature_store._registration._VERSIONS", 2)
    for n in range(4):
        publish(model(n), repo)
    names = {service.name for service in open_store(repo).list_feature_services()}
    assert names == {"recommendation", "embeddings", "model_v2", "model_v3"}


def files_of(repo):
    """Count files and their bytes, but for sqlite's log, which has its own bound."""
    files = {p: p.stat().st_size for p in (repo / "data").rglob("*") if p.is_file()}
    log = files.pop(repo / "data" / "online.db-wal", 0)
    assert log < 2 * 1000 * 4096  # it is emptied after 1,000 pages
    return {"count": len(files), "bytes": sum(files.values())}


def grows(repo, times):
    """Publish so often, with rollbacks, and return the sizes after each."""
    sizes, store = [], open_store(repo)
    for n in range(times):
        publish(model(n % 50, version=f"v{n % 50}"), store, keep=3)
        if n % 7 == 6:
            rollback(store)
        sizes.append(files_of(repo))
    return sizes


@pytest.mark.parametrize("times", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_disk_stays_flat(repo, times):
    sizes = grows(repo, times)
    # The first ones fill what is kept: publications, services, rows of rollbacks, and
    # the log of the database, which goes into its file after 1,000 pages.
    early, late = sizes[times // 3 : times // 2], sizes[times // 2 :]
    assert max(s["count"] for s in late) <= max(s["count"] for s in early) + 2
    assert max(s["bytes"] for s in late) <= 1.1 * max(s["bytes"] for s in early)


@reads_with_duckdb
def test_features_as_they_were_follow_a_rollback(repo):
    first, second = model(1), model(2)
    day = datetime(2026, 1, 1, tzinfo=UTC)
    publish(first, repo, timestamp=day)
    publish(second, repo, timestamp=day + timedelta(days=1))
    back = rollback(repo).timestamp
    asked = pd.DataFrame({"user_id": ["101"] * 3})
    asked["event_timestamp"] = [
        day + timedelta(hours=1),
        back - timedelta(seconds=1),
        back + timedelta(seconds=1),
    ]
    features = FeastFeatures(
        repo, ["user_embeddings:user_vector"], timestamp="event_timestamp"
    )
    found = features.fit_transform(asked)
    one, two = (m.vectors.users.loc["101"].to_numpy() for m in (first, second))
    np.testing.assert_array_equal(found, np.stack([one, two, one]))


@reads_with_duckdb
def test_nothing_that_feast_does_brings_back_rows_of_an_earlier_model(repo):
    check_that_nothing_comes_back(repo)


def test_what_was_recorded_stays_with_its_model(repo):
    first, second = history_model(), history_model(version="v2", seed=1)
    publish(first, repo)
    online = OnlineRecommender(repo)
    online.record(1, 20)
    publish(second, repo, feedback=online.feedback())
    online.record(77, 21)
    assert online.feedback()["item_id"].tolist() == [21]
    rollback(repo)
    assert verify(first, repo).ok
    assert online.feedback()["item_id"].tolist() == [20, 21]
    with pytest.raises(KeyError):
        online.recommend([77])
    online.record(77, 22)
    assert len(online.recommend([77])) == 10
    rollback(repo, "v2")
    assert verify(second, repo).ok
    assert online.feedback()["item_id"].tolist() == [21, 22]


def interrupt(monkeypatch, owner, step, after=0):
    """Fail in the call number `after` of a step."""
    calls, real = iter(range(after)), getattr(owner, step)

    def failing(*args, **kwargs):
        if next(calls, None) is None:
            raise Interrupted
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, step, failing)


STEPS = [
    (SqliteBackend, "begin", 0),
    (SqliteBackend, "stage_rows", 1),
    (publish_module, "append_parquet", 0),
    (publish_module, "append_parquet", 1),
    (SqliteBackend, "complete", 0),
    (SqliteBackend, "serve", 0),
    (SqliteBackend, "drop", 0),
    (SqliteBackend, "discard", 0),
    (publish_module, "forget_before", 0),
    (publish_module, "add_service", 0),
]


@pytest.mark.parametrize(("owner", "step", "after"), STEPS)
@pytest.mark.parametrize("then", ["the same", "another", "rollback", "delete"])
def test_whatever_is_interrupted_leaves_nothing(
    repo, monkeypatch, owner, step, after, then
):
    publish(model(1), repo)
    publish(model(2), repo)
    with monkeypatch.context() as patch:
        interrupt(patch, owner, step, after)
        with pytest.raises(Interrupted):
            publish(model(3), repo, keep=1, chunk_size=4)
    served = OnlineRecommender(repo).model_version
    assert verify(model(int(served[1:])), repo).ok
    if then in ("the same", "another"):
        last = model(3 if then == "the same" else 4)
        publish(last, repo, keep=1)
        assert verify(last, repo).ok
        assert versions(repo) == offline_versions(repo) == [last.vectors.version]
        assert offline_versions(repo, "item") == [last.vectors.version]
    elif then == "rollback":
        rollback(repo, served)
    else:
        delete_ids(repo, users=["nobody"])
    backend = backend_of(open_store(repo))
    assert backend.staged() is None
    assert all(backend.publications()[n].served_us for n in range(len(versions(repo))))
    rows = pq.read_table(repo / "data" / "user_embeddings.parquet")
    assert len(rows) == 6 * len(set(offline_versions(repo)))
    assert set(offline_versions(repo)) <= {*versions(repo), served, "v1", "v2"}
    files = [path.name for path in (repo / "data").rglob("*")]
    assert not [name for name in files if "partial" in name or "journal" in name]
    assert sum(
        ".publications" in str(p.parent) for p in (repo / "data").rglob("*")
    ) == (len(versions(repo)))


def test_a_publication_that_was_complete_is_served_without_writing_it_again(
    repo, monkeypatch
):
    publish(model(1), repo)
    with monkeypatch.context() as patch:
        interrupt(patch, SqliteBackend, "serve")
        with pytest.raises(Interrupted):
            publish(model(2), repo)
    written = []
    monkeypatch.setattr(SqliteBackend, "stage_rows", lambda *args: written.append(args))
    assert versions(repo) == ["v1"]
    publish(model(2), repo)
    assert written == []
    assert verify(model(2), repo).ok
    assert offline_versions(repo) == ["v1", "v2"]


@pytest.mark.parametrize("then", ["rollback", "publish"])
@pytest.mark.parametrize("after", [0, 1])
def test_an_interrupted_rollback_is_completed(repo, monkeypatch, after, then):
    for n in (1, 2):
        publish(model(n), repo)
    with monkeypatch.context() as patch:
        interrupt(patch, publications_module, "append_parquet", after)
        with pytest.raises(Interrupted):
            rollback(repo)
    assert OnlineRecommender(repo).model_version == "v1"
    if then == "rollback":
        rollback(repo, "v1")
        assert offline_versions(repo) == offline_versions(repo, "item")
        assert offline_versions(repo) == ["v1", "v2", "v1"]
    else:
        publish(model(3), repo)
        assert offline_versions(repo) == offline_versions(repo, "item")
        assert offline_versions(repo) == ["v1", "v2", "v1", "v3"]


def test_a_reader_follows_when_its_publication_is_dropped(repo, monkeypatch):
    publish(model(1), repo)
    online = OnlineRecommender(repo)
    served = online._served
    read, calls = served.users, []

    def late(*args):
        if not calls:
            calls.append(1)
            publish(model(2), repo, keep=1)
        return read(*args)

    monkeypatch.setattr(served, "users", late)
    table = online.recommend(["101"], k=3, exclude_seen=False)
    vectors = model(2).vectors
    best = (vectors.items @ vectors.users.loc["101"]).sort_values(ascending=False)
    assert table["item_id"].tolist() == best.index[:3].tolist()


def test_another_width_of_an_emptied_repository_replaces_all(repo):
    publish(model(1), repo)
    for name in ("user", "item"):
        (repo / "data" / f"{name}_embeddings.parquet").unlink()
    publish(model(2, dim=7), repo)
    assert versions(repo) == ["v2"]
    assert read_vectors(repo, "item", [1])[0].shape == (1, 7)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 3)),
        st.tuples(st.just("rollback"), st.integers(0, 4)),
        st.tuples(st.just("killed"), st.sampled_from(["complete", "serve", "drop"])),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.slow
@settings(max_examples=25)
@given(operations=OPERATIONS)
def test_any_order_of_calls_serves_what_was_asked_for_last(operations):
    check_operations(operations)


@settings(max_examples=4)
@given(operations=OPERATIONS)
def test_some_orders_of_calls_serve_what_was_asked_for_last(operations):
    check_operations(operations)


def check_operations(operations):
    """Compare the list of what is kept with one that is made here by the rules."""
    with new_repo() as repo, pytest.MonkeyPatch.context() as outer:
        store, kept, clock = open_store(repo), {}, 0
        models = {}

        def serve(number):
            nonlocal clock
            clock += 1
            kept[number] = clock

        for n, (kind, argument) in enumerate(operations):
            recommender = model(n)
            if kind == "publish":
                publish(recommender, store, keep=argument)
                number = publications(store)["number"].max()
                models[number] = recommender
                serve(number)
                for old in sorted(kept, key=kept.get)[:-argument]:
                    del kept[old]
            elif kind == "killed":
                with outer.context() as patch:
                    interrupt(patch, SqliteBackend, argument)
                    with suppress(Interrupted):
                        publish(recommender, store, keep=1)
                served = OnlineRecommender(store).model_version
                if served == recommender.vectors.version:
                    number = publications(store)["number"].max()
                    models[number] = recommender
                    serve(number)
            elif argument in kept:
                current = max(kept, key=kept.get)
                rollback(store, argument)
                if argument != current:
                    serve(argument)
            if not kept:
                continue
            table = publications(store)
            assert sorted(kept) == table["number"].tolist()
            current = max(kept, key=kept.get)
            assert table["number"][table["served"]].tolist() == [current]
            assert verify(models[current], store).ok
            assert verify(store).ok
