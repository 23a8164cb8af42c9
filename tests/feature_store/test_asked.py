"""Services of on-demand views and of views under other keys, as features."""

import warnings

import numpy as np
import pandas as pd
import pytest
from feast import FeatureService, FeatureView, Field, FileSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

from skmmrec.feature_store import FeastFeatures, open_store

from .conftest import publish_one, reads_with_duckdb

USERS = [f"{number}" for number in range(100, 106)]
THEN = pd.Timestamp("2026-01-02", tz="UTC")
X = pd.DataFrame(
    {
        "user_id": USERS[:3],
        "friend_id": USERS[3:],
        "item_id": [4, 9, 4],
        "hour": [7, 8, 9],
        "when": [pd.Timestamp("2100", tz="UTC")] * 3,
    }
)


@pytest.fixture(scope="module")
def repo(filled, tmp_path_factory):
    """A repository with ages of users, and ages at a given hour."""
    repo = filled(publish_one, tmp_path_factory.mktemp("asked") / "repo")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "On demand feature view is an experimental")
        _register(open_store(repo), repo / "data" / "ages.parquet")
    return repo


def _register(store, path):
    rows = pd.DataFrame({"user_id": USERS, "age": range(6), "event_timestamp": THEN})
    rows.to_parquet(path, coerce_timestamps="us")
    user = store.get_entity("user")
    source = FileSource(name="ages", path=str(path), timestamp_field="event_timestamp")
    ages = FeatureView(
        name="ages",
        entities=[user],
        schema=[Field(name="user_id", dtype=String), Field(name="age", dtype=Int64)],
        source=source,
    )
    moment = RequestSource(name="moment", schema=[Field(name="hour", dtype=Int64)])

    @on_demand_feature_view(
        sources=[ages, moment],
        schema=[Field(name="older", dtype=Float64)],
        mode="pandas",
    )
    def at_hour(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"older": inputs["age"] + inputs["hour"] / 100.0})

    friend = ages.with_name("friend").with_join_key_map({"user_id": "friend_id"})
    sizes = store.get_feature_view("user_embeddings")[["user_history_size"]]
    score = store.get_on_demand_feature_view("user_item_score")
    services = {"both": [ages, score], "friends": [friend], "pairs": [friend, sizes]}
    named = [FeatureService(name=n, features=views) for n, views in services.items()]
    store.apply([user, ages, moment, at_hour, *named])
    store.write_to_online_store("ages", rows)


@reads_with_duckdb
def test_the_past_has_the_columns_of_an_on_demand_view_that_now_has(repo):
    past = FeastFeatures(repo, "both", timestamp="when").fit(X)
    assert set(past.get_feature_names_out()) == {"age", "score"}
    found = past.transform(X)
    np.testing.assert_allclose(past.online().transform(X), found, rtol=1e-6, atol=1e-6)
    assert not np.isnan(found).any()


@reads_with_duckdb
@pytest.mark.parametrize("timestamp", ["when", None])
def test_on_demand_views_get_what_no_store_has(repo, timestamp):
    features = FeastFeatures(repo, ["at_hour:older"], timestamp=timestamp).fit(X)
    assert (features.join_keys_, features.request_columns_) == (["user_id"], ["hour"])
    expected = [[0.07], [1.08], [2.09]]
    np.testing.assert_allclose(features.transform(X), expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="X lacks the column 'hour'"):
        features.transform(X.drop(columns="hour"))


def test_arrays_have_the_columns_of_requests_after_those_of_ids(repo):
    rows = X[["user_id", "hour"]].to_numpy()
    found = FeastFeatures(repo, ["at_hour:older"]).fit_transform(rows)
    np.testing.assert_allclose(found[:, 0], [0.07, 1.08, 2.09], rtol=1e-6, atol=1e-6)


@reads_with_duckdb
def test_rows_that_differ_by_the_request_alone_are_told_apart(repo):
    rows = X.assign(user_id=USERS[1])
    found = FeastFeatures(repo, ["at_hour:older"], timestamp="when").fit_transform(rows)
    np.testing.assert_allclose(found[:, 0], [1.07, 1.08, 1.09], rtol=1e-6, atol=1e-6)


@reads_with_duckdb
@pytest.mark.parametrize("timestamp", ["when", None])
def test_a_view_may_be_read_by_another_key(repo, timestamp):
    features = FeastFeatures(repo, "friends", timestamp=timestamp).fit(X)
    assert features.id_types_ == {"friend_id": "string"}
    np.testing.assert_array_equal(features.transform(X), [[3], [4], [5]])


@reads_with_duckdb
def test_two_keys_for_one_are_read_of_the_past_and_refused_online(repo):
    past = FeastFeatures(repo, "pairs", timestamp="when").fit(X)
    assert past.join_keys_ == ["friend_id", "user_id"]
    np.testing.assert_array_equal(past.transform(X)[:, 0], [3, 4, 5])
    with pytest.raises(ValueError, match="mixes up 'friend_id' and 'user_id'"):
        past.online().transform(X)
