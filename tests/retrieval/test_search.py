"""Exact search against all scores, pair by pair, sorted stably."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.sparse import csr_array

from skmmrec.interactions import History
from skmmrec.retrieval import (
    ExactSearch,
    _exact,
    _exact_products,
    _products,
    _search,
    bound_lengths,
    score_pairs,
)
from skmmrec.retrieval._products import DeviceProducts, greatest, split
from tests.valueless import valueless_gpus

CPU = torch.device("cpu")


def reference(queries, items, biases, k, offsets, hidden, added=None):
    """Scores of `score_pairs`, for the inner products of all pairs."""
    n, m = len(queries), len(items)
    left, right = np.repeat(queries, m, axis=0), np.tile(items, (n, 1))
    scores = score_pairs(left, right).reshape(n, m) + biases + offsets[:, None]
    scores = scores if added is None else scores + added.toarray()
    scores[hidden.users, hidden.items] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


def make_items(kind, n, dim, rng):
    items = rng.normal(size=(n, dim))
    if kind == "twins":
        items = items[rng.integers(0, n // 3, n)]
    elif kind == "near":
        items = items[0] + 1e-7 * items
    elif kind == "whole":
        items = items.round()
    elif kind == "one-hot":
        items = np.eye(dim)[rng.integers(0, dim, n)]
    elif kind == "shifted":
        items += 1000
    elif kind == "zero":
        items[:] = 0
    return items.astype(np.float32)


def make_problem(kind, seed, size=1.0):
    rng = np.random.default_rng(seed)
    n, m, dim = rng.integers(1, 12), rng.integers(200, 500), rng.integers(1, 40)
    queries = (rng.normal(size=(n, dim)) * size).astype(np.float32)
    queries[0] *= rng.integers(0, 2)
    items = make_items(kind, m, dim, rng) * np.float32(size)
    biases = (rng.normal(size=m).round(1) * rng.integers(0, 2)).astype(np.float32)
    hidden = np.unique(rng.integers(0, n * m, 9 * n))
    hidden = History.from_pairs(hidden // m, hidden % m, n, m)
    offsets = rng.normal(size=n).astype(np.float32)
    return queries, items, biases, offsets, hidden


def make_added(n, m, seed):
    """Few entries and many, small and large, above and below 0."""
    rng = np.random.default_rng(seed)
    added = rng.normal(size=(n, m)) * 10 ** rng.uniform(-3, 3)
    added *= rng.random((n, m)) < rng.choice([0.0, 0.02, 0.5])
    return csr_array(added.astype(np.float32))


def assert_same(found, expected):
    """Places of what is hidden do not matter."""
    there = np.isfinite(expected[1])
    np.testing.assert_array_equal(found.scores, expected[1])
    np.testing.assert_array_equal(found.positions[there], expected[0][there])


@pytest.fixture(params=["on the host", "as on a device"], scope="module")
def engine(request):
    """Both ways to find candidates; the second one runs on any device."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "as on a device":
            patch.setattr(_search, "HostProducts", lambda *a: DeviceProducts(*a, CPU))
        yield


KINDS = ["normal", "twins", "near", "whole", "one-hot", "shifted", "zero"]


@settings(max_examples=25)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10**6),
    k=st.sampled_from([1, 5, 12, 30, 600]),
    size=st.sampled_from([1.0, 1e-3, 1e4, 1e-18]),
    adds=st.booleans(),
)
def test_lists_are_those_of_all_scores(engine, kind, seed, k, size, adds):
    queries, items, biases, offsets, hidden = make_problem(kind, seed, size)
    added = make_added(len(queries), len(items), seed) if adds else None
    search = ExactSearch(items, biases, CPU)
    found = search.search(queries, k, offsets=offsets, hidden=hidden, added=added)
    expected = reference(queries, items, biases, k, offsets, hidden, added)
    assert_same(found, expected)


def test_scores_beyond_float32_in_between(engine):
    """Sums pass its greatest number and come back."""
    items = np.zeros((300, 4), np.float32)
    items[:, :2] = 3e19
    items[:, 2:] = -3e19
    items[:, 3] += 1e15 * np.arange(300, dtype=np.float32)
    queries = np.full((3, 4), 2e19, np.float32)
    hidden = History.from_pairs(np.array([0]), np.array([299]), 3, 300)
    none = np.zeros(300, np.float32)
    found = ExactSearch(items, None, CPU).search(queries, 3, hidden=hidden)
    expected = reference(queries, items, none, 3, none[:3], hidden)
    assert_same(found, expected)
    assert found.positions[0].tolist() != found.positions[1].tolist()


