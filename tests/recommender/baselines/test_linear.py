"""EASE against the problem that it solves."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec.recommender import EASERecommender
from skmmrec.recommender.memory import _sparse_linear


@pytest.mark.parametrize("l2", [0.3, 5.0])
def test_each_column_is_a_ridge_regression_on_the_others(X, y, l2):
    recommender = EASERecommender(l2=l2).fit(X, y)
    met = recommender.history_.to_csr(np.float64).toarray()
    for item in range(met.shape[1]):
        others = np.delete(np.arange(met.shape[1]), item)
        ridge = Ridge(l2, fit_intercept=False).fit(met[:, others], met[:, item])
        weights = recommender.weights_[:, item]
        np.testing.assert_allclose(weights[others], ridge.coef_, rtol=1e-4, atol=1e-6)
        assert weights[item] == 0


@pytest.mark.parametrize("n_neighbors", [1, 3])
def test_neighbours_alone_are_what_an_item_is_reconstructed_from(X, y, n_neighbors):
    recommender = EASERecommender(0.5, n_neighbors=n_neighbors).fit(X, y)
    met = recommender.history_.to_csr(np.float64).toarray()
    weights = recommender.weights_.toarray()
    counts = met.T @ met
    lengths = np.sqrt(np.maximum(np.diag(counts), 1))
    cosines = counts / lengths / lengths[:, None]
    np.fill_diagonal(cosines, 0)
    for item, column in enumerate(weights.T):
        chosen = np.flatnonzero(column)
        assert len(chosen) == min(n_neighbors, np.count_nonzero(cosines[item]))
        left_out = np.delete(cosines[item], chosen)
        assert (cosines[item, chosen].min(initial=9) >= left_out - 1e-6).all()
        if len(chosen):
            ridge = Ridge(0.5, fit_intercept=False).fit(met[:, chosen], met[:, item])
            np.testing.assert_allclose(
                column[chosen], ridge.coef_, rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("at_once", [1, 7])
def test_weights_do_not_depend_on_how_many_are_solved_at_once(
    X, y, monkeypatch, at_once
):
    expected = EASERecommender(2.0, n_neighbors=4).fit(X, y).weights_.toarray()
    monkeypatch.setattr(_sparse_linear, "ITEMS_AT_ONCE", at_once)
    weights = EASERecommender(2.0, n_neighbors=4, max_items=1).fit(X, y).weights_
    np.testing.assert_allclose(weights.toarray(), expected, rtol=1e-5, atol=1e-7)


def test_items_without_neighbours_have_no_weights():
    X = pd.DataFrame({"user_id": [1, 2, 3], "item_id": ["a", "b", "c"]})
    assert EASERecommender(n_neighbors=5).fit(X).weights_.nnz == 0


def test_scores_are_likes_times_weights(X, y):
    recommender = EASERecommender(l2=2).fit(X, y)
    table = recommender.recommend([101], k=99, exclude_seen=False)
    liked = X.item_id[(X.user_id == 101) & (y > 0)].unique()
    weights = pd.DataFrame(
        recommender.weights_, recommender.item_index_, recommender.item_index_
    )
    expected = weights.loc[liked].sum()
    np.testing.assert_allclose(
        table.set_index("item_id").score, expected[table.item_id], rtol=1e-5, atol=1e-6
    )


def test_too_many_items_are_refused_before_memory_is_taken(X):
    n = X.item_id.nunique()
    with pytest.raises(ValueError, match=rf"X has {n} items, more than max_items=5"):
        EASERecommender(max_items=5).fit(X)
    assert EASERecommender(max_items=n).fit(X).weights_.shape == (n, n)


@pytest.mark.parametrize("l2", [0, -1.0, "much"])
def test_a_wrong_penalty_is_named(X, l2):
    with pytest.raises(InvalidParameterError, match="'l2' parameter"):
        EASERecommender(l2).fit(X)


@pytest.mark.parametrize("n_neighbors", [None, 5])
def test_a_penalty_too_small_for_collinear_items(n_neighbors):
    X = pd.DataFrame([(user, item) for user in range(99) for item in "abc"])
    with pytest.raises(ValueError, match="l2=1e-300 is too small"):
        EASERecommender(1e-300, n_neighbors=n_neighbors).fit(
            X.set_axis(["user_id", "item_id"], axis=1)
        )
