"""Offline stores and engines of Feast: trusted for the rows that come back."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from feast import Entity, FeatureView, Field, ValueType
from feast.types import Array, Float32, Int64
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import (
    FeastFeatures,
    LostRowsError,
    OnlineRecommender,
    embedding_definitions,
    open_store,
    publications,
    publish,
    repo_settings,
    rollback,
)
from skmmrec.feature_store._definitions import _file_source, _spark_source
from skmmrec.feature_store._engines import check_zone, rows_at
from skmmrec.feature_store._repo import apply

from .conftest import make_recommender, new_repo, reads_with_duckdb

NOW = datetime(2026, 6, 1, 12, 0, 0, 600_000, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
LOSSY = "tests.feature_store.lossy.LossyOfflineStore"
ENGINE = "tests.feature_store.lossy.LossyComputeEngine"
COUNTED = "skmmrec.feature_store.CountingProvider"
VIEWS = ("user_embeddings", "item_embeddings")


def configure(repo, **sections):
    path = repo / "feature_store.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **sections}))
    return open_store(repo)


def lossy(repo, loses):
    return configure(repo, offline_store={"type": LOSSY, "loses": loses})


def offline_rows(repo):
    return [
        pq.read_table(repo / "data" / f"{view}.parquet").sort_by("event_timestamp")
        for view in VIEWS
    ]


def test_a_store_that_gives_all_rows_back_is_taken_whatever_its_name(repo):
    lossy(repo, "nothing")
    publish(make_recommender(), repo, timestamp=NOW)
    publish(make_recommender(version="v2", seed=1), repo, timestamp=LATER)
    assert OnlineRecommender(repo).model_version == "v2"


@pytest.mark.parametrize(
    ("loses", "message"),
    [
        ("a row", r"gives back 11 of the 12 rows of user_embeddings"),
        ("fractions of seconds", r"0 of the 12 rows .* `timestamp` of whole seconds"),
        ("all", r"cannot read user_embeddings back \(ValueError: the cluster is gone"),
    ],
)
def test_a_store_that_loses_rows_leaves_the_old_version(repo, loses, message):
    old = make_recommender()
    publish(old, repo, timestamp=NOW)
    before = offline_rows(repo)
    lossy(repo, loses)
    with pytest.raises(LostRowsError, match=message):
        publish(make_recommender(version="v2", seed=1), repo, timestamp=LATER)
    served = OnlineRecommender(repo)
    assert served.model_version == "v1"
    np.testing.assert_array_equal(
        served.recommend(["100"])["item_id"].iloc[:1].isin(old.vectors.items.index),
        True,
    )
    assert publications(repo)["version"].tolist() == ["v1"]
    assert offline_rows(repo) == before
    assert not list((repo / "data").glob("*.partial"))


def test_a_publication_that_is_lost_takes_no_history_with_it(repo):
    publish(make_recommender(), repo, timestamp=NOW)
    publish(make_recommender(version="v2", seed=1), repo, timestamp=LATER)
    before = offline_rows(repo)
    lossy(repo, "a row")
    with pytest.raises(LostRowsError):
        publish(make_recommender(version="v3", seed=2), repo, keep=1)
    assert publications(repo)["version"].tolist() == ["v1", "v2"]
    assert offline_rows(repo) == before


def test_nothing_is_served_where_the_first_publication_is_lost(repo, recommender):
    lossy(repo, "a row")
    with pytest.raises(LostRowsError):
        publish(recommender, repo)
    assert not len(publications(repo))
    configure(repo, offline_store={"type": "duckdb"})
    publish(recommender, repo)
    assert OnlineRecommender(repo).model_version == "v1"


def test_whole_seconds_come_through_a_store_that_cuts_times(repo, recommender):
    lossy(repo, "fractions of seconds")
    publish(recommender, repo, timestamp=NOW.replace(microsecond=0))
    assert OnlineRecommender(repo).model_version == "v1"


@pytest.mark.parametrize("loses", ["a row", "one of two"])
def test_a_join_that_loses_rows_is_an_error(repo, recommender, loses):
    publish(recommender, repo, timestamp=NOW)
    asked = pd.DataFrame({"item_id": [3, 4, 3, 9], "when": LATER})
    store = lossy(repo, loses)
    features = FeastFeatures(store, ["item_embeddings:item_vector"], timestamp="when")
    count = {"a row": 2, "one of two": 3}[loses]
    with pytest.raises(LostRowsError, match=f"returned {count} rows for 3 distinct"):
        features.fit(asked)
    found = features.set_params(repo=lossy(repo, "nothing")).fit_transform(asked)
    np.testing.assert_array_equal(
        found, recommender.vectors.items.loc[asked["item_id"]]
    )


@pytest.mark.parametrize(
    ("section", "kind", "package"),
    [
        ("offline_store", "ray", "ray"),
        ("offline_store", "spark", "pyspark"),
        ("batch_engine", "ray.engine", "ray"),
        ("batch_engine", "spark.engine", "pyspark"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    repo, recommender, monkeypatch, section, kind, package
):
    publish(recommender, repo)
    configured = {**yaml.safe_load((repo / "feature_store.yaml").read_text())}
    configured[section] = {"type": kind}
    (repo / "feature_store.yaml").write_text(yaml.safe_dump(configured))
    monkeypatch.setattr("skmmrec.feature_store._engines.find_spec", lambda name: None)
    extra = kind.split(".")[0]
    message = rf"{section} of type '{kind}' needs {package}: .*skmmrec\[{extra}\]"
    with pytest.raises(ImportError, match=message):
        publish(make_recommender(version="v2"), repo)


def test_an_engine_needs_the_provider_that_counts(repo, recommender):
    configure(repo, batch_engine={"type": ENGINE})
    with pytest.raises(TypeError, match=f"write `provider: {COUNTED}`"):
        publish(recommender, repo)
    configure(repo, provider=COUNTED)
    publish(recommender, repo)
    assert OnlineRecommender(repo).model_version == "v1"


def priced(repo, when, prices, ttl=None, vectors=False, **sections):
    """Register a view of a user's own: prices of items 0, 1, ..., perhaps vectors."""
    path = repo / "prices.parquet"
    table = {
        "item_id": np.arange(len(prices)),
        "price": pd.array(prices, "Int64"),
        "vector": [np.ones(2, np.float32)] * len(prices),
        "event_timestamp": pd.DatetimeIndex(when).as_unit("us"),
    }
    pd.DataFrame(table).to_parquet(path)
    (repo / "data").mkdir(exist_ok=True)
    sections = {"offline_store": {"type": "dask"}, "provider": COUNTED, **sections}
    store = configure(repo, **sections)
    is_spark = sections["offline_store"]["type"] == "spark"
    new_source = _spark_source if is_spark else _file_source
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    vector = Field(
        name="vector", dtype=Array(Float32), vector_index=True, vector_length=2
    )
    numbers = [Field(name=name, dtype=Int64) for name in ("item_id", "price")]
    view = FeatureView(
        name="prices",
        entities=[item],
        schema=[*numbers, vector] if vectors else numbers,
        source=new_source("prices_file", str(path)),
        ttl=ttl or timedelta(0),
    )
    apply(store, [item, view])
    return store


