import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

from skmmrec.feature_store import FeastFeatures, publish

from .conftest import make_recommender, publish_one, reads_with_duckdb

X = pd.DataFrame({"user_id": ["100", "103", "101"], "item_id": [4, 9, 4]})


@pytest.fixture
def published(repo, filled):
    return filled(publish_one, repo)


@pytest.mark.filterwarnings("ignore:Can't test estimator")
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_valid_tag_types,
    ],
)
def test_scikit_learns_checks_that_need_no_matrix(published, check):
    """`check_estimator` runs one check only where X is not a matrix of numbers."""
    features = FeastFeatures(published)
    check_estimator(features, on_skip=None)
    check("FeastFeatures", features)


def test_ids_become_their_vectors(published, recommender):
    vectors = recommender.vectors
    out = FeastFeatures(published).fit_transform(X)
    assert out.dtype == np.float32
    users, items = vectors.users.loc[X["user_id"]], vectors.items.loc[X["item_id"]]
    np.testing.assert_array_equal(out, np.hstack([users, items]))


def test_references_need_only_their_own_ids(published, recommender):
    features = FeastFeatures(published, ["item_embeddings:item_vector"])
    for ids in (X[["item_id"]], X, X[["item_id"]].to_numpy()):
        out = features.fit(ids).transform(ids)
        expected = recommender.vectors.items.loc[X["item_id"]]
        np.testing.assert_array_equal(out, expected)


def test_columns_have_names_for_set_output(published):
    features = FeastFeatures(published).set_output(transform="pandas").fit(X)
    frame = features.transform(X.set_axis([3, 1, 2]))
    names = [f"{e}_vector__{i}" for e in ("user", "item") for i in range(5)]
    assert frame.columns.tolist() == names
    assert frame.index.tolist() == [3, 1, 2]


def test_unknown_ids(published):
    features = FeastFeatures(published).fit(X)
    unknown = pd.DataFrame({"user_id": ["100", "nobody"], "item_id": [4, 4]})
    out = features.transform(unknown)
    assert np.isnan(out[1, :5]).all()
    assert np.isfinite(out[0]).all()
    assert np.isfinite(out[1, 5:]).all()
    strict = features.set_params(missing="error")
    with pytest.raises(ValueError, match="no user_vector for row 1"):
        strict.transform(unknown)


def test_in_a_pipeline(published):
    pipeline = make_pipeline(FeastFeatures(str(published)), LogisticRegression())
    labels = [0, 1, 0]
    predictions = clone(pipeline).fit(X, labels).predict(X)
    assert predictions.shape == (3,)


def test_bad_input(published):
    with pytest.raises(ValueError, match="X lacks the column 'item_id'"):
        FeastFeatures(published).fit(X[["user_id"]])
    with pytest.raises(ValueError, match="must have the columns"):
        FeastFeatures(published).fit(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="'missing' parameter"):
        FeastFeatures(published, missing="zero").fit(X)
    with pytest.raises(ValueError, match="user_model_version is not numeric in row 0"):
        FeastFeatures(published, "recommendation").fit(X).transform(X)


DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 10, 20)]


@pytest.fixture
def history(repo):
    """One model a day, each published as of its day."""
    models = [make_recommender(seed=n, version=f"v{n}") for n in range(3)]
    for model, day in zip(models, DAYS, strict=True):
        publish(model, repo, timestamp=day)
    return models


@reads_with_duckdb
def test_rows_get_the_vectors_of_their_time(repo, history):
    rng = np.random.default_rng(0)
    model = rng.integers(0, 3, 200)
    offset = pd.to_timedelta(rng.integers(0, 9 * 24, 200), unit="h")
    X = pd.DataFrame(
        {
            "when": pd.DatetimeIndex(np.array(DAYS)[model]) + offset,
            "item_id": rng.integers(0, 30, 200),
            "user_id": [str(n) for n in rng.integers(100, 112, 200)],
        },
        index=rng.permutation(200),
    )
    out = FeastFeatures(repo, timestamp="when").fit_transform(X)
    for row in range(200):
        vectors = history[model[row]].vectors
        user, item = X["user_id"].iloc[row], X["item_id"].iloc[row]
        expected = np.hstack([vectors.users.loc[user], vectors.items.loc[item]])
        np.testing.assert_array_equal(out[row], expected)


