"""What Feast 0.67 itself does wrong, each beside what is done here.

A test that fails because Feast has been mended is good news: then its guard may go.
"""

import warnings
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.repo_config import RegistryConfig

from skmmrec.feature_store import (
    AtomicFileRegistryStore,
    FeastFeatures,
    LostRowsError,
    OnlineRecommender,
    delete_ids,
    embedding_definitions,
    open_store,
    publish,
    read_vectors,
)
from skmmrec.feature_store._repo import apply

from .conftest import make_recommender, reads_with_duckdb
from .messages import entity_key_proto

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def configure(repo, **sections):
    path = repo / "feature_store.yaml"
    settings = {**yaml.safe_load(path.read_text()), **sections}
    path.write_text(yaml.safe_dump(settings))
    (repo / "data").mkdir(exist_ok=True)
    return open_store(repo)


@pytest.fixture(params=["stock", "ours"])
def store(repo, request):
    """Give the same definitions over Feast's sqlite store and over ours."""
    stock = {"online_store": {"type": "sqlite", "path": "data/stock.db"}}
    store = configure(repo, **(stock if request.param == "stock" else {}))
    ttl = timedelta(hours=1)
    apply(store, list(embedding_definitions(2, data=repo / "data", ttl=ttl)))
    yield store
    online = store.provider.online_store
    if type(online) is SqliteOnlineStore:
        online._conn.close()


def is_stock(store):
    return type(store.provider.online_store) is SqliteOnlineStore


def write(store, item, vector, when):
    values = {"item_vector": Value(float_list_val=FloatList(val=vector))}
    rows = [(entity_key_proto("item_id", item), values, when, None)]
    view = store.get_feature_view("item_embeddings")
    store.provider.online_write_batch(store.config, view, rows, None)


def read(store, item):
    return store.get_online_features(
        features=["item_embeddings:item_vector"], entity_rows=[{"item_id": item}]
    ).to_dict()["item_vector"][0]


def test_stock_lets_an_older_write_win_and_ours_does_not(store):
    now = datetime.now(UTC)
    write(store, 1, [1, 1], now)
    write(store, 1, [2, 2], now - timedelta(minutes=5))
    assert read(store, 1) == ([2, 2] if is_stock(store) else [1, 1])


def test_stock_serves_expired_values_and_ours_does_not(store):
    write(store, 1, [1, 1], datetime.now(UTC) - timedelta(hours=5))
    assert read(store, 1) == ([1, 1] if is_stock(store) else None)


def test_stock_has_no_way_to_delete_a_row_and_ours_has(repo, recommender):
    assert not [name for name in dir(SqliteOnlineStore) if "delete" in name]
    publish(recommender, repo)
    delete_ids(repo, items=[3])
    assert not read_vectors(repo, "item", [3])[1].any()


@pytest.mark.parametrize("order", ["rank", "ids"])
def test_feast_mislabels_what_is_found_unless_it_comes_in_the_order_of_ids(
    repo, monkeypatch, order
):
    """Feast's own stores give what they found in rank order; ours by id."""
    model = make_recommender()
    publish(model, repo)
    store = open_store(repo)
    online = store.provider.online_store
    search = online.retrieve_online_documents_v2

    def ranked(*args, **kwargs):
        found = search(*args, **kwargs)
        return sorted(found, key=lambda document: document[2]["distance"].float_val)

    if order == "rank":
        monkeypatch.setattr(online, "retrieve_online_documents_v2", ranked)
    found = store.retrieve_online_documents_v2(
        features=["item_embeddings:item_vector"], query=[1.0] * 5, top_k=6
    ).to_dict()
    stored = model.vectors.items.loc[found["item_id"]].to_numpy()
    same = np.array_equal(np.array(found["item_vector"], np.float32), stored)
    assert same == (order == "ids")


@reads_with_duckdb
@pytest.mark.parametrize("engine", ["dask", "duckdb"])
def test_dask_loses_rows_of_a_point_in_time_join_and_duckdb_does_not(repo, engine):
    """20,000 rows in, of 12 users and 99 times; with dask, 1,188 come out."""
    model = make_recommender(user_id=int)
    days = [NOW + timedelta(days=day) for day in range(2)]
    for day in days:
        publish(model, repo, timestamp=day)
    store = configure(repo, offline_store={"type": engine})
    rng = np.random.default_rng(0)
    asked = pd.DataFrame(
        {
            "user_id": rng.integers(100, 112, 20_000),
            "event_timestamp": [
                NOW + timedelta(hours=int(h)) for h in rng.integers(0, 99, 20_000)
            ],
        }
    )
    references = ["user_embeddings:user_vector"]
    features = FeastFeatures(store, references, timestamp="event_timestamp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = store.get_historical_features(
            entity_df=asked.copy(), features=references
        ).to_df()
        ours = features.fit_transform(asked)
    assert (len(found) == 20_000) == (engine == "duckdb")
    np.testing.assert_array_equal(ours, model.vectors.users.loc[asked["user_id"]])