def materialize(store, views=("prices",)):
    store.materialize(NOW - timedelta(days=1), LATER, feature_views=list(views))


def online_prices(store, n):
    rows = [{"item_id": i} for i in range(n)]
    found = store.get_online_features(features=["prices:price"], entity_rows=rows)
    return found.to_dict()["price"]


def test_what_a_materialization_does_not_write_is_an_error(repo):
    store = priced(repo, [NOW] * 3, [7, 8, 9], batch_engine={"type": ENGINE})
    message = "reported success, and 0 of the 3 rows of prices"
    with pytest.raises(LostRowsError, match=message):
        materialize(store)
    assert online_prices(store, 3) == [None] * 3


@pytest.mark.parametrize(
    "batch_engine", [{"type": "local"}, {"type": ENGINE, "writes": True}]
)
def test_what_is_written_is_counted_missing_values_too(repo, batch_engine):
    store = priced(repo, [NOW] * 3, [7, None, 9], batch_engine=batch_engine)
    materialize(store)
    materialize(store)
    assert online_prices(store, 3) == [7, None, 9]


def test_rows_that_have_expired_are_not_missed(repo):
    now = datetime.now(UTC)
    when, hour = [now - timedelta(hours=5), now], timedelta(hours=1)
    store = priced(repo, when, [7, 8], ttl=hour, batch_engine={"type": "local"})
    store.materialize(now - timedelta(days=1), now + hour, feature_views=["prices"])
    assert online_prices(store, 2) == [None, 8]


