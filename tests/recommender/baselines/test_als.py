"""Alternating least squares against the loss that it minimises."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from skmmrec.recommender import ImplicitALSRecommender
from skmmrec.recommender.baselines import _als
from skmmrec.recommender.baselines._als import solve_rows


def brute_force(met, fixed, l2, alpha):
    rows = []
    for weights in met.toarray():
        confidence = np.diag(1 + alpha * weights)
        left = fixed.T @ confidence @ fixed + l2 * np.eye(fixed.shape[1])
        rows.append(np.linalg.solve(left, fixed.T @ confidence @ (weights > 0)))
    return np.array(rows)


@pytest.mark.parametrize("cells", [1, 20, 100, 10**6])
def test_rows_of_all_lengths_in_any_batches(cells, monkeypatch):
    monkeypatch.setattr(_als, "CELLS_AT_ONCE", cells)
    rng = np.random.default_rng(0)
    met = csr_array(rng.random((30, 12)) * (rng.random((30, 12)) < 0.2))
    assert np.diff(met.indptr).min() == 0
    fixed = rng.normal(size=(12, 4))
    found = solve_rows(met, fixed, 0.7, 3.0)
    np.testing.assert_allclose(found, brute_force(met, fixed, 0.7, 3.0), atol=1e-12)


def loss(recommender):
    met = recommender.history_.to_csr(np.float64).toarray()
    users, items = (
        factors.astype(np.float64)
        for factors in (recommender.user_factors_, recommender.item_factors_)
    )
    errors = (1 + recommender.alpha * met) * (met - users @ items.T) ** 2
    return errors.sum() + recommender.l2 * ((users**2).sum() + (items**2).sum())


def test_the_loss_falls_with_every_iteration(X, y):
    losses = [
        loss(
            ImplicitALSRecommender(3, l2=0.5, n_iterations=n, random_state=0).fit(X, y)
        )
        for n in range(1, 6)
    ]
    assert np.all(np.diff(losses) < 0)


def test_weights_say_how_sure_a_like_is(X, y):
    """Those of a pair's rows add up, and rows of weight 0 are not there."""
    rng = np.random.default_rng(3)
    weights = rng.integers(0, 4, len(X)).astype(float)
    recommender = ImplicitALSRecommender(3, l2=0.5, n_iterations=2, random_state=1)
    recommender.fit(X, y, sample_weight=weights)
    kept = np.repeat(np.flatnonzero(weights), weights[weights > 0].astype(int))
    repeated = ImplicitALSRecommender(3, l2=0.5, n_iterations=2, random_state=1)
    repeated.fit(X.iloc[kept], y[kept], sample_weight=np.ones(len(kept)))
    met = recommender.history_.to_csr(np.float64)
    met.data[:] = recommender.history_.values
    items = recommender.item_factors_.astype(np.float64)
    expected = brute_force(met, items, 0.5, recommender.alpha)
    np.testing.assert_allclose(recommender.user_factors_, expected, atol=1e-5)
    np.testing.assert_allclose(
        repeated.user_factors_, recommender.user_factors_, atol=1e-6
    )
    assert met.data.max() > 1


def test_weights_stay_with_those_who_stay(X, y):
    weights = 1.0 + np.arange(len(X)) % 3
    whole = ImplicitALSRecommender(3, random_state=0).fit(X, y, sample_weight=weights)
    gone = X["user_id"] == X["user_id"].iloc[0]
    left = ImplicitALSRecommender(3, random_state=0)
    left.fit(X[~gone], y[~gone], sample_weight=weights[~gone])
    whole.forget(X["user_id"].iloc[0])
    np.testing.assert_array_equal(whole.history_.values, left.history_.values)


def test_plain_likes_are_of_weight_1(X, y):
    plain = ImplicitALSRecommender(3, random_state=0).fit(X, y)
    met = X.assign(liked=y > 0).drop_duplicates(["user_id", "item_id"], keep="last")
    weighed = ImplicitALSRecommender(3, random_state=0)
    weighed.fit(met, met["liked"].astype(float), sample_weight=np.ones(len(met)))
    np.testing.assert_allclose(plain.item_factors_, weighed.item_factors_, atol=1e-6)


def test_users_are_solved_for_last(X, y):
    recommender = ImplicitALSRecommender(3, l2=0.5, n_iterations=2, random_state=1)
    recommender.fit(X, y)
    met = recommender.history_.to_csr()
    items = recommender.item_factors_.astype(np.float64)
    expected = brute_force(met, items, 0.5, recommender.alpha)
    np.testing.assert_allclose(recommender.user_factors_, expected, atol=1e-5)


def test_a_seed_settles_the_vectors(X, y):
    def fit(seed):
        return ImplicitALSRecommender(3, random_state=seed).fit(X, y).item_factors_

    np.testing.assert_array_equal(fit(3), fit(3))
    assert np.abs(fit(3) - fit(4)).max() > 1e-6


def test_weights_that_drown_the_rest_are_named(X):
    weights = np.ones(len(X))
    weights[3] = 1e29
    with pytest.raises(ValueError, match=r"sample_weight of up to 1e\+29"):
        ImplicitALSRecommender(4, random_state=0).fit(X, None, weights)
