"""What stock Feast 0.67 does silently wrong, each promised here."""

import gc
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from feast.protos.feast.types.Value_pb2 import FloatList, Value

from skmmrec.feature_store import (
    OnlineRecommender,
    embedding_definitions,
    open_store,
    publish,
    read_vectors,
)
from skmmrec.feature_store._repo import apply
from skmmrec.feature_store.backends.sqlite import _opened

from ..conftest import make_recommender, reads_with_duckdb
from ..messages import entity_key_proto

NOW = datetime(2026, 6, 1, 12, 0, 0, 500, tzinfo=UTC)


@pytest.fixture
def store(repo):
    (repo / "data").mkdir()
    store = open_store(repo)
    apply(store, list(embedding_definitions(2, data=repo / "data")))
    return store


def write(store, item, vector, when, version="v1"):
    values = {
        "item_vector": Value(float_list_val=FloatList(val=vector)),
        "item_model_version": Value(string_val=version),
    }
    rows = [(entity_key_proto("item_id", item), values, when, None)]
    view = store.get_feature_view("item_embeddings")
    store.provider.online_write_batch(store.config, view, rows, None)


def read(store, *items):
    return store.get_online_features(
        features=["item_embeddings:item_vector"],
        entity_rows=[{"item_id": item} for item in items],
    ).to_dict()["item_vector"]


def test_what_is_open_is_closed_after_the_modules_are_empty(tmp_path, monkeypatch):
    conn = sqlite3.connect(tmp_path / "publication.db")
    opened = _opened._OfThread()
    opened.files[tmp_path] = conn
    monkeypatch.setattr(_opened, "os", None)  # as when the interpreter ends
    opened.__del__()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        conn.execute("SELECT 1")


@pytest.mark.parametrize("step", [timedelta(microseconds=1), timedelta(days=400)])
def test_an_older_write_never_beats_a_newer(store, step):
    write(store, 1, [1, 1], NOW)
    write(store, 1, [2, 2], NOW - step)
    assert read(store, 1) == [[1, 1]]
    write(store, 1, [3, 3], NOW + step)
    assert read(store, 1) == [[3, 3]]


def test_times_without_a_zone_are_utc(store):
    write(store, 1, [1, 1], NOW)
    write(store, 1, [2, 2], (NOW - timedelta(seconds=1)).replace(tzinfo=None))
    assert read(store, 1) == [[1, 1]]


def test_expired_values_are_neither_read_nor_found(repo, store):
    ttl = timedelta(hours=1)
    apply(store, list(embedding_definitions(2, data=repo / "data", ttl=ttl)))
    now = datetime.now(UTC)
    write(store, 1, [1, 1], now - timedelta(hours=2))
    write(store, 2, [2, 2], now - timedelta(minutes=30))
    assert read(store, 1, 2) == [None, [2, 2]]
    assert search(store, [1, 1])["item_id"] == [2]


def search(store, query, top_k=3, metric="L2"):
    view = store.get_feature_view("item_embeddings")
    for field in view.features:
        field.vector_search_metric = None  # the registered metric would win
    store.registry.apply_feature_view(view, store.project)
    return store.retrieve_online_documents_v2(
        features=[
            "item_embeddings:item_vector",
            "item_embeddings:item_model_version",
        ],
        query=query,
        top_k=top_k,
        distance_metric=metric,
    ).to_dict()


@pytest.mark.parametrize("metric", ["cosine", "L2", "inner_product"])
def test_search_through_feast_keeps_ids_and_columns_together(store, metric):
    """Ids are written so that their order is not the order of distance."""
    vectors = {30: [1.0, 0.0], 10: [0.0, 3.0], 20: [2.0, 2.0], 5: [-1.0, 0.5]}
    for item, vector in vectors.items():
        write(store, item, vector, NOW, version=f"version of {item}")
    query = np.array([1.0, 0.2])
    found = search(store, query.tolist(), top_k=4, metric=metric)
    assert found["item_id"] == [5, 10, 20, 30]
    assert found["item_vector"] == [vectors[item] for item in found["item_id"]]
    tags = [f"version of {item}" for item in found["item_id"]]
    assert found["item_model_version"] == tags
    rows = np.array(found["item_vector"])
    expected = {
        "cosine": 1 - rows @ query / np.linalg.norm(rows, axis=1) / 1.0198039,
        "L2": np.linalg.norm(rows - query, axis=1),
        "inner_product": -rows @ query,
    }[metric]
    np.testing.assert_allclose(found["distance"], expected, rtol=1e-6, atol=1e-7)


