"""User-kNN against a few lines of Python."""

import math

import pytest

from skmmrec.recommender import UserKNNRecommender


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
