"""Exact top-k against a stable sort, and the chunks it comes in."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

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
