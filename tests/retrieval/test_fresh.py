"""Places for new items, against a list that is made item by item."""

import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.retrieval import Lists, check_fresh, fresh_places, mix_fresh


def best(scores, k):
    """Rank by score, ties by position; minus infinity is left out."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Lists(order, np.take_along_axis(scores, order, axis=1))


def one_by_one(scores, is_new, k, places):
    """Take the best item left, but a new one where too few have come by a place."""
    order = [i for i in np.argsort(-scores, kind="stable") if np.isfinite(scores[i])]
    taken = []
    for place in range(min(k, len(order))):
        wanted = np.count_nonzero(places <= place)
        new = [i for i in order if is_new[i] and i not in taken]
        is_late = np.count_nonzero(is_new[taken]) < wanted and new
        left = [i for i in order if i not in taken]
        taken.append(new[0] if is_late else left[0])
    return taken


@st.composite
def problems(draw):
    n_items, k = draw(st.integers(1, 12)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    scores = rng.integers(0, draw(st.integers(1, 20)), (3, n_items)).astype(np.float32)
    scores[rng.random(scores.shape) < draw(st.floats(0, 0.6))] = -np.inf
    is_new = rng.random(n_items) < draw(st.floats(0, 1))
    return scores, is_new, k, draw(st.integers(0, k))


@settings(max_examples=200)
@given(problems())
def test_lists_are_those_made_item_by_item(problem):
    scores, is_new, k, n = problem
    places = fresh_places(n, k)
    new = best(np.where(is_new, scores, -np.float32(np.inf)), n)
    mixed = mix_fresh(best(scores, k), new, places)
    for row, own in enumerate(scores):
        there = np.isfinite(mixed.scores[row])
        assert np.all(np.diff(there.astype(int)) <= 0)
        found = mixed.positions[row][there]
        assert found.tolist() == one_by_one(own, is_new, k, places)
        np.testing.assert_array_equal(mixed.scores[row][there], own[found])


@given(st.integers(1, 60), st.data())
def test_each_place_is_in_the_middle_of_its_part(k, data):
    n = data.draw(st.integers(0, k))
    places = fresh_places(n, k)
    assert len(places) == n
    assert np.all(np.diff(places, prepend=-1) > 0)
    assert np.all(places < k)
    # In whole numbers: 2 n (place + 1) is the least multiple not below (2 j - 1) k.
    for j, place in enumerate(places + 1, start=1):
        assert 2 * n * place >= (2 * j - 1) * k > 2 * n * (place - 1)


@pytest.mark.parametrize(
    ("fresh", "k", "places"),
    [
        (0.0, 10, []),
        (0, 10, []),
        (0.1, 10, [5]),
        (0.2, 10, [3, 8]),
        (0.25, 10, [2, 5, 9]),
        (0.1, 3, [2]),
        (0.001, 10, [5]),
        (1.0, 3, [1, 2, 3]),
        (1, 3, [2]),
        (np.int64(3), 3, [1, 2, 3]),
        (np.float32(0.5), 4, [1, 3]),
    ],
)
def test_a_share_is_the_nearest_number_of_places(fresh, k, places):
    assert (fresh_places(fresh, k) + 1).tolist() == places


@pytest.mark.parametrize("fresh", [-1, -0.1, 1.5, 11, True, "half", None, np.nan])
def test_places_that_a_list_does_not_have_are_refused(fresh):
    with pytest.raises(ValueError, match=r"fresh must be a share.*from 0 to k=10"):
        check_fresh(fresh, 0, 10)


@pytest.mark.parametrize("met", [-1, 0.5, True, None])
def test_what_is_no_number_of_users_is_refused(met):
    error = ValueError if met == -1 else TypeError
    with pytest.raises(error, match=r"fresh_met must be a(t least 0|n integer), got"):
        check_fresh(0.1, met, 10)


def test_what_is_new_matters_only_where_places_are_kept():
    text = "fresh_met=3 has no effect without fresh"
    with pytest.raises(ValueError, match=re.escape(text)):
        check_fresh(0, 3, 10)


def test_new_items_that_an_approximate_list_misses_share_no_place():
    lists = Lists(np.array([[0, 1, 2, 9]]), np.array([[9, 8, 7, 6]], np.float32))
    # Item 8 is better than 9, but was not found.
    new = Lists(np.array([[8, 9]]), np.array([[6.5, 6.0]], np.float32))
    mixed = mix_fresh(lists, new, np.array([3, 4]))
    assert mixed.positions.tolist() == [[0, 1, 2, 8]]
    places = fresh_places(2, 4)
    assert mix_fresh(lists, new, places).positions.tolist() == [[8, 0, 9, 1]]


def test_many_lists_are_mixed_in_parts():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(700, 60)).astype(np.float32)
    is_new = np.arange(60) % 7 == 0
    places = fresh_places(0.3, 50)
    new = best(np.where(is_new, scores, -np.float32(np.inf)), len(places))
    mixed = mix_fresh(best(scores, 50), new, places)
    for row in (0, 350, 699):
        expected = one_by_one(scores[row], is_new, 50, places)
        assert mixed.positions[row].tolist() == expected