@reads_with_duckdb
def test_before_the_first_model_nothing_is_known(repo, history):
    early = X.assign(when=DAYS[0] - timedelta(days=1))
    early.loc[1, "when"] = DAYS[1]
    out = FeastFeatures(repo, timestamp="when").fit_transform(early)
    assert np.isnan(out[[0, 2]]).all()
    assert np.isfinite(out[1]).all()
    with pytest.raises(ValueError, match="X lacks the column 'when'"):
        FeastFeatures(repo, timestamp="when").fit(X)


@reads_with_duckdb
def test_twenty_thousand_rows_in_are_twenty_thousand_out(repo, recommender):
    publish(recommender, repo, timestamp=DAYS[0])
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 30, 20_000)
    items = pd.DataFrame({"item_id": ids, "when": DAYS[1]})
    features = FeastFeatures(repo, ["item_embeddings:item_vector"], timestamp="when")
    out = features.fit(items.head()).transform(items)
    np.testing.assert_array_equal(out, recommender.vectors.items.loc[ids])


@reads_with_duckdb
def test_duckdb_writes_nothing_to_the_working_directory(repo, history):
    """What does not fit into memory; a folder that the caller has chosen stays."""
    backend = ibis.duckdb.connect()
    now = "SELECT current_setting('temp_directory')"
    table = X.assign(when=DAYS[1])
    features, before = FeastFeatures(repo, timestamp="when"), ibis.get_backend()
    try:
        ibis.set_backend(backend)
        features.fit_transform(table)
        [folder] = backend.raw_sql(now).fetchone()
        assert Path(folder).parent == Path(tempfile.gettempdir())
        backend.raw_sql(f"SET temp_directory = '{repo}'")
        features.fit_transform(table)
        assert backend.raw_sql(now).fetchone() == (str(repo),)
    finally:
        ibis.set_backend(before)


def test_equal_rows_are_asked_for_once(repo, recommender):
    """Feast's dask store returns one row for each distinct id and time."""
    publish(recommender, repo, timestamp=DAYS[0])
    settings = repo / "feature_store.yaml"
    settings.write_text(settings.read_text().replace("duckdb", "dask"))
    ids = [3, 4, 3, 3, 4, 9]
    items = pd.DataFrame({"item_id": ids, "when": DAYS[1]})
    features = FeastFeatures(repo, ["item_embeddings:item_vector"], timestamp="when")
    found = features.fit_transform(items)
    np.testing.assert_array_equal(found, recommender.vectors.items.loc[ids])


def test_on_demand_features_work_too(published, recommender):
    out = FeastFeatures(published, ["user_item_score:score"]).fit_transform(X)
    vectors = recommender.vectors
    users, items = vectors.users.loc[X["user_id"]], vectors.items.loc[X["item_id"]]
    expected = np.einsum("ij,ij->i", users, items)[:, None]
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def items_of(ids, **columns):
    return pd.DataFrame({"item_id": ids, **columns})


ITEMS = ["item_embeddings:item_vector"]


@pytest.mark.parametrize(
    "ids",
    [
        pd.Series([3, None, 4], dtype="Int64"),
        pd.Series([3, np.nan, 4]),
        pd.Series([3, np.nan, 4], dtype="float32"),
        pd.Series([3, None, 4], dtype=object),
        pd.Series([3, pd.NA, 4.0], dtype=object),
        pd.Series([3, None, 4], dtype="int64[pyarrow]"),
    ],
    ids=lambda ids: str(ids.dtype),
)
def test_a_missing_id_is_a_missing_row(published, recommender, ids):
    features = FeastFeatures(published, ITEMS).fit(X)
    known = recommender.vectors.items.loc[[3, 4]]
    for table in (items_of(ids), pl.from_pandas(items_of(ids.astype("Int64")))):
        out = features.transform(table)
        assert np.isnan(out[1]).all()
        np.testing.assert_array_equal(out[[0, 2]], known)
    with pytest.raises(
        ValueError, match=r"item_id is missing \(NaN or None\) in row 1"
    ):
        features.set_params(missing="error").transform(items_of(ids))


