"""User-kNN against a few lines of Python, and nearest rows in blocks."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from skmmrec.recommender import UserKNNRecommender
from skmmrec.recommender._neighbors import keep_largest, nearest_rows


def brute_force_user_knn(X, y, n_neighbors):
    liked = {}
    for user, item, value in zip(X.user_id, X.item_id, y, strict=True):
        liked.setdefault(user, set())
        if value > 0:
            liked[user].add(item)

    def cosine(u, v):
        shared = len(liked[u] & liked[v])
        return shared and shared / math.sqrt(len(liked[u]) * len(liked[v]))

    scores = {}
    for user in liked:
        others = sorted(
            (v for v in liked if v != user), key=lambda v: (-cosine(user, v), v)
        )[:n_neighbors]
        for item in set(X.item_id):
            scores[user, item] = sum(
                cosine(user, v) for v in others if item in liked[v]
            )
    return scores


@pytest.mark.parametrize("n_neighbors", [1, 3, 50])
def test_user_knn_sums_cosines_of_neighbours(X, y, n_neighbors):
    recommender = UserKNNRecommender(n_neighbors).fit(X, y)
    table = recommender.recommend(k=99, exclude_seen=False)
    expected = brute_force_user_knn(X, y, n_neighbors)
    assert len(table) == len(expected)
    for row in table.itertuples():
        pair = row.user_id, row.item_id
        assert row.score == pytest.approx(expected[pair], rel=1e-5, abs=1e-6), pair


@pytest.mark.parametrize("rows_at_once", [1, 3, 7, 100])
@pytest.mark.parametrize("k", [1, 2, 100])
def test_nearest_rows_in_blocks(k, rows_at_once):
    rng = np.random.default_rng(0)
    left, right = rng.random((2, 7, 5)).astype(np.float32).round(2)
    product = left.astype(np.float64) @ right.T.astype(np.float64)
    np.fill_diagonal(product, 0)
    for row in product:
        row[np.argsort(-row, kind="stable")[k:]] = 0
    found = nearest_rows(csr_array(left), csr_array(right), k, rows_at_once)
    np.testing.assert_allclose(found.toarray(), product, rtol=1e-6, atol=1e-6)


def test_ties_go_to_the_first_entries():
    matrix = csr_array(np.array([[1.0, 2, 2, 2], [0, 0, 3, 0], [0, 0, 0, 0]]))
    kept = keep_largest(matrix, 2).toarray()
    assert kept.tolist() == [[0, 2, 2, 0], [0, 0, 3, 0], [0, 0, 0, 0]]
