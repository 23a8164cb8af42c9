"""Intervals and tests err as often as they say, and no more."""

import numpy as np
import pytest

from skmmrec.metrics import bootstrap_interval, simultaneous_interval
from skmmrec.metrics._statistics import paired_p_value


def test_intervals_of_few_users_hold_the_mean():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(10, 500))  # a column for each of 500 experiments
    low, high = bootstrap_interval(means, 0.95, 400, rng)
    assert 0.925 < np.mean((low <= 0) & (high >= 0)) < 0.97


def test_intervals_of_many_users_are_the_percentiles():
    values = np.random.default_rng(0).random((2000, 1))
    low, high = bootstrap_interval(values, 0.9, 2000, np.random.default_rng(1))
    error = values.std() / np.sqrt(len(values))
    assert (high - low).item() == pytest.approx(2 * 1.645 * error, rel=0.06, abs=1e-6)


def test_one_user_tells_nothing():
    bounds = bootstrap_interval(np.ones((1, 3)), 0.95, 10, np.random.default_rng(0))
    assert bounds.shape == (2, 3)
    assert np.isnan(bounds).all()


def test_the_best_of_equals_seldom_leads():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(150):
        values = rng.normal(size=(40, 1)) + rng.normal(size=(40, 8))
        best = int(values.mean(axis=0).argmax())
        low, high = simultaneous_interval(values, 0.95, 300, rng, best)
        paired = values - values[:, [best]]
        np.testing.assert_allclose(
            (low + high) / 2, paired.mean(axis=0), rtol=1e-9, atol=1e-12
        )
        assert low[best] == high[best] == 0
        found.append((high < 0).any())
    # Bounds that hold for a column chosen beforehand say so in 0.27.
    assert np.mean(found) < 0.1


@pytest.mark.parametrize("n_users", [12, 60])
def test_two_equal_columns_have_no_distance(n_users):
    rng = np.random.default_rng(0)
    one = rng.normal(size=n_users)
    values = np.column_stack([one, one, one - 100])
    low, high = simultaneous_interval(values, 0.95, 200, rng, 0)
    np.testing.assert_allclose(low, [0, 0, -100], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(high, [0, 0, -100], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_users", [2, 3, 10])
@pytest.mark.parametrize("difference", [1.0, -0.1])
def test_equal_differences_leave_only_their_signs(n_users, difference):
    alike = np.full(n_users, difference)
    p_value = paired_p_value(alike, "t", 10, np.random.default_rng(0))
    assert p_value == pytest.approx(2.0 ** (1 - n_users), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_differences_that_cancel_prove_nothing(seed):
    parts = np.random.default_rng(seed).random(6)
    differences = np.append(parts, -parts.sum())
    p_value = paired_p_value(differences, "permutation", 200, np.random.default_rng(0))
    assert p_value == 1