@reads_with_duckdb
@pytest.mark.parametrize("engine", ["dask", "duckdb"])
def test_dask_loses_rows_from_before_all_features(repo, recommender, engine):
    publish(recommender, repo, timestamp=NOW)
    store = configure(repo, offline_store={"type": engine})
    asked = pd.DataFrame(
        {
            "item_id": [3, 3],
            "when": [NOW - timedelta(hours=1), NOW + timedelta(hours=1)],
        }
    )
    references = ["item_embeddings:item_vector"]
    features = FeastFeatures(store, references, timestamp="when")
    if engine == "dask":
        with pytest.raises(
            LostRowsError, match="'dask' returned 1 rows for 2 distinct"
        ):
            features.fit(asked)
        return
    found = features.fit_transform(asked)
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], recommender.vectors.items.loc[3])


def test_stock_writes_the_first_chunk_alone_of_an_arrow_table(repo):
    """Ours writes by its own path, through any number of chunks."""
    from feast.utils import _convert_arrow_to_proto

    definitions = embedding_definitions(2, data=repo / "data")
    part = pa.table(
        {
            "item_id": [1, 2],
            "item_vector": [[1.0, 2.0], [3.0, 4.0]],
            "item_model_version": ["v1", "v1"],
            "item_popularity": [0, 0],
            "item_category": ["rock", "rock"],
            "event_timestamp": [NOW, NOW],
        }
    )
    table = pa.concat_tables(
        [part, part.set_column(0, "item_id", pa.array([[3, 4]][0]))]
    )
    view = definitions.item_embeddings
    view.entity_columns = [f for f in view.schema if f.name == "item_id"]
    rows = _convert_arrow_to_proto(
        table, view, {"item_id": view.entity_columns[0].dtype.to_value_type()}
    )
    assert len(rows) == 2
    model = make_recommender(n_items=31)
    publish(model, repo, chunk_size=2)
    assert read_vectors(repo, "item", range(31))[1].all()


def test_a_missing_registry_is_named_and_made_anew(repo, recommender):
    """Without a registry nothing is served; publishing again registers it."""
    publish(recommender, repo)
    (repo / "data" / "registry.db").unlink()
    with pytest.raises(LookupError, match="nothing is published"):
        OnlineRecommender(repo).recommend(["100"])
    publish(recommender, repo)
    assert len(OnlineRecommender(repo).recommend(["100"])) == 10


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("milvus", "for milvus is not served from: its search gives"),
        ("qdrant", "for qdrant is not served from: no row can be read"),
        ("feast.infra.online_stores.contrib.qdrant.QdrantOnlineStore", "for qdrant"),
        ("sqlite", "write `type: skmmrec.feature_store.ExactSqliteOnlineStore`"),
    ],
)
def test_online_stores_that_mix_up_rows_are_refused(repo, recommender, kind, message):
    """Their clients need not be installed."""
    path = repo / "feature_store.yaml"
    settings = {**yaml.safe_load(path.read_text()), "online_store": {"type": kind}}
    path.write_text(yaml.safe_dump(settings))
    with pytest.raises(TypeError, match=message):
        publish(recommender, repo)
    assert not (repo / "data").exists()


@pytest.mark.parametrize("kind", [FileRegistryStore, AtomicFileRegistryStore])
def test_stock_empties_the_registry_before_writing_and_ours_does_not(
    repo, kind, monkeypatch
):
    """A failing disk stands for a process that is killed while it writes."""
    (repo / "data").mkdir()
    path = repo / "data" / "registry.db"
    registry = kind(RegistryConfig(path=str(path)), repo)
    registry.update_registry_proto(Registry(registry_schema_version="1"))
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", _fail)
    with pytest.raises(OSError, match="disk"):
        registry.update_registry_proto(Registry(registry_schema_version="2"))
    assert (path.read_bytes() == before) == (kind is AtomicFileRegistryStore)
    assert [file.name for file in path.parent.iterdir()] == ["registry.db"]


def _fail(_):
    raise OSError("disk")