def test_search_follows_every_write(store):
    write(store, 1, [1, 0], NOW)
    assert search(store, [0, 1], top_k=1)["item_id"] == [1]
    write(store, 2, [0, 1], NOW)
    assert search(store, [0, 1], top_k=1)["item_id"] == [2]


def test_search_refuses_what_it_cannot_do(store):
    write(store, 1, [1, 0], NOW)
    with pytest.raises(ValueError, match=r"query has 3 numbers, item_vector of .* 2"):
        search(store, [1, 2, 3])
    with pytest.raises(ValueError, match="distance_metric must be one of"):
        search(store, [1, 2], metric="hamming")
    with pytest.raises(ValueError, match="names no text_encoder"):
        store.retrieve_online_documents_v2(
            features=["item_embeddings:item_vector"], top_k=1, query_string="words"
        )


@pytest.mark.parametrize("nothing", [None, []])
def test_what_has_no_vector_is_left_out_and_hurts_nobody_else(repo, nothing):
    """Feast itself writes null vectors; an item without one is not recommended."""
    model = make_recommender()
    publish(model, repo)
    store, now = open_store(repo), datetime.now(UTC) + timedelta(minutes=1)
    version = {"item_model_version": Value(string_val="v1")}
    value = Value() if nothing is None else Value(float_list_val=FloatList(val=nothing))
    row = (entity_key_proto("item_id", 3), {"item_vector": value, **version}, now, None)
    view = store.get_feature_view("item_embeddings")
    store.provider.online_write_batch(store.config, view, [row], None)
    vectors, found = read_vectors(store, "item", [2, 3])
    assert found.tolist() == [True, False]
    np.testing.assert_array_equal(vectors[0], model.vectors.items.loc[2])
    items = OnlineRecommender(store).recommend(["100"], k=30)["item_id"]
    seen = model.vectors.seen.loc["100"]
    assert sorted(items) == sorted(set(range(30)) - {3, *seen})
    found = search(store, [0.0] * 5, top_k=30)["item_id"]
    assert found == [item for item in range(30) if item != 3]


def test_a_user_without_a_vector_is_unknown(repo):
    publish(make_recommender(), repo)
    store, now = open_store(repo), datetime.now(UTC) + timedelta(minutes=1)
    view = store.get_feature_view("user_embeddings")
    values = {"user_vector": Value(), "user_model_version": Value(string_val="v1")}
    row = (entity_key_proto("user_id", "100"), values, now, None)
    store.provider.online_write_batch(store.config, view, [row], None)
    assert read_vectors(store, "user", ["100", "101"])[1].tolist() == [False, True]
    recommender = OnlineRecommender(store)
    assert len(recommender.recommend(["101"])) == 10
    with pytest.raises(KeyError, match="for 1 of 2 users, such as '100'"):
        recommender.recommend(["100", "101"])


def test_a_vector_of_another_length_is_refused(store):
    with pytest.raises(ValueError, match="item_vector of 1 has 3 numbers"):
        write(store, 1, [1, 2, 3], NOW)
    assert read(store, 1) == [None]


def test_more_keys_than_sqlite_takes_in_one_query(store):
    write(store, 39_999, [1, 2], NOW)
    values = read(store, *range(40_000))
    assert values[-1] == [1, 2]
    assert not any(values[:-1])


def test_a_repository_that_was_not_applied_says_so(repo):
    store = open_store(repo)
    view = embedding_definitions(2, data=repo / "data").item_embeddings
    with pytest.raises(LookupError, match="run `feast apply` first"):
        store.provider.online_read(store.config, view, [entity_key_proto("item_id", 1)])