def test_rows_of_models_that_are_not_served_are_not_missed(repo):
    """Feast's own materialize brings none of them back, and that is right."""
    first, second = make_recommender(), make_recommender(version="v2", seed=1)
    publish(first, repo, timestamp=NOW)
    publish(second, repo, timestamp=LATER)
    rollback(repo, "v1")
    store = configure(repo, offline_store={"type": "dask"}, provider=COUNTED)
    store.materialize(NOW - timedelta(days=1), LATER, feature_views=list(VIEWS))
    assert OnlineRecommender(repo).model_version == "v1"


def test_a_row_that_is_served_and_not_written_is_missed(repo, recommender):
    """A row of the model that is served, from after its publication."""
    publish(recommender, repo, timestamp=NOW)
    path = repo / "data" / "item_embeddings.parquet"
    table = pq.read_table(path)
    times = table.schema.field("event_timestamp")
    later = table.slice(0, 3).drop_columns("event_timestamp")
    later = later.append_column(times, pa.array([LATER] * 3, times.type))
    pq.write_table(pa.concat_tables([table, later.select(table.column_names)]), path)
    configure(repo, offline_store={"type": "dask"}, provider=COUNTED)
    store = configure(repo, batch_engine={"type": ENGINE})
    with pytest.raises(LostRowsError, match="0 of the 3 rows of item_embeddings"):
        materialize(store, ["item_embeddings"])
    materialize(configure(repo, batch_engine={"type": "local"}), ["item_embeddings"])


@reads_with_duckdb
@pytest.mark.parametrize("engine", ["duckdb", "dask", "file"])
@settings(max_examples=5)
@given(n=st.integers(1, 40), versions=st.integers(1, 3))
def test_the_stores_for_files_read_as_many_rows_as_a_file_has(engine, n, versions):
    """So a file's rows may be counted in their place."""
    with new_repo() as repo:
        days = [NOW + timedelta(microseconds=day) for day in range(versions)]
        for day in days:
            publish(make_recommender(n_items=n), repo, timestamp=day)
        store = configure(repo, offline_store={"type": engine})
        view = store.get_feature_view("item_embeddings")
        for day in days:
            job = store.provider.offline_store.pull_all_from_table_or_query(
                config=store.config,
                data_source=view.batch_source,
                join_key_columns=["item_id"],
                feature_name_columns=["item_model_version"],
                timestamp_field="event_timestamp",
                start_date=day,
                end_date=day,
            )
            assert rows_at(job, day) == n


class SparkJob:
    """What a job of Feast's for Spark says of its session."""

    def __init__(self, zone):
        self.spark_session = self.conf = self
        self.zone = zone

    def get(self, name):
        return {"spark.sql.session.timeZone": self.zone}[name]


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "GMT", "Z", "+00:00"])
def test_a_session_of_spark_may_be_in_utc(zone):
    check_zone(SparkJob(zone))


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Europe/London", "+01:00"])
def test_another_clock_of_spark_is_refused(zone):
    with pytest.raises(LostRowsError, match=r"spark\.sql\.session\.timeZone: UTC"):
        check_zone(SparkJob(zone))


@pytest.mark.filterwarnings("ignore:The spark data source:RuntimeWarning")
def test_spark_reads_the_same_files_as_its_own_sources(tmp_path):
    views = [
        embedding_definitions(2, data=tmp_path, source=source).item_embeddings
        for source in ("file", "spark")
    ]
    assert [type(v.batch_source).__name__ for v in views] == [
        "FileSource",
        "SparkSource",
    ]
    assert {v.batch_source.path for v in views} == {
        str(tmp_path / "item_embeddings.parquet")
    }
    with pytest.raises(ValueError, match="source must be 'file' or 'spark', got 'csv'"):
        embedding_definitions(2, source="csv")


@pytest.mark.parametrize(
    ("kind", "source"),
    [("spark", "spark"), ("my.own.SparkOfflineStore", "spark"), ("duckdb", None)],
)
def test_definitions_follow_the_offline_store(repo, kind, source):
    path = repo / "feature_store.yaml"
    configured = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**configured, "offline_store": {"type": kind}}))
    assert repo_settings(repo).get("source") == source
