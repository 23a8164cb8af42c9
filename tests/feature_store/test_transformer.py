from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import check_estimator

from skmmrec.feature_store import FeastFeatures, publish

from .conftest import make_recommender, reads_with_duckdb

X = pd.DataFrame({"user_id": ["100", "103", "101"], "item_id": [4, 9, 4]})


@pytest.fixture
def published(repo, recommender):
    publish(recommender, repo)
    return repo


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


def test_an_offline_store_that_loses_rows_is_not_trusted(repo, recommender):
    """Feast's dask store returns one row for each distinct id and time."""
    publish(recommender, repo, timestamp=DAYS[0])
    settings = repo / "feature_store.yaml"
    settings.write_text(settings.read_text().replace("duckdb", "dask"))
    items = pd.DataFrame({"item_id": [3, 4, 3, 3], "when": DAYS[1]})
    features = FeastFeatures(repo, ["item_embeddings:item_vector"], timestamp="when")
    with pytest.raises(RuntimeError, match=r"'dask' returned \d rows for 4"):
        features.fit_transform(items)


def test_on_demand_features_work_too(published, recommender):
    out = FeastFeatures(published, ["user_item_score:score"]).fit_transform(X)
    vectors = recommender.vectors
    users, items = vectors.users.loc[X["user_id"]], vectors.items.loc[X["item_id"]]
    expected = np.einsum("ij,ij->i", users, items)[:, None]
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