def test_a_stock_table_is_taken_over_with_its_times(repo, store):
    """Rows of Feast's own store keep their time, so older writes still lose."""
    from feast.infra.online_stores.sqlite import SqliteOnlineStore

    config = store.config.model_copy(deep=True)
    config.online_config = {"type": "sqlite", "path": "data/stock.db"}
    config._online_store = None
    stock, view = SqliteOnlineStore(), store.get_feature_view("item_embeddings")
    stock.update(config, [], [view], [], [], True)
    values = {"item_vector": Value(float_list_val=FloatList(val=[1, 1]))}
    rows = [(entity_key_proto("item_id", 1), values, NOW, None)]
    stock.online_write_batch(config, view, rows, None)
    stock._conn.close()
    (repo / "data" / "stock.db").rename(repo / "data" / "online.db")
    for name in ("online.db-wal", "online.db-shm"):
        (repo / "data" / name).unlink(missing_ok=True)

    fresh = open_store(repo)
    write(fresh, 1, [2, 2], NOW - timedelta(minutes=1))
    assert read(fresh, 1) == [[1, 1]]
    write(fresh, 1, [3, 3], NOW + timedelta(minutes=1))
    assert read(fresh, 1) == [[3, 3]]


@reads_with_duckdb
def test_materialize_from_the_offline_file_changes_nothing(repo):
    recommender = make_recommender(n_users=3)
    publish(recommender, repo)
    store = open_store(repo)
    features = ["user_embeddings:user_vector", "user_embeddings:user_seen_items"]
    rows = [{"user_id": user} for user in recommender.vectors.users.index]
    before = store.get_online_features(features=features, entity_rows=rows).to_dict()
    store.materialize_incremental(end_date=datetime.now(UTC))
    after = store.get_online_features(features=features, entity_rows=rows).to_dict()
    assert after == before


def open_files(folder):
    """Files in a folder that this process has open."""
    links = []
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # of the listing itself
            links.append(str(handle.readlink()))
    return [link for link in links if link.startswith(str(folder.resolve()))]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
def test_files_are_closed_with_the_store_and_with_the_thread(repo):
    """Before the garbage collector comes, which may take long."""
    gc.collect()
    gc.disable()
    try:
        publish(make_recommender(), repo)
        assert open_files(repo) == []
        online = OnlineRecommender(repo)
        online.recommend(["100"], k=1)
        own = len(open_files(repo))
        with ThreadPoolExecutor(1) as pool:
            pool.submit(online.recommend, ["100"], k=1).result()
            assert len(open_files(repo)) > own > 0
        assert len(open_files(repo)) == own
        del online
        assert open_files(repo) == []
    finally:
        gc.enable()


def test_teardown_leaves_no_database(repo, store):
    write(store, 1, [1, 0], NOW)
    store.teardown()
    assert not list((repo / "data").glob("online.db*"))


@reads_with_duckdb
def test_materialize_writes_every_row_of_a_file_in_many_chunks(repo):
    recommender = make_recommender(n_users=50, n_items=200)
    publish(recommender, repo, chunk_size=3)
    assert pq.ParquetFile(repo / "data" / "item_embeddings.parquet").num_row_groups > 60
    store = open_store(repo)
    store.provider.online_store.teardown(store.config, [], [])
    assert not list((repo / "data").glob("online.db*"))
    views = [store.get_feature_view(f"{e}_embeddings") for e in ("user", "item")]
    store.provider.online_store.update(store.config, [], views, [], [], True)
    assert not read_vectors(store, "item", range(200))[1].any()
    store.materialize_incremental(end_date=datetime.now(UTC))
    for entity in ("user", "item"):
        wanted = getattr(recommender.vectors, f"{entity}s")
        vectors, found = read_vectors(store, entity, wanted.index)
        assert found.all()
        np.testing.assert_array_equal(vectors, wanted.to_numpy())
