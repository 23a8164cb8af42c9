"""Lists in which places are kept for items that nobody or few have met."""

import copy
import re

import numpy as np
import pandas as pd
import pytest

from skmmrec.interactions import History
from skmmrec.recommender import (
    ContentRecommender,
    MatrixFactorizationRecommender,
    PopularityRecommender,
)
from skmmrec.retrieval import ApproximateIndex, fresh_places
from tests.recommender.two_tastes import IDS, fit, make_tastes, share_of_own_side

NEW = np.arange(30, 40)


@pytest.fixture(scope="module")
def world():
    items, X = make_tastes()
    return items, X[~X.item_id.isin(NEW)]


@pytest.fixture(scope="module")
def rec(world):
    """Ten of forty items were met by nobody, and no list of ten has one of them."""
    rec = fit(*world, cold_popularity=1e-6)
    assert not rec.recommend().item_id.isin(NEW).any()
    return rec


@pytest.fixture
def own(rec):
    """A recommender that the test may change."""
    return copy.deepcopy(rec)


def by_user(table):
    return {user: part.item_id.tolist() for user, part in table.groupby("user_id")}


def test_without_places_nothing_changes(rec):
    plain = rec.recommend(k=7)
    for fresh in (0, 0.0):
        pd.testing.assert_frame_equal(rec.recommend(k=7, fresh=fresh), plain)