def test_only_the_columns_of_a_missing_id_are_missing(published, recommender):
    ids = pd.DataFrame({"user_id": [None, "100"], "item_id": [3, None]})
    out = FeastFeatures(published).fit(X).transform(ids)
    vectors = recommender.vectors
    assert np.isnan(out[0, :5]).all()
    assert np.isnan(out[1, 5:]).all()
    np.testing.assert_array_equal(out[0, 5:], vectors.items.loc[3])
    np.testing.assert_array_equal(out[1, :5], vectors.users.loc["100"])


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([3.0, 3.5], "item_id is 3.5 in row 1"),
        ([3.0, np.inf], "item_id is infinite in row 1"),
        ([3, "4"], "item_id is of type int64 in this store.* in row 1: '4'"),
        (["a", "b"], "item_id is of type int64 in this store.* in row 0: 'a'"),
        ([3, pd.Timestamp("2026-01-01")], "got Timestamp in row 1"),
        ([3, 2**70], "item_id in row 1 does not fit"),
        ([3.0, 2.0**60], "item_id is 1.15.* in row 1"),
    ],
)
def test_a_wrong_id_is_named_by_column_and_row(published, ids, words):
    features = FeastFeatures(published, ITEMS).fit(X)
    with pytest.raises(ValueError, match=words):
        features.transform(items_of(pd.Series(ids)))
    with pytest.raises(
        ValueError, match=r"user_id is of type string.*got int in row 2"
    ):
        FeastFeatures(published).fit(X).transform(X.assign(user_id=["100", "101", 102]))


@reads_with_duckdb
def test_missing_ids_have_no_past_either(repo, history):
    table = items_of(pd.Series([3, None, 4], dtype="Int64"), when=DAYS[1])
    features = FeastFeatures(repo, ITEMS, timestamp="when").fit(table)
    out = features.transform(table)
    assert np.isnan(out[1]).all()
    np.testing.assert_array_equal(out[[0, 2]], history[1].vectors.items.loc[[3, 4]])
    with pytest.raises(ValueError, match=r"item_id is 3\.5 in row 0"):
        features.transform(items_of([3.5], when=DAYS[1]))


@reads_with_duckdb
def test_times_are_times(repo, history):
    features = FeastFeatures(repo, ITEMS, timestamp="when")
    expected = history[1].vectors.items.loc[[3, 4]]
    when = pd.Series(DAYS[1]).repeat(2)
    for times in (
        when,
        when.dt.tz_localize(None),
        when.dt.tz_convert("Asia/Tokyo"),
        when.astype(str),
        when.dt.date,
        when.astype("int64[pyarrow]").astype("int64"),
    ):
        table = items_of([3, 4], when=times.to_numpy(object))
        np.testing.assert_array_equal(features.fit_transform(table), expected)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([1_772_323_200, 1_773_100_800], "when is a number in row 0: 1772323200"),
        ([DAYS[0], 1_773_100_800.0], "when is a number in row 1"),
        ([1_772_323_200_000] * 2, "when is a number in row 0"),
        ([DAYS[0], None], "when is missing .* in row 1"),
        ([DAYS[0], pd.NaT], "when is missing .* in row 1"),
        (["2026-03-01", "soon"], "when is no time in row 1.*'soon'"),
    ],
)
def test_what_is_no_time_is_named_by_its_row(repo, history, times, words):
    table = items_of([3, 4], when=pd.Series(times, dtype=object))
    features = FeastFeatures(repo, ITEMS, timestamp="when")
    with pytest.raises(ValueError, match=words):
        features.fit(table)


def test_what_feast_refuses_names_the_columns(published, monkeypatch):
    features = FeastFeatures(published, ITEMS).fit(X)

    def refuse(*args, **kwargs):
        raise TypeError("bad argument type for built-in operation")

    monkeypatch.setattr("feast.FeatureStore.get_online_features", refuse)
    with pytest.raises(ValueError, match=r"ids of the columns \['item_id'\]: bad arg"):
        features.transform(X)
