"""Lists of what items say of others: sums, pairs, parts, and the search beside them."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from skmmrec.interactions import History
from skmmrec.recommender.memory import (
    ItemMemory,
    MemoryOfLikes,
    _dense,
    _item_memory,
    _pair_sums,
    _sparse_linear,
    neighbour_weights,
)
from skmmrec.recommender.memory._pair_sums import PairSums
from skmmrec.retrieval import Lookup

N_USERS, N_ITEMS = 30, 40


@pytest.fixture(scope="module")
def history():
    """Users of 0 to 9 likes, in no order of the items."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 10, N_USERS)
    lengths[0] = 0
    items = [rng.permutation(N_ITEMS)[:n] for n in lengths]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return History(offsets, np.concatenate(items), N_ITEMS)


@pytest.fixture(scope="module", params=[None, 2.0])
def memory(request, history):
    found = MemoryOfLikes.learn(history)
    return found.weighed(0.5, request.param)


def by_hand(memory, history):
    """Add up lists, one by one."""
    scores = np.zeros((len(history.lengths), N_ITEMS))
    for user in range(len(history.lengths)):
        own = history.of(user)[::-1]
        counts = np.ones(len(own))
        if memory.half_life is not None:
            counts = 0.5 ** (np.arange(len(own)) / memory.half_life)
        for item, count in zip(own, counts, strict=True):
            for other, weight in zip(
                memory.neighbors[item], memory.weights[item], strict=True
            ):
                if other >= 0:
                    scores[user, other] += count * weight
        scores[user] /= max(counts.sum(), 1) ** memory.exponent
    return scores


def test_scores_are_the_sums_of_lists(memory, history):
    scores = memory.scores(history)
    assert scores.dtype == np.float32
    assert scores.has_sorted_indices
    expected = by_hand(memory, history)
    assert (expected != 0).any(axis=1).sum() > N_USERS / 2
    np.testing.assert_allclose(scores.toarray(), expected, rtol=1e-6, atol=1e-9)


def test_scores_among_some_items_are_those_of_all(memory, history):
    chosen = np.arange(N_ITEMS) % 3 == 1
    some, whole = memory.scores(history, chosen), memory.scores(history)
    np.testing.assert_array_equal(some.toarray(), whole.toarray()[:, chosen])


def test_scores_do_not_depend_on_who_else_asks(memory, history):
    whole = memory.scores(history).toarray()
    for user in (1, 7, 19):
        alone = memory.scores(history.take(np.array([user]))).toarray()
        np.testing.assert_array_equal(alone[0], whole[user])


def test_pairs_are_entries_of_the_scores(memory, history, monkeypatch):
    rng = np.random.default_rng(1)
    users, items = rng.integers(-1, N_USERS, 300), rng.integers(-1, N_ITEMS, 300)
    expected = memory.scores(history).toarray()[users, items]
    expected[(users < 0) | (items < 0)] = 0
    np.testing.assert_array_equal(memory.pairs(history, users, items), expected)
    monkeypatch.setattr(_item_memory, "ENTRIES_AT_ONCE", 64)
    np.testing.assert_array_equal(memory.pairs(history, users, items), expected)


def test_parts_add_up_to_the_scores(memory, history):
    items = np.random.default_rng(2).integers(0, N_ITEMS, N_USERS)
    parts = memory.parts(history, items)
    sums = np.bincount(history.users, parts, N_USERS)
    users = np.arange(N_USERS)
    scores = memory.pairs(history, users, items)
    assert (parts != 0).any()
    np.testing.assert_allclose(sums, scores, rtol=1e-6, atol=1e-9)


def test_nobody_and_nothing(memory, history):
    nobody = np.array([-1, 0])
    assert memory.scores(history.take(nobody)).nnz == 0
    assert memory.pairs(history, nobody, np.array([3, 3])).tolist() == [0, 0]
    none = np.array([], int)
    assert memory.pairs(history, none, none).shape == (0,)


def test_new_items_are_neither_heard_nor_spoken_of(memory, history):
    more = memory.append(2)
    longer = History(history.offsets, history.items, N_ITEMS + 2)
    scores = more.scores(longer).toarray()
    np.testing.assert_array_equal(scores[:, :N_ITEMS], memory.scores(history).toarray())
    assert not scores[:, N_ITEMS:].any()
    new = History(np.array([0, 1]), np.array([N_ITEMS]), N_ITEMS + 2)
    assert more.scores(new).nnz == 0


