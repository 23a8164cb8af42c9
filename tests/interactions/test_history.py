"""Compressed rows of who met what, against plain lists."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skmmrec.interactions import History, InteractionData, Interactions

N_USERS, N_ITEMS = 7, 9


@pytest.fixture(params=[0, 25])
def pairs(request):
    """Users, items and what is known about each pair; the last user met nothing."""
    rng = np.random.default_rng(0)
    cells = rng.permutation(N_USERS * N_ITEMS - N_ITEMS)[: request.param]
    users, items = np.divmod(cells, N_ITEMS)
    return users, items, rng.normal(size=len(cells)).astype(np.float32)


@pytest.fixture
def history(pairs):
    users, items, values = pairs
    return History.from_pairs(users, items, N_USERS, N_ITEMS, values)


@pytest.fixture
def lists(pairs):
    """Items and values of each user."""
    return [
        [(i, v) for u, i, v in zip(*pairs, strict=True) if u == user]
        for user in range(N_USERS)
    ]


def as_lists(history):
    """Items and values of each user, out of the compressed rows."""
    ends = zip(history.offsets[:-1], history.offsets[1:], strict=True)
    return [
        list(zip(history.items[a:b], history.values[a:b], strict=True)) for a, b in ends
    ]


def test_pairs_are_grouped_in_order(history, lists):
    assert as_lists(history) == lists
    for user, own in enumerate(lists):
        assert history.of(user).tolist() == [item for item, _ in own]
    assert history.offsets.dtype == history.items.dtype == np.int64
    assert history.values.dtype == np.float32


def test_counts(history, lists, pairs):
    assert history.lengths.tolist() == [len(own) for own in lists]
    assert history.users.tolist() == sorted(pairs[0])
    counts = [int(np.sum(pairs[1] == item)) for item in range(N_ITEMS)]
    assert history.popularity.tolist() == counts
    later = [n for own in lists for n in reversed(range(len(own)))]
    assert history.n_later.tolist() == later


def test_some_users_are_taken_in_any_order(history, lists):
    taken = history.take(np.array([3, -1, 6, 3]))
    assert as_lists(taken) == [lists[3], [], lists[6], lists[3]]
    assert taken.n_items == N_ITEMS
    nobody = history.take(np.array([], np.int64))
    assert as_lists(nobody) == []


def test_some_pairs_are_kept(history, lists):
    kept = history.where(history.values > 0)
    assert as_lists(kept) == [[p for p in own if p[1] > 0] for own in lists]
    assert as_lists(history.where(history.values > 99)) == [[]] * N_USERS


def test_what_is_liked(history):
    np.testing.assert_array_equal(history.liked, history.values > 0)
    plain = History(history.offsets, history.items, N_ITEMS)
    assert plain.liked.all()
    assert plain.take(np.array([0])).values is None
    assert plain.where(plain.liked).values is None


def test_a_matrix_has_a_one_for_each_pair(history, pairs):
    expected = np.zeros((N_USERS, N_ITEMS))
    expected[pairs[0], pairs[1]] = 1
    np.testing.assert_array_equal(history.to_csr().toarray(), expected)
    assert history.to_csr(bool).dtype == bool


def test_chosen_items_are_numbered_anew():
    history = History.from_pairs(np.array([0, 0, 1]), np.array([3, 1, 2]), 2, 4)
    chosen = history.among(np.array([True, False, True, True]))
    assert chosen.n_items == 3
    assert [chosen.of(user).tolist() for user in range(2)] == [[2], [1]]


def test_recency_halves_with_every_half_life():
    history = History(np.array([0, 3, 3, 8]), np.arange(8), 8)
    weights = history.recency(2.0)
    np.testing.assert_allclose(weights[:3], [0.5, 0.5**0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(
        weights[3:], 0.5 ** np.array([2, 1.5, 1, 0.5, 0]), atol=1e-6
    )


def test_which_pairs_are_held(history, pairs):
    users, items = np.divmod(np.arange(N_USERS * N_ITEMS), N_ITEMS)
    held = set(zip(*pairs[:2], strict=True))
    expected = [pair in held for pair in zip(users, items, strict=True)]
    assert history.holds(users, items).tolist() == expected
    assert history.holds(users[:0], items[:0]).shape == (0,)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_a_pickle_has_brought_takes_in_more(protocol):
    """NumPy reads long arrays without a copy, and scipy cannot set their flags."""
    n = 3000
    ids = pd.Index(np.arange(n))
    everyone = History(np.arange(n + 1), np.arange(n), n)
    some = everyone.where(np.arange(n) % 3 > 0)
    data = InteractionData(ids, ids, everyone, some)
    again = pickle.loads(pickle.dumps(data, protocol))
    rows = Interactions(np.array([0, 1]), np.array([5, 6]), None)
    for each in (data, again):
        assert each.disliked.items.tolist() == list(range(0, n, 3))
        extended = each.extend(rows)
        assert extended.seen.of(0).tolist() == [0, 5]
        assert extended.history.of(0).tolist() == [5]
