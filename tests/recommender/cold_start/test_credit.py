"""What new items are credited with: by what items that were new got."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import MatrixFactorizationRecommender
from skmmrec.recommender.cold_start import choose_credit
from tests.recommender.two_tastes import make_tastes


def log_of(n_old, n_new, likes_of_old, likes_of_new, n_unliked=0):
    """Likes of old items all the time, and of new ones in the latest fifth alone.

    In the latest fifth, old and new ones get so many likes each.
    """
    latest = np.concatenate(
        [
            np.repeat(np.arange(n_old), likes_of_old),
            np.repeat(np.arange(n_old, n_old + n_new), likes_of_new),
        ]
    )
    before = np.resize(np.arange(n_old), 4 * len(latest))
    times = np.concatenate([np.zeros(len(before)), np.ones(len(latest))])
    # The first of the latest fifth must be the first that is late.
    return np.concatenate([before, latest]), times, n_old + n_new + n_unliked, 10**6


def credit(*args, **kwargs):
    return choose_credit(*log_of(*args, **kwargs)).value


def test_items_that_do_as_well_as_others_get_their_popularity():
    items, times, n, users = log_of(400, 400, 3, 3)
    popularity = np.bincount(items, minlength=n)
    # One standard error of 400 items is a twentieth.
    expected = popularity.mean() * (1 - 1 / 20)
    np.testing.assert_allclose(
        choose_credit(items, times, n, users).value, expected, rtol=5e-3, atol=1e-6
    )


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 50))
def test_the_more_new_items_are_liked_the_more_they_are_credited_with(one, other, none):
    few, many = sorted((one, other))
    values = [credit(50, 30, 5, likes, n_unliked=none) for likes in (few, many)]
    # The mean popularity of all moves, too, as more likes are those of new items.
    assert values[0] <= values[1] * (1 + 1e-9)


def test_new_items_that_nobody_likes_count_too():
    values = [credit(50, 30, 5, 5, n_unliked=n) for n in (0, 30, 300)]
    assert values[0] > 1.5 * values[1] > values[2] >= 0.5
    np.testing.assert_allclose(values[0], 2 * values[1], rtol=1e-6, atol=0)


def test_those_who_are_not_named_are_estimated():
    rng = np.random.default_rng(0)
    likes = rng.poisson(0.7, 2000)
    items, times, n, users = log_of(300, 2000, 5, likes)
    named = choose_credit(items, times, n, users)
    liked = np.unique(items)
    places = np.searchsorted(liked, items)
    estimated = choose_credit(places, times, len(liked), users)
    for choice in (named, estimated):
        np.testing.assert_allclose(choice.figures["new items"], 2000, rtol=0.1, atol=0)
    np.testing.assert_allclose(named.value, estimated.value, rtol=0.1, atol=0)


def test_one_item_proves_nothing():
    assert credit(50, 1, 5, 40) == 0.5


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 12))
def test_it_lies_between_half_a_user_and_all(seed, n_likes, n_items):
    rng = np.random.default_rng(seed)
    items, times = rng.integers(0, n_items, n_likes), rng.integers(0, 20, n_likes)
    value = choose_credit(items, times, n_items, 9).value
    assert 0.5 <= value <= 9
    order = rng.permutation(n_likes)
    assert choose_credit(items[order], times[order], n_items, 9).value == value


def test_without_times_it_is_little():
    items, times, n, users = log_of(50, 30, 5, 5)
    assert choose_credit(items, None, n, users).value == 0.5
    assert choose_credit(items, np.zeros(len(items)), n, users).value == 0.5
    assert choose_credit(items[:0], times[:0], n, users).value == 0.5


def test_the_reason_is_true_where_all_but_few_likes_are_of_one_time():
    items, _, n, users = log_of(50, 30, 5, 5)
    late = np.r_[np.zeros(len(items) - 3), np.ones(3)]
    assert "no times" in choose_credit(items, late, n, users).reason


def test_it_does_not_depend_on_the_kind_of_times():
    items, times, n, users = log_of(50, 30, 5, 5)
    dates = np.datetime64("2026-01-01") + times.astype("timedelta64[D]")
    assert choose_credit(items, dates, n, users) == choose_credit(
        items, times, n, users
    )


# -- in a fit ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def feed():
    """Forty items that come one after the other, each liked when it comes."""
    items, X = make_tastes()
    rng = np.random.default_rng(0)
    return items, X.assign(timestamp=X.item_id + rng.random(len(X)))


def fitted(items, X, **params):
    rec = MultimodalFusionRecommender(ItemCatalog(items), n_factors=8, random_state=0)
    return rec.set_params(training__max_epochs=2, **params).fit(X)


def test_new_items_of_a_feed_compete(feed):
    items, X = feed
    known = X[X.item_id < 30]
    by_itself = fitted(items[:30], known)
    choice = by_itself.choices_["cold_popularity"]
    assert choice.value > known.item_id.value_counts().median()
    assert by_itself.model_.cold_popularity == choice.value
    least = fitted(items[:30], known[["user_id", "item_id"]])
    assert least.choices_["cold_popularity"].value == 0.5
    shares = [
        rec.add_items(items[30:]).recommend(k=5).item_id.ge(30).mean()
        for rec in (by_itself, least)
    ]
    assert shares[0] > 0.3 > 0.05 > shares[1]


def test_a_fit_is_that_by_hand(feed):
    items, X = feed
    known = X[X.item_id < 30]
    by_itself = fitted(items, known)
    by_hand = fitted(items, known, cold_popularity=by_itself.model_.cold_popularity)
    pd.testing.assert_series_equal(by_itself.item_biases_, by_hand.item_biases_)
    assert "cold_popularity" not in by_hand.choices_


def test_dislikes_are_no_likes(feed):
    items, X = feed
    known = X[X.item_id < 30]
    rec = fitted(items, known)
    disliked = known.assign(user_id=known.user_id + 1000, timestamp=100.0)
    both = pd.concat([known, disliked])
    y = np.repeat([1.0, 0.0], len(known))
    other = MultimodalFusionRecommender(ItemCatalog(items), n_factors=8, random_state=0)
    other.set_params(training__max_epochs=2).fit(both, y)
    assert other.choices_["cold_popularity"] == rec.choices_["cold_popularity"]


def test_a_like_that_is_repeated_is_one(feed):
    items, X = feed
    known = X[X.item_id < 30]
    once = fitted(items, known).choices_["cold_popularity"]
    again = known.assign(timestamp=known.timestamp + 100)
    for n_times in (1, 5):
        rec = fitted(items, pd.concat([*[again] * n_times, known]))
        assert rec.choices_["cold_popularity"] == once


def test_nothing_is_chosen_where_it_has_no_effect(feed):
    items, X = feed
    stars = np.random.default_rng(0).integers(1, 6, len(X)).astype(float)
    rec = MultimodalFusionRecommender(
        ItemCatalog(items), n_factors=8, objective="mse", random_state=0
    )
    rec.set_params(training__max_epochs=1).fit(X, stars)
    assert "cold_popularity" not in rec.choices_
    by_ids = MatrixFactorizationRecommender(random_state=0).fit(X)
    assert "cold_popularity" not in by_ids.choices_