@pytest.mark.parametrize("fresh", [1, 3, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("k", [3, 10])
def test_new_items_come_at_their_places_and_others_keep_their_order(rec, fresh, k):
    table, plain = rec.recommend(k=k, fresh=fresh), by_user(rec.recommend(k=k))
    places = fresh_places(fresh, k)
    among_new = by_user(rec.recommend(k=k, items=NEW))
    assert (table["rank"] == np.tile(np.arange(1, k + 1), len(plain))).all()
    for user, items in by_user(table).items():
        is_new = np.isin(items, NEW)
        assert np.flatnonzero(is_new).tolist() == places.tolist()
        assert np.array(items)[is_new].tolist() == among_new[user][: len(places)]
        rest = np.array(items)[~is_new].tolist()
        assert rest == plain[user][: k - len(places)]


def test_scores_are_those_of_predict(rec):
    table = rec.recommend(k=10, fresh=0.3)
    predicted = rec.predict(table[IDS])
    np.testing.assert_allclose(table.score, predicted, rtol=1e-5, atol=1e-5)


def test_new_items_are_those_that_suit_the_user(rec):
    table = rec.recommend(k=10, fresh=0.3)
    assert share_of_own_side(table[table.item_id.isin(NEW)]) > 0.9


def test_lists_with_new_items_enough_stay_as_they_are(world):
    rec = fit(*world, cold_popularity=1000.0)
    plain = rec.recommend(k=10)
    assert plain.item_id.isin(NEW).groupby(plain.user_id).sum().min() >= 2
    pd.testing.assert_frame_equal(rec.recommend(k=10, fresh=1), plain)


def test_only_candidates_are_new(rec):
    chosen = [0, 1, 2, 3, 4, 5, 31, 32]
    table = rec.recommend(k=6, fresh=0.5, items=chosen, exclude_seen=False)
    assert table.item_id.isin(chosen).all()
    is_new = table.item_id.isin(NEW).groupby(table.user_id).sum()
    assert (is_new == 2).all(), "of three places, two new items are left"
    assert (table.user_id.value_counts() == 6).all()
    known = rec.recommend(k=6, fresh=0.5, items=np.arange(30))
    pd.testing.assert_frame_equal(known, rec.recommend(k=6, items=np.arange(30)))


def test_lists_longer_than_the_catalogue_hold_every_item_once(rec):
    table = rec.recommend(k=50, fresh=0.5, exclude_seen=False)
    assert (table.user_id.value_counts() == 40).all()
    assert not table.duplicated(IDS).any()


def test_who_is_new_or_asked_for_twice_gets_new_items_too(rec):
    table = rec.recommend([0, 99, 0], k=5, fresh=1)
    assert table.user_id.tolist() == [0] * 5 + [99] * 5 + [0] * 5
    assert table.item_id.isin(NEW).tolist() == [False, False, True, False, False] * 3


def test_an_item_is_new_while_few_have_met_it(own):
    own.partial_fit(pd.DataFrame({"user_id": [0, 1, 0], "item_id": [30, 30, 31]}))
    others = np.setdiff1d(NEW, [30, 31])
    everyone = np.arange(2, 60)
    for met, new in [(0, others), (1, [31, *others]), (2, NEW)]:
        table = own.recommend(everyone, k=20, fresh=1.0, fresh_met=met)
        first = table[table["rank"] <= len(new)]
        assert set(first.item_id) == set(new)
        assert first.item_id.isin(new).all()


def test_what_the_user_has_met_is_shown_again_only_if_wanted(own):
    own.partial_fit(pd.DataFrame({"user_id": [0], "item_id": [30]}))
    asked = {"k": 10, "fresh": 1.0, "fresh_met": 1}
    assert 30 not in set(own.recommend([0], **asked).item_id)
    assert 30 in set(own.recommend([0], **asked, exclude_seen=False).item_id)


def test_added_items_are_new(rec, world):
    items = world[0][world[0].item_id < 30]
    own = fit(items, world[1], cold_popularity=1e-6)
    plain = own.recommend(k=5)
    pd.testing.assert_frame_equal(own.recommend(k=5, fresh=2), plain)
    own.add_items(world[0][world[0].item_id.isin(NEW)])
    table = own.recommend(k=5, fresh=2)
    assert table["rank"][table.item_id.isin(NEW)].tolist() == [2, 4] * 60


def test_an_index_finds_what_the_exact_search_finds(rec):
    pytest.importorskip("faiss")
    index = ApproximateIndex(n_probes=10**6).fit(rec.serving_vectors().items)
    table = rec.recommend(k=10, fresh=0.3, index=index)
    exact = rec.recommend(k=10, fresh=0.3)
    pd.testing.assert_frame_equal(table, exact, rtol=1e-5, atol=1e-5)
    assert table.attrs["search"] == "approximate"


@pytest.mark.parametrize(
    "kind",
    [ContentRecommender, MatrixFactorizationRecommender],
    ids=lambda c: c.__name__,
)
def test_others_that_have_vectors_keep_places_too(world, kind):
    items, X = world
    catalog = fit(items, X, training__max_epochs=0).catalog
    rec = kind(catalog) if kind is ContentRecommender else kind(random_state=0)
    table = rec.fit(X).recommend(k=4, fresh=0.5)
    new = set(rec.item_index_) - set(X.item_id)
    shares = table.item_id.isin(new).groupby(table.user_id).sum()
    assert shares.min() >= min(2, len(new))


def test_those_without_vectors_have_no_places(world):
    popular = PopularityRecommender().fit(world[1])
    with pytest.raises(TypeError, match="fresh"):
        popular.recommend(k=4, fresh=0.5)


def test_what_no_list_has_is_refused(rec):
    with pytest.raises(ValueError, match=re.escape("from 0 to k=4, got 5")):
        rec.recommend(k=4, fresh=5)
    with pytest.raises(ValueError, match="fresh_met=2 has no effect without fresh"):
        rec.recommend(k=4, fresh_met=2)


def test_users_are_counted_once_until_they_change(own, monkeypatch):
    counted = []
    count = History.popularity.fget

    def spy(self):
        counted.append(len(self.items))
        return count(self)

    monkeypatch.setattr(History, "popularity", property(spy))
    own.recommend(k=3)
    assert counted == []  # nothing is new where no place is kept for it
    for _ in range(3):
        own.recommend(k=3, fresh=1)
    assert len(counted) == 1
    users = own.user_index_[:2]
    own.partial_fit(pd.DataFrame({"user_id": users, "item_id": NEW[0]}))
    counted.clear()
    others = own.user_index_[2:]
    table = own.recommend(others, k=3, fresh=1)
    assert len(counted) == 1
    assert NEW[0] not in set(table.item_id)
    table = own.recommend(others, k=40, fresh=10, fresh_met=2)
    assert set(NEW) <= set(table.item_id)
