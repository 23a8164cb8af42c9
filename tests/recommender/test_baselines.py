"""Popularity and item-kNN against a few lines of Python."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec.recommender import ItemKNNRecommender, PopularityRecommender


def liked_pairs(X, y):
    return {
        (user, item)
        for user, item, value in zip(X.user_id, X.item_id, y, strict=True)
        if value > 0
    }


def as_dict(table):
    return {(row.user_id, row.item_id): row.score for row in table.itertuples()}


def test_popularity_counts_users(X, y):
    table = PopularityRecommender().fit(X, y).recommend(k=99, exclude_seen=False)
    liked = liked_pairs(X, y)
    for (_, item), score in as_dict(table).items():
        assert score == sum(i == item for _, i in liked)
    assert table.score.nunique() > 2


def test_popularity_ranks_ties_by_id(X, y):
    recommender = PopularityRecommender().fit(X, y)
    counts = pd.Series([i for _, i in liked_pairs(X, y)]).value_counts()
    order = sorted(set(X.item_id), key=lambda item: (-counts.get(item, 0), item))
    for k in (1, 2, 3, 5, 8, 99):
        table = recommender.recommend([1], k=k)
        assert table.item_id.tolist() == order[:k]


@pytest.mark.parametrize("recommender", [PopularityRecommender(), ItemKNNRecommender()])
def test_what_was_met_is_left_out(recommender, X, y):
    table = clone(recommender).fit(X, y).recommend(k=99)
    met = set(zip(X.user_id, X.item_id, strict=True))
    assert not met & set(as_dict(table))
    assert len(met) + len(table) == X.user_id.nunique() * X.item_id.nunique()


def brute_force_knn(X, y, n_neighbors):
    liked = liked_pairs(X, y)
    users_of = {i: {u for u, j in liked if j == i} for i in set(X.item_id)}

    def cosine(i, j):
        shared = len(users_of[i] & users_of[j])
        return shared and shared / math.sqrt(len(users_of[i]) * len(users_of[j]))

    scores = {}
    for item in users_of:
        others = sorted(
            (j for j in users_of if j != item), key=lambda j: (-cosine(item, j), j)
        )
        for user in set(X.user_id):
            scores[user, item] = sum(
                cosine(item, j) for j in others[:n_neighbors] if (user, j) in liked
            )
    return scores


@pytest.mark.parametrize("n_neighbors", [1, 3, 50])
def test_knn_sums_cosines_of_neighbours(X, y, n_neighbors):
    recommender = ItemKNNRecommender(n_neighbors).fit(X, y)
    found = as_dict(recommender.recommend(k=99, exclude_seen=False))
    expected = brute_force_knn(X, y, n_neighbors)
    assert found.keys() == expected.keys()
    for pair, score in expected.items():
        assert found[pair] == pytest.approx(score, rel=1e-5), pair


def test_knn_of_a_new_user_is_zero(X, y):
    table = ItemKNNRecommender().fit(X, y).recommend([1], k=3)
    assert table.score.eq(0).all()
    assert len(table) == 3


@pytest.mark.parametrize("n_neighbors", [0, -1, 1.5])
def test_a_wrong_number_of_neighbours(X, n_neighbors):
    with pytest.raises(InvalidParameterError, match="'n_neighbors' parameter"):
        ItemKNNRecommender(n_neighbors).fit(X)


def test_score_is_the_perfect_one_for_a_perfect_list():
    X = pd.DataFrame({"user_id": [1, 2, 3, 1], "item_id": ["a", "a", "a", "b"]})
    recommender = PopularityRecommender().fit(X)
    test = pd.DataFrame({"user_id": [2, 4], "item_id": ["b", "a"]})
    assert recommender.score(test) == 1.0
    test = pd.DataFrame({"user_id": [4], "item_id": ["b"]})
    assert recommender.score(test) == pytest.approx(1 / math.log2(3))


@pytest.mark.parametrize("recommender", [PopularityRecommender(), ItemKNNRecommender()])
def test_missing_ids_are_refused(recommender, X):
    with pytest.raises(ValueError, match=r"item_id is missing .* in row 1"):
        clone(recommender).fit(
            X.assign(item_id=[None if n == 1 else i for n, i in enumerate(X.item_id)])
        )
    with pytest.raises(ValueError, match="0 sample"):
        clone(recommender).fit(np.empty((0, 2)))