def test_everything_may_be_hidden(engine):
    queries, items, biases, offsets, _ = make_problem("normal", 0)
    n, m = len(queries), len(items)
    pairs = np.arange(n * m)
    hidden = History.from_pairs(pairs // m, pairs % m, n, m)
    found = ExactSearch(items, biases, CPU).search(
        queries, 4, offsets=offsets, hidden=hidden
    )
    assert np.isneginf(found.scores).all()


@pytest.mark.parametrize(("n", "m", "k"), [(0, 300, 3), (2, 0, 3), (2, 300, 0)])
def test_nothing_to_find(n, m, k):
    items, queries = np.ones((m, 2), np.float32), np.ones((n, 2), np.float32)
    found = ExactSearch(items, None, CPU).search(queries, k)
    assert found.positions.shape == found.scores.shape == (n, min(m, k))


@pytest.mark.parametrize("kind", KINDS)
def test_neither_blocks_nor_order_nor_threads_change_lists(engine, kind, monkeypatch):
    queries, items, biases, _, _ = make_problem(kind, 3)
    queries = np.tile(queries, (9, 1))
    search = ExactSearch(items, biases, CPU)
    whole = search.search(queries, 6)
    backwards = search.search(queries[::-1], 6)
    np.testing.assert_array_equal(backwards.positions[::-1], whole.positions)
    np.testing.assert_array_equal(backwards.scores[::-1], whole.scores)
    threads = torch.get_num_threads()
    monkeypatch.setattr(_exact, "CHUNK_SCORES", 3 * len(items))
    monkeypatch.setattr(_products, "DEVICE_SCORES", 4 * 14 * len(items))
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        blocks = search.search(queries, 6)
    finally:
        torch.set_num_threads(threads)
    for row, query in enumerate(queries):
        alone = search.search(query[None], 6)
        for lists in (alone, Rows(blocks, row)):
            assert lists.positions[0].tolist() == whole.positions[row].tolist()
            assert lists.scores[0].tolist() == whole.scores[row].tolist()


class Rows:
    """One row of lists."""

    def __init__(self, lists, row):
        self.positions, self.scores = lists.positions[[row]], lists.scores[[row]]


def test_usual_scores_are_not_compared_in_float64(engine, monkeypatch):
    """That would be exact as well, but slow."""
    rows = []
    monkeypatch.setattr(_search._Task, "_compare_with_all", lambda _, r: rows.append(r))
    rng = np.random.default_rng(0)
    queries, items = (rng.normal(size=(n, 32)).astype("f4") for n in (400, 3000))
    ExactSearch(items, None, CPU).search(queries, 10)
    assert rows == []


def test_candidates_within_rounding_are(monkeypatch):
    rows = []
    monkeypatch.setattr(_search._Task, "_compare_with_all", lambda _, r: rows.append(r))
    queries, items = np.ones((2, 8), np.float32), np.ones((300, 8), np.float32)
    queries[1] = 0
    ExactSearch(items, None, CPU).search(queries, 10)
    assert [row.tolist() for row in rows] == [[0, 1]]


def test_the_cpu_helps_out_where_a_device_has_too_little_memory(monkeypatch):
    def fail(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(_search, "DeviceProducts", fail)
    queries, items, biases, _, _ = make_problem("twins", 1)
    queries = np.tile(queries, (_search.FEW_QUERIES, 1))
    expected = ExactSearch(items, biases, CPU).search(queries, 5)
    found = ExactSearch(items, biases, torch.device("cuda")).search(queries, 5)
    np.testing.assert_array_equal(found.positions, expected.positions)


def test_few_queries_stay_on_the_cpu(monkeypatch):
    monkeypatch.setattr(_search, "DeviceProducts", None)
    queries, items, biases, _, _ = make_problem("normal", 2)
    lists = ExactSearch(items, biases, torch.device("cuda")).search(queries, 3)
    assert np.isfinite(lists.scores).all()


@pytest.mark.parametrize("tf32", [False, True])
def test_a_block_stays_on_its_device_and_waits_for_nothing(tf32, monkeypatch):
    """Tensors without values: what asks for one raises an error."""
    monkeypatch.setattr(_products, "uses_tf32", lambda: tf32)
    monkeypatch.setattr(
        _products, "send", lambda array, device: torch.empty(array.shape).to(device)
    )
    items, biases = np.ones((300, 8), np.float32), np.zeros(300, np.float32)
    with valueless_gpus():
        device = torch.device("cuda")
        products = DeviceProducts(items, biases, bound_lengths(items), 13, device)
        places = torch.empty(5, dtype=torch.int64, device=device)
        found = products.find(torch.empty(7, 8, device=device), places)
    columns, least, hides, dots = found
    assert {tensor.device.type for tensor in found} == {"cuda"}
    assert columns.shape == hides.shape == dots.shape == (7, 13)
    assert least.shape == (7,)
    assert dots.dtype == torch.float32


def as_tf32(tensor):
    """Round to 11 significant bits, towards 0, as the coarsest hardware might."""
    return (tensor.view(torch.int32) & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_split_numbers_survive_tf32(kind):
    queries, items, _, _, _ = make_problem(kind, 4)
    left = as_tf32(split(torch.from_numpy(queries), (0, 0, 1))).double()
    right = as_tf32(split(torch.from_numpy(items), (0, 1, 0))).double()
    exact = queries.astype(float) @ items.T.astype(float)
    sizes = np.linalg.norm(queries.astype(float), axis=1, keepdims=True)
    lengths = np.linalg.norm(items.astype(float), axis=1)
    errors = np.abs((left @ right.T).numpy() - exact)
    assert (errors <= _products.SPLIT_ERROR * sizes * lengths).all()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([2, 20, 10**6]),
    k=st.integers(1, 40),
)
def test_groups_hold_the_greatest(seed, levels, k):
    rng = np.random.default_rng(seed)
    width, n_groups = 300, int(rng.choice([60, 100, 150, 300, 1]))
    table = rng.integers(0, levels, (6, width)).astype(np.float32)
    table[rng.random(table.shape) < 0.3] = -np.inf
    values, columns = greatest(torch.from_numpy(table), k, n_groups)
    np.testing.assert_array_equal(values, -np.sort(-table, axis=1)[:, :k])
    np.testing.assert_array_equal(np.take_along_axis(table, columns.numpy(), 1), values)
    assert all(len(set(row)) == k for row in columns.tolist())
    found, least = _products.columns_of_greatest(table, k)
    chosen = np.take_along_axis(table, found, axis=1)
    np.testing.assert_array_equal(-np.sort(-chosen, axis=1), values)
    np.testing.assert_array_equal(least, values[:, -1])
    assert (np.diff(found, axis=1) > 0).all()


def test_what_is_not_a_number_leaves_other_rows_alone():
    """Sums beyond float32 may be such; those rows are compared in float64 later."""
    table = np.tile(np.arange(6, dtype=np.float32), (3, 1))
    table[0, :3] = np.nan
    table[1, 2:] = 1
    columns, _ = _products.columns_of_greatest(table, 2)
    assert set(columns[1].tolist()) <= {1, 2, 3, 4, 5}
    assert columns[2].tolist() == [4, 5]


@pytest.mark.parametrize("dim", [0, 1, 2, 3, 64, 65])
def test_a_pair_has_one_score(dim):
    """By arrays, by tensors and by products that are only checked: the same bits."""
    rng = np.random.default_rng(dim)
    left, right = (rng.normal(size=(3000, dim)).astype("f4") for _ in range(2))
    scores = score_pairs(left, right)
    exact = (left.astype(float) * right).sum(axis=1)
    np.testing.assert_allclose(scores, exact, rtol=1e-6, atol=1e-9)
    terms = torch.from_numpy(left).double() * torch.from_numpy(right)
    tensor = _exact.sum_in_halves(terms.T.contiguous()).float()
    np.testing.assert_array_equal(tensor, scores)
    for row in range(0, 3000, 700):
        assert score_pairs(left[[row]], right[[row]])[0] == scores[row]
    table = _exact_products.all_scores(right, CPU)(left[:5])
    np.testing.assert_array_equal(table[np.arange(5), np.arange(5)], scores[:5])
    columns = np.arange(5)[:, None]
    dots = _exact_products.exact_dots(left[:5], right, columns, bound_lengths(right))
    np.testing.assert_array_equal(dots[:, 0], scores[:5])


def test_what_two_orders_would_round_otherwise_is_summed_in_one():
    """1 and half a unit in the last place: what is added last decides."""
    item = np.float32([1, 2**-24, 2**-60, -(2**-60), 2**-80, 0, 0, 0])
    rng = np.random.default_rng(0)
    items = np.stack([rng.permutation(item) for _ in range(200)])
    queries = np.ones((4, 8), np.float32)
    expected = score_pairs(np.ones_like(items), items)
    np.testing.assert_array_equal(
        _exact_products.all_scores(items, CPU)(queries), [expected] * 4
    )
