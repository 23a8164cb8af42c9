"""Popularity and item-kNN against a few lines of Python, and what baselines share."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec.recommender import (
    EASERecommender,
    GraphDiffusionRecommender,
    ImplicitALSRecommender,
    ItemKNNRecommender,
    PopularityRecommender,
    RandomWalkRecommender,
    UserKNNRecommender,
)

RANKERS = [
    PopularityRecommender(),
    ItemKNNRecommender(n_neighbors=3),
    UserKNNRecommender(n_neighbors=3),
    RandomWalkRecommender(n_neighbors=5),
    GraphDiffusionRecommender(),
    EASERecommender(l2=2.0),
    EASERecommender(l2=2.0, n_neighbors=3),
    ImplicitALSRecommender(3, l2=1.0, random_state=0),
]


def name_of(ranker):
    return ranker if isinstance(ranker, str) else type(ranker).__name__


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
        assert found[pair] == pytest.approx(score, rel=1e-5, abs=1e-6), pair


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
    assert recommender.score(test) == pytest.approx(1 / math.log2(3), abs=1e-9)


@pytest.mark.parametrize("recommender", RANKERS, ids=name_of)
def test_users_without_likes_get_what_is_popular(recommender, items, X, y):
    X = pd.concat([X, X.iloc[:2].assign(user_id=999)], ignore_index=True)
    y = np.append(y, [0, 0])
    options = {"k": 99, "exclude_seen": False}
    table = clone(recommender).fit(X, y).recommend([1, 999], **options)
    popular = PopularityRecommender().fit(X, y).recommend([1, 999], **options)
    assert len(table) == 2 * X.item_id.nunique()
    pd.testing.assert_frame_equal(table, popular)


@pytest.mark.parametrize("recommender", RANKERS, ids=name_of)
def test_the_order_of_rows_does_not_matter(recommender, flat, y):
    shuffled = np.random.default_rng(0).permutation(len(flat))
    one = clone(recommender).fit(flat, y)
    other = clone(recommender).fit(flat.iloc[shuffled], y.iloc[shuffled])
    tables = [r.recommend(k=5, exclude_seen=False) for r in (one, other)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recommender", RANKERS, ids=name_of)
def test_repeated_rows_count_once(recommender, flat):
    twice = pd.concat([flat, flat], ignore_index=True)
    tables = [clone(recommender).fit(X).recommend(k=5) for X in (flat, twice)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-6, atol=1e-6)
