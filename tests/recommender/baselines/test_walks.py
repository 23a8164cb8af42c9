"""Walks on the graph against dense matrices."""

import numpy as np
import pandas as pd
import pytest

from skmmrec.recommender import (
    GraphDiffusionRecommender,
    RandomWalkRecommender,
)
from skmmrec.retrieval import _exact


@pytest.fixture(scope="module")
def liked(X, y):
    """Dense matrix of likes; every user and item has one."""
    table = pd.crosstab(X[y > 0].user_id, X[y > 0].item_id)
    return table.reindex(
        index=sorted(set(X.user_id)), columns=sorted(set(X.item_id)), fill_value=0
    ).astype(float)


def shares(matrix):
    return matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)


def score_table(recommender):
    table = recommender.recommend(k=99, exclude_seen=False)
    return table.pivot(index="user_id", columns="item_id", values="score").to_numpy()


@pytest.fixture(scope="module")
def active(liked):
    return liked.to_numpy().sum(axis=1) > 0


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.7, 0.0), (1.3, 0.6)])
def test_random_walk(X, y, liked, active, alpha, beta):
    met = liked.to_numpy()
    reach = shares(met.T) ** alpha @ shares(met) ** alpha
    reach /= np.maximum(met.sum(axis=0), 1) ** beta
    np.fill_diagonal(reach, 0)
    found = score_table(RandomWalkRecommender(alpha, beta).fit(X, y))
    np.testing.assert_allclose(
        found[active], (met @ reach)[active], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("n_steps", [1, 2, 5])
@pytest.mark.parametrize("step_ratio", [0.5, 2.0])
def test_diffusion(X, y, liked, active, n_steps, step_ratio):
    met = liked.to_numpy()
    there_and_back = shares(met.T) @ shares(met)
    place, visits = shares(met), 0
    for step in range(1, n_steps + 1):
        place = place @ there_and_back
        visits = visits + step_ratio**step * place
    expected = visits[active] / visits[active].sum(axis=1, keepdims=True)
    expected += 0.25 * met.sum(axis=0) / met.sum()
    recommender = GraphDiffusionRecommender(n_steps, step_ratio, 0.25).fit(X, y)
    np.testing.assert_allclose(
        score_table(recommender)[active], expected, rtol=1e-5, atol=1e-6
    )


def test_many_steps_neither_overflow_nor_lose_users(X, y):
    recommender = GraphDiffusionRecommender(200, 100.0, 0.0).fit(X, y)
    found = score_table(recommender)
    assert np.isfinite(found).all()


def test_diffusion_in_chunks_is_the_same(X, y, monkeypatch):
    recommender = GraphDiffusionRecommender().fit(X, y)
    whole = score_table(recommender)
    monkeypatch.setattr(_exact, "CHUNK_SCORES", 30)
    np.testing.assert_array_equal(score_table(recommender), whole)