def test_the_strongest_of_each_row_are_kept():
    dense = np.array([[0, 3, -5, 1], [2, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], "f4")
    memory = ItemMemory.of_matrix(csr_array(dense), 2)
    assert memory.neighbors.tolist() == [[2, 1], [0, -1], [-1, -1], [0, 1]]
    assert memory.weights.tolist() == [[-5, 3], [2, 0], [0, 0], [1, 1]]


def test_an_empty_memory():
    empty = ItemMemory.of_matrix(csr_array((3, 3), dtype=np.float32), 2)
    assert empty.neighbors.shape == (3, 0)
    history = History(np.array([0, 2]), np.array([0, 1]), 3)
    assert empty.scores(history).nnz == 0
    assert empty.pairs(history, np.zeros(3, int), np.arange(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_with_all_neighbours_a_power_of_1_is_the_inverse(power):
    """What EASE divides by is the diagonal of the inverse matrix."""
    likes = np.random.default_rng(0).random((60, 7)) < 0.4
    inverse = np.linalg.inv(likes.T.astype(float) @ likes + 3 * np.eye(7))
    expected = -inverse / np.diag(inverse) ** (1 - power)
    np.fill_diagonal(expected, 0)
    found = _sparse_linear.reconstruct(csr_array(likes.astype("f4")), 6, 3.0)
    np.testing.assert_allclose(
        found.said(power).toarray(), expected, rtol=1e-4, atol=1e-6
    )
    if power == 0:
        weights = neighbour_weights(csr_array(likes.astype("f4")), 6, 3.0)
        np.testing.assert_array_equal(weights.toarray(), found.said(0.0).toarray())


def test_users_and_items_without_likes_change_nothing(history):
    met, l2 = history.to_csr(), 2.0
    shape = N_USERS + 20 * met.nnz, N_ITEMS + 9
    offsets = np.pad(met.indptr, (0, 20 * met.nnz), mode="edge")
    padded = csr_array((met.data, met.indices, offsets), shape=shape)
    few = _sparse_linear.reconstruct(met, 5, l2)
    many = _sparse_linear.reconstruct(padded, 5, l2)
    own = many.weights[:N_ITEMS]
    np.testing.assert_array_equal(own.toarray()[:, :N_ITEMS], few.weights.toarray())
    assert many.weights.nnz == few.weights.nnz > N_ITEMS
    np.testing.assert_array_equal(many.left[:N_ITEMS], few.left)
    assert (many.left[N_ITEMS:] == l2).all()


def test_long_histories_are_cut_before_they_are_compared(monkeypatch):
    from skmmrec.recommender.memory import _learning

    items = np.tile(np.arange(6), 5)
    history = History(np.arange(0, 31, 6), items, 6)
    monkeypatch.setattr(_learning, "MAX_LIKES", 2)
    memory = MemoryOfLikes.learn(history).weighed(0.0)
    assert set(memory.neighbors[memory.neighbors >= 0].tolist()) == {4, 5}


# -- of what comes next --------------------------------------------------------------


def rows_of(history, window, fades):
    """Weights of the likes before each like, and the like itself, one by one."""
    earlier = np.zeros((len(history.items), history.n_items))
    liked = np.zeros_like(earlier)
    place = np.arange(len(history.items)) - history.offsets[history.users]
    for row, item in enumerate(history.items):
        liked[row, item] = 1
        for lag in range(1, min(window, place[row]) + 1):
            earlier[row, history.items[row - lag]] += 0.5 ** ((lag - 1) / fades)
    return earlier, liked


@pytest.mark.parametrize("likes_at_once", [1, 7, 2**18])
@pytest.mark.parametrize(("window", "fades"), [(1, 1.0), (3, 2.0), (30, 10.0)])
def test_pairs_are_summed_over_all_that_came_before(
    likes_at_once, window, fades, monkeypatch
):
    history = random_history(30, 12, 6)
    monkeypatch.setattr(_pair_sums, "LIKES_AT_ONCE", likes_at_once)
    sums = PairSums.of(history, window, fades)
    earlier, liked = rows_of(history, window, fades)
    expected = earlier.T @ liked, np.triu(earlier.T @ earlier)
    for found, each in zip((sums.before, sums.beside), expected, strict=True):
        np.testing.assert_allclose(found.toarray(), each, rtol=1e-12, atol=1e-12)
        assert found.has_sorted_indices
    np.testing.assert_array_equal(sums.likes, liked.sum(axis=0))


@pytest.mark.parametrize("seed", range(3))
def test_what_comes_next_is_reconstructed_by_ridge_regression(seed):
    """Of all other items, as there are few."""
    history, weight = random_history(40, 7, 4, seed), 0.5
    earlier, liked = rows_of(history, 3, 2.0)
    together = weight**0.5 * history.to_csr().toarray()
    met, wanted = np.vstack([earlier, together]), np.vstack([liked, together])
    found = _sparse_linear.reconstruct(
        csr_array(together.astype("f4")), 6, 3.0, sums=PairSums.of(history, 3, 2.0)
    )
    for item in range(7):
        others = np.delete(np.arange(7), item)
        gram = met[:, others].T @ met[:, others] + 3 * np.eye(6)
        answer = met[:, others].T @ wanted[:, item]
        weights = np.linalg.solve(gram, answer)
        own = found.weights[[item]].toarray()[0]
        np.testing.assert_allclose(own[others], weights, rtol=1e-3, atol=1e-5)
        assert own[item] == 0
        left = wanted[:, item] @ wanted[:, item] + 3 - weights @ answer
        np.testing.assert_allclose(found.left[item], left, rtol=1e-4, atol=1e-5)


def test_neighbours_are_those_that_come_before_or_together():
    """The nearest by the cosine of what was before and what was wanted."""
    history = random_history(60, 30, 6)
    earlier, liked = rows_of(history, 3, 2.0)
    likes = history.to_csr().toarray()
    met, wanted = np.vstack([earlier, likes]), np.vstack([liked, likes])
    lengths = np.linalg.norm(wanted, axis=0)[:, None] * np.linalg.norm(met, axis=0)
    cosines = (wanted.T @ met) / np.where(lengths == 0, 1, lengths)
    np.fill_diagonal(cosines, 0)
    sums = PairSums.of(history, 3, 2.0)
    found = _sparse_linear.reconstruct(history.to_csr(), 5, 3.0, sums=sums).weights
    for item in range(30):
        chosen = found.indices[slice(*found.indptr[item : item + 2])]
        least = np.sort(cosines[item])[-5]
        assert (cosines[item, chosen] >= least - 1e-6).all()
        assert len(chosen) == min(5, (cosines[item] > 0).sum())


@given(arrays(np.int8, (5, 7), elements=st.integers(0, 2)), st.integers(0, 100))
def test_a_lookup_finds_what_a_matrix_holds(values, n_asked):
    rng = np.random.default_rng(n_asked)
    rows, columns = rng.integers(0, 5, n_asked), rng.integers(0, 7, n_asked)
    lookup = Lookup(csr_array(values.astype(float)))
    for find in (lookup.at, lookup.at_many):
        np.testing.assert_array_equal(find(rows, columns), values[rows, columns])


def of_a_ring(n_users=60, n_items=20, length=8):
    """Users who meet the items in the order of a ring, from places of their own."""
    items = (np.arange(n_users)[:, None] + np.arange(length)) % n_items
    return History(np.arange(0, n_users * length + 1, length), items.ravel(), n_items)


def test_the_order_of_likes_tells_what_comes_next():
    ring = of_a_ring()
    ordered, blind = (
        MemoryOfLikes.learn(ring, order).weighed(0.0).matrix.toarray()
        for order in (True, False)
    )
    here, after = np.arange(20), (np.arange(20) + 1) % 20
    assert (ordered[here, after] > 2 * np.abs(ordered[after, here])).all()
    np.testing.assert_allclose(
        blind[here, after], blind[after, here], rtol=1e-5, atol=1e-6
    )


def test_a_history_backwards_says_what_came_before():
    ring = of_a_ring()
    items = ring.items.reshape(-1, 8)[:, ::-1].ravel()
    matrices = (
        MemoryOfLikes.learn(each, ordered=True).weighed(0.0).matrix.toarray()
        for each in (ring, History(ring.offsets, items, 20))
    )
    forwards, backwards = matrices
    here = np.arange(20)
    mirrored = backwards[np.ix_(-here % 20, -here % 20)]
    np.testing.assert_allclose(mirrored, forwards, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [[0, 0, 0], [1, 1, 0], [1, 2, 0]])
def test_a_next_like_needs_one_before_it(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    history = History(offsets, np.arange(sum(lengths)), 4)
    memory = MemoryOfLikes.learn(history, ordered=True).weighed(0.5)
    assert np.isfinite(memory.weights).all()
    assert (memory.weights > 0).sum() == (2 if 2 in lengths else 0)


# -- on an accelerator ---------------------------------------------------------------

WHERE = [
    pytest.param(torch.device("cpu"), id="cpu"),
    pytest.param(torch.device("cuda"), marks=pytest.mark.gpu, id="cuda"),
]


def random_history(n_users, n_items, mean, seed=0):
    """Likes of items that differ much in how often they are liked."""
    rng = np.random.default_rng(seed)
    odds = 1 / np.arange(1, n_items + 1) ** 0.7
    lengths = np.minimum(rng.poisson(mean, n_users), n_items)
    items = [rng.choice(n_items, n, False, odds / odds.sum()) for n in lengths]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return History(offsets, np.concatenate(items), n_items)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("shape", [(200, 30, 6), (500, 90, 8), (40, 5, 2), (3, 9, 0)])
def test_an_accelerator_finds_the_same_neighbours(where, shape, monkeypatch):
    met = random_history(*shape).to_csr()
    monkeypatch.setattr(_dense, "NUMBERS_AT_ONCE", 500)
    monkeypatch.setattr(_dense, "PAIRS_AT_ONCE", 100)
    found = _sparse_linear.reconstruct(met, 7, 3.0, where)
    expected = _sparse_linear.reconstruct(met, 7, 3.0)
    found.weights.sort_indices()
    expected.weights.sort_indices()
    together = (met.T @ met).toarray()
    counts = _dense.count_pairs(met, where).cpu().numpy()
    np.testing.assert_array_equal(counts, together)
    degrees = np.maximum(np.diag(together), 1)
    cosines = together / np.sqrt(degrees[:, None] * degrees)
    n_same = 0
    for item in range(shape[1]):
        ours, theirs = (
            slice(*m.weights.indptr[item : item + 2]) for m in (found, expected)
        )
        own, other = found.weights.indices[ours], expected.weights.indices[theirs]
        # Neighbours that are equally near may be others.
        np.testing.assert_allclose(
            np.sort(cosines[item, own]), np.sort(cosines[item, other]), atol=1e-6
        )
        if np.array_equal(own, other):
            n_same += 1
            np.testing.assert_allclose(
                found.weights.data[ours],
                expected.weights.data[theirs],
                rtol=1e-5,
                atol=1e-6,
            )
            np.testing.assert_allclose(
                found.left[item], expected.left[item], rtol=1e-9, atol=1e-9
            )
    assert n_same > 0.7 * shape[1]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("shape", [(200, 30, 6), (500, 90, 8), (40, 5, 2), (3, 9, 0)])
def test_an_accelerator_finds_what_comes_next(where, shape, monkeypatch):
    """With all items as neighbours, as it may break ties in another way."""
    monkeypatch.setattr(_dense, "NUMBERS_AT_ONCE", 500)
    history = random_history(*shape)
    likes, sums = history.to_csr() * np.float32(0.7), PairSums.of(history, 4, 2.0)
    found = _sparse_linear.reconstruct(likes, 90, 3.0, where, sums)
    expected = _sparse_linear.reconstruct(likes, 90, 3.0, sums=sums)
    np.testing.assert_allclose(
        found.weights.toarray(), expected.weights.toarray(), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(found.left, expected.left, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", WHERE)
def test_an_accelerator_breaks_ties_by_position(where):
    """Of cosines that are equal as fractions, whatever rounding makes of them."""
    likes = np.zeros((40, 6), np.float32)
    likes[:9, 0] = 1
    # Each of the others met the first item in c cases of c * c: cosines of 1/3.
    for item, common in enumerate((3, 2, 1), start=1):
        likes[:common, item] = 1
        likes[9 : 9 + common**2 - common, item] = 1
    found = _sparse_linear.reconstruct(csr_array(likes), 2, 1.0, where)
    assert found.weights[[0]].indices.tolist() == [1, 2]


@pytest.mark.parametrize("where", WHERE)
def test_what_is_collinear_is_refused_on_an_accelerator(where):
    likes = csr_array(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match=r"l2=0\.0 is too small"):
        _sparse_linear.reconstruct(likes, 3, 0.0, where)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("where", WHERE)
def test_a_memory_by_an_accelerator_says_the_same(where, ordered):
    history = random_history(300, 60, 12)
    found, expected = (
        MemoryOfLikes.learn(history, ordered, each).weighed(0.5).scores(history)
        for each in (where, None)
    )
    difference = np.abs((found - expected).toarray())
    # But for neighbours that are equally near.
    assert np.quantile(difference, 0.9) < 1e-6
