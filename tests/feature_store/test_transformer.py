import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skmmrec.feature_store import FeastFeatures, publish

X = pd.DataFrame({"user_id": ["100", "103", "101"], "item_id": [4, 9, 4]})


@pytest.fixture
def published(repo, recommender):
    publish(recommender, repo)
    return repo


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
