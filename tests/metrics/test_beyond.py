"""Metrics beyond accuracy against their definitions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics.pairwise import cosine_distances

from skmmrec.metrics import (
    catalog_coverage,
    gini_exposure,
    intra_list_diversity,
    novelty,
    popularity_bias,
)


@pytest.fixture
def recommendations():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [(user, item) for user in range(8) for item in rng.permutation(20)[:5]],
        columns=["user_id", "item_id"],
    )


@pytest.fixture
def interactions():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {"user_id": rng.integers(10, size=60), "item_id": rng.integers(15, size=60)}
    )


def test_coverage_and_gini(recommendations):
    counts = recommendations.item_id.value_counts().reindex(range(20), fill_value=0)
    assert catalog_coverage(recommendations, range(20)) == (counts > 0).mean()
    x = counts.to_numpy()
    by_pairs = np.abs(x[:, None] - x).mean() / (2 * x.mean())
    assert gini_exposure(recommendations, range(20)) == pytest.approx(
        by_pairs, abs=1e-9
    )
    even = pd.DataFrame({"item_id": range(20)})
    assert gini_exposure(even, range(20)) == pytest.approx(0, abs=1e-9)


def test_diversity_equals_mean_pairwise_distance(recommendations):
    vectors = pd.DataFrame(np.random.default_rng(2).normal(size=(20, 6)))
    vectors.iloc[3] = 0.0
    vectors.iloc[4, 2] = np.nan
    values = intra_list_diversity(recommendations, vectors)
    for user, rows in recommendations.groupby("user_id"):
        items = [item for item in rows.item_id if item != 4]
        distances = cosine_distances(vectors.loc[items])
        expected = distances[np.triu_indices(len(items), 1)].mean()
        assert values[user] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", [catalog_coverage, gini_exposure, novelty])
def test_lists_of_users_who_were_asked_for_twice_count_once(
    recommendations, interactions, metric
):
    """As of `recommend(test["user_id"])`, where a user has several rows."""
    once, again = asked_for_twice(recommendations)
    other = interactions if metric is novelty else range(20)
    expected, found = metric(once, other), metric(again, other)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    by = pd.Series(["a", "b"] * 4, pd.Index(range(8), name="user_id"))
    expected, found = (metric(lists, other, by=by).scores for lists in (once, again))
    pd.testing.assert_frame_equal(found, expected)


def test_a_list_is_as_diverse_however_often_it_was_asked_for(recommendations):
    vectors = pd.DataFrame(np.random.default_rng(2).normal(size=(20, 6)))
    once, again = asked_for_twice(recommendations)
    expected = intra_list_diversity(once, vectors)
    pd.testing.assert_series_equal(intra_list_diversity(again, vectors), expected)


def asked_for_twice(recommendations):
    """Lists, and the same with those of every other user a second time."""
    ranks = recommendations.groupby("user_id").cumcount() + 1
    once = recommendations.assign(rank=ranks)
    return once, pd.concat([once, once[once["user_id"] % 2 == 0]])


def test_diversity_of_short_lists_is_undefined():
    vectors = pd.DataFrame(np.eye(2))
    lists = pd.DataFrame({"user_id": [1, 2, 2], "item_id": [0, 0, 1]})
    assert intra_list_diversity(lists, vectors).isna().tolist() == [True, False]


def test_novelty_and_popularity_bias(recommendations, interactions):
    n_users = interactions.user_id.nunique()
    distinct = interactions.drop_duplicates()
    assert len(distinct) < len(interactions)
    popularity = distinct.item_id.value_counts()
    new = novelty(recommendations, interactions)
    bias = popularity_bias(recommendations, interactions)
    for user, rows in recommendations.groupby("user_id"):
        seen_by = popularity.reindex(rows.item_id)
        assert new[user] == pytest.approx(
            -np.log2(seen_by.fillna(1) / n_users).mean(), abs=1e-9
        )
        own = popularity[distinct.item_id[distinct.user_id == user]].mean()
        assert bias[user] == pytest.approx(seen_by.fillna(0).mean() / own - 1, abs=1e-9)


def test_bias_of_a_user_without_history_is_undefined(recommendations, interactions):
    others = interactions[interactions.user_id != 2]
    assert popularity_bias(recommendations, others).isna().sum() == 1


def test_bad_input_is_named(recommendations, interactions):
    with pytest.raises(ValueError, match="items lacks the recommended item"):
        catalog_coverage(recommendations, [1, 2])
    with pytest.raises(ValueError, match="items has 1 twice"):
        gini_exposure(recommendations, [1, 1])
    with pytest.raises(ValueError, match="recommendations are empty"):
        gini_exposure(recommendations.head(0), [1, 2])
    with pytest.raises(ValueError, match="interactions has no rows"):
        novelty(recommendations, interactions.head(0))
    with pytest.raises(ValueError, match="interactions has no column 'user_id'"):
        popularity_bias(recommendations, interactions[["item_id"]])
    with pytest.raises(ValueError, match="vectors lacks the recommended item"):
        intra_list_diversity(recommendations, pd.DataFrame(np.eye(3)))
