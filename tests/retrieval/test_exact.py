"""Exact top-k against a stable sort, and the chunks it comes in."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from skmmrec.interactions import unit_vectors
from skmmrec.recommender.network import unit
from skmmrec.retrieval import _exact
from skmmrec.retrieval._exact import chunks, ranked_frame, top_k


def sorted_top_k(scores, k):
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 2, 7, 29, 30, 99])
@pytest.mark.parametrize("levels", [2, 5, 10_000])
def test_the_greatest_first_and_ties_by_position(k, levels, dtype):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, levels, (40, 30)).astype(dtype)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    scores[3], scores[4] = -np.inf, 0
    before = scores.copy()
    found = top_k(scores, k)
    assert found.dtype == np.intp
    np.testing.assert_array_equal(found, sorted_top_k(scores, k))
    np.testing.assert_array_equal(scores, before)


def test_positive_and_negative_zero_are_ties():
    scores = np.array([[-0.0, 0.0, -0.0, 0.0]], np.float32)
    assert top_k(scores, 2).tolist() == [[0, 1]]


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_nothing_to_rank(shape):
    assert top_k(np.empty(shape, np.float32), 2).shape == (shape[0], min(2, shape[1]))


def test_views_and_read_only_scores_are_ranked():
    scores = np.arange(12, dtype=np.float32).reshape(3, 4)
    scores.flags.writeable = False
    assert top_k(scores[::-1, ::2], 1).tolist() == [[1], [1], [1]]
    assert top_k(scores.T, 1).tolist() == [[2]] * 4


@pytest.mark.parametrize(
    ("n_rows", "n_columns"), [(1, 1), (5, 10**9), (1000, 100_000), (10**6, 10**3)]
)
def test_chunks_cover_the_rows_in_bounded_memory(n_rows, n_columns):
    parts = list(chunks(n_rows, n_columns))
    assert parts[0].start == 0
    assert parts[-1].stop == n_rows
    assert all(a.stop == b.start for a, b in pairwise(parts))
    for part in parts:
        rows = part.stop - part.start
        assert rows == 1 or rows * n_columns <= _exact.CHUNK_SCORES
        assert rows <= _exact.ROWS_IN_CACHE or rows * n_columns <= _exact.CACHE_SCORES


def test_no_rows_are_one_empty_chunk():
    assert list(chunks(0, 10)) == [slice(0, 0)]


def test_hidden_items_are_left_out_of_the_table():
    columns = np.array([[2, 0], [1, 2]])
    scores = np.array([[0.5, -np.inf], [2.0, 1.0]])
    table = ranked_frame("user_id", [7, 8], pd.Index(["a", "b", "c"]), columns, scores)
    expected = pd.DataFrame(
        {
            "user_id": [7, 8, 8],
            "item_id": ["c", "b", "c"],
            "rank": [1, 1, 2],
            "score": np.array([0.5, 2.0, 1.0], np.float32),
        }
    )
    pd.testing.assert_frame_equal(table, expected)


@pytest.mark.parametrize("size", [1e-44, 1e-38, 1e-25, 1e-16, 1.0, 1e18, 1e20, 3e38])
@pytest.mark.parametrize("scale", [unit_vectors, unit])
def test_directions_do_not_depend_on_lengths(scale, size):
    """Squares of float32 are 0 below 1e-23 and infinite above 1e19."""
    rng = np.random.default_rng(0)
    vectors = rng.integers(-8, 9, (20, 5)).astype(np.float32) / 8
    vectors[3], vectors[4] = 0, [0, 0, 1, 0, 0]
    size = np.float32(2.0 ** np.floor(np.log2(size) - 3 * (size > 1e37)))
    before = vectors * size
    kept = before.copy()
    given = torch.from_numpy(before.copy()) if scale is unit else before
    found = np.asarray(scale(given))
    lengths = np.linalg.norm(before.astype(np.float64), axis=1, keepdims=True)
    expected = before / np.where(lengths > 0, lengths, 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(before, kept)


def test_directions_of_usual_vectors_keep_their_bits():
    vectors = np.random.default_rng(0).normal(size=(50, 9)).astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_array_equal(unit_vectors(vectors), vectors / norms)
    odd = np.vstack([vectors, 1e25 * vectors[:1]])
    np.testing.assert_array_equal(unit_vectors(odd)[:50], vectors / norms)
