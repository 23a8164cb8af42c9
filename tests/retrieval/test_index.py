"""Approximate search against exact search."""

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skmmrec.retrieval import ApproximateIndex

N_ITEMS, N_USERS, DIM = 300, 40, 6


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    ids = [f"i{n:03d}" for n in range(N_ITEMS)]
    lengths = np.exp(rng.normal(0, 0.3, (N_ITEMS, 1)))
    return pd.DataFrame(rng.normal(size=(N_ITEMS, DIM)) * lengths, index=ids)


@pytest.fixture(scope="module")
def queries():
    """Of a seed that leaves no two scores of a query closer than 1e-5."""
    return np.random.default_rng(245).normal(size=(N_USERS, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def seen():
    """From nothing to all but three of the items."""
    rng = np.random.default_rng(2)
    share = np.linspace(0, 1, N_USERS)[:, None]
    seen = rng.random((N_USERS, N_ITEMS)) < share
    seen[-1] = np.arange(N_ITEMS) >= 3
    return csr_array(seen)


@pytest.fixture(scope="module")
def index(vectors):
    """Looks at all items, so that nothing is missed."""
    pytest.importorskip("usearch")
    return ApproximateIndex(expansion_search=2 * N_ITEMS).fit(vectors)


def exact(vectors, queries, k, seen=None):
    scores = queries.astype(np.float64) @ vectors.to_numpy(np.float32).T
    scores = scores.astype(np.float32)
    if seen is not None:
        scores[seen.toarray()] = -np.inf
    positions = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, positions, axis=1)
    return np.where(np.isfinite(scores), positions, -1), scores


@pytest.mark.parametrize("k", [1, 10, 299, 300, 500])
def test_looking_at_all_items_finds_the_best(index, vectors, queries, k):
    positions, scores = index.search(queries, k)
    expected, values = exact(vectors, queries, k)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, values, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_seen_items_are_replaced_by_the_next_best(index, vectors, queries, seen, k):
    positions, scores = index.search(queries, k, seen=seen)
    expected, values = exact(vectors, queries, k, seen)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, values, rtol=1e-6, atol=1e-5)
    assert (positions[-1] >= 0).sum() == min(k, 3)


def test_recall_is_the_share_of_the_best_that_is_found(vectors, queries):
    pytest.importorskip("usearch")
    index = ApproximateIndex(connectivity=2, expansion_add=2, expansion_search=1)
    index.fit(vectors)
    found, best = index.search(queries, 10)[0], exact(vectors, queries, 10)[0]
    shared = [len(set(a) & set(b)) for a, b in zip(found, best, strict=True)]
    assert index.recall(queries, 10) == pytest.approx(np.mean(shared) / 10, abs=1e-9)
    assert index.recall(queries, 10) < 1


def test_defaults_find_nearly_all(vectors, queries):
    pytest.importorskip("usearch")
    assert ApproximateIndex().fit(vectors).recall(queries, 10) > 0.99


def test_scores_are_exact_where_the_graph_is_not(vectors, queries):
    pytest.importorskip("usearch")
    index = ApproximateIndex(dtype="f16").fit(vectors)
    positions, scores = index.search(queries, 5)
    products = np.einsum("nd,nkd->nk", queries, vectors.to_numpy()[positions])
    np.testing.assert_allclose(scores, products, rtol=1e-5, atol=1e-5)
    assert index.recall(queries, 10) > 0.9


def test_two_builds_and_a_pickle_give_the_same(vectors, queries):
    pytest.importorskip("usearch")
    one = ApproximateIndex(expansion_search=1).fit(vectors)
    again = clone(one).fit(vectors)
    loaded = pickle.loads(pickle.dumps(one))
    for other in (again, loaded):
        for a, b in zip(one.search(queries, 7), other.search(queries, 7), strict=True):
            np.testing.assert_array_equal(a, b)
    assert loaded.item_index_.equals(vectors.index)


def test_one_item_and_no_query(vectors, queries):
    pytest.importorskip("usearch")
    index = ApproximateIndex().fit(vectors.head(1))
    assert index.search(queries, 3)[0].tolist() == [[0]] * N_USERS
    assert index.search(queries[:0], 3)[0].shape == (0, 1)


def test_bad_vectors_are_refused(index, vectors, queries, seen):
    with pytest.raises(ValueError, match=r"items is empty"):
        ApproximateIndex().fit(vectors.head(0))
    odd = vectors.copy()
    odd.iloc[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"item 'i003' \(row 3\) is not finite"):
        ApproximateIndex().fit(odd)
    with pytest.raises(ValueError, match=r"shape \(n, 6\) like the items"):
        index.search(queries[:, 1:], 3)
    with pytest.raises(ValueError, match=r"seen must have shape \(40, 300\)"):
        index.search(queries, 3, seen=seen[:5])
    with pytest.raises(NotFittedError):
        ApproximateIndex().search(queries, 3)


def test_the_extra_is_named_where_usearch_is_missing(vectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(ImportError, match=r"pip install 'skmmrec\[index\]'"):
        ApproximateIndex().fit(vectors)
