"""Ranking metrics against plain loops, known cases and scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from skmmrec.metrics import (
    auc_at_k,
    average_precision_at_k,
    f1_at_k,
    graded_ndcg_at_k,
    hit_rate_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
    relevance_from_scores,
)

METRICS = [
    auc_at_k,
    average_precision_at_k,
    f1_at_k,
    hit_rate_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
]

# Values of ranx 0.3 and, for map, ndcg, recall and precision, of trec_eval, at k = 3.
RELEVANCE = [[1, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 0]]
N_RELEVANT = [3, 1, 2, 5]
KNOWN = {
    precision_at_k: [2 / 3, 1 / 3, 0, 1],
    recall_at_k: [2 / 3, 1, 0, 3 / 5],
    f1_at_k: [2 / 3, 1 / 2, 0, 3 / 4],
    hit_rate_at_k: [1, 1, 0, 1],
    ndcg_at_k: [0.70391809, 0.63092975, 0, 1],
    average_precision_at_k: [0.55555556, 0.5, 0, 0.6],
    reciprocal_rank_at_k: [1, 0.5, 0, 1],
    auc_at_k: [1 / 3, 1 / 2, 0, 3 / 5],
}


@pytest.mark.parametrize("metric", METRICS)
def test_known_values(metric):
    values = metric(RELEVANCE, N_RELEVANT, k=3)
    np.testing.assert_allclose(values, KNOWN[metric], atol=1e-8)


def by_loop(relevant_at, n_relevant, k):
    """Every metric of one list, written out."""
    ranks = [rank for rank, hit in enumerate(relevant_at[:k], start=1) if hit]
    shown = min(k, len(relevant_at))
    irrelevant = [r for r in range(1, shown + 1) if r not in ranks]
    pairs = sum(1 for hit in ranks for other in irrelevant if hit < other)
    ideal = sum(1 / math.log2(r + 1) for r in range(1, min(k, n_relevant) + 1))
    precision, recall = len(ranks) / k, len(ranks) / n_relevant
    return {
        precision_at_k: precision,
        recall_at_k: recall,
        f1_at_k: 2 * precision * recall / (precision + recall) if ranks else 0,
        hit_rate_at_k: float(bool(ranks)),
        ndcg_at_k: sum(1 / math.log2(r + 1) for r in ranks) / ideal,
        average_precision_at_k: sum((n + 1) / r for n, r in enumerate(ranks))
        / n_relevant,
        reciprocal_rank_at_k: 1 / ranks[0] if ranks else 0,
        auc_at_k: pairs / (n_relevant * len(irrelevant)) if irrelevant else recall,
    }


@pytest.mark.parametrize("k", [1, 3, 10, 50])
def test_equal_plain_loops_on_random_lists(k):
    rng = np.random.default_rng(k)
    relevance = rng.random((300, 20)) < rng.random((300, 1)) ** 2
    n_relevant = relevance.sum(axis=1) + rng.integers(0, 4, 300)
    expected = [
        by_loop(row, n, k) if n else dict.fromkeys(METRICS, np.nan)
        for row, n in zip(relevance, n_relevant, strict=True)
    ]
    for metric in METRICS:
        values = metric(relevance, n_relevant, k)
        np.testing.assert_allclose(values, [e[metric] for e in expected], atol=1e-12)


def test_full_rankings_equal_scikit_learn():
    rng = np.random.default_rng(0)
    scores = rng.permuted(np.tile(np.arange(40.0), (50, 1)), axis=1)
    relevant = rng.random((50, 40)) < 0.2
    relevant[:, 0] = True
    relevance, n_relevant = relevance_from_scores(scores, relevant, k=40)
    for k in (5, 40):
        ours = ndcg_at_k(relevance, n_relevant, k).mean()
        assert ours == pytest.approx(ndcg_score(relevant, scores, k=k), abs=1e-12)
    np.testing.assert_allclose(
        auc_at_k(relevance, n_relevant, 40),
        [roc_auc_score(r, s) for r, s in zip(relevant, scores, strict=True)],
        atol=1e-9,
    )


def test_auc_of_lists_of_different_length():
    values = auc_at_k([[1, 0, 0], [1, 0, 0]], [2, 2], 3, n_ranked=[3, 1])
    np.testing.assert_allclose(values, [0.5, 0.5], atol=1e-9)


def test_ties_rank_in_the_order_of_the_items():
    relevance, _ = relevance_from_scores([[1.0, 1.0, 2.0]], [[0, 1, 0]], k=3)
    assert relevance.tolist() == [[False, False, True]]


def test_seen_items_leave_the_list_and_the_truth():
    relevance, n_relevant = relevance_from_scores(
        [[3.0, 2.0, 1.0]], [[1, 1, 0]], k=3, seen=[[1, 0, 0]]
    )
    assert relevance.tolist() == [[True, False, False]]
    assert n_relevant.tolist() == [1]


@pytest.mark.parametrize("metric", METRICS)
def test_empty_lists_score_zero_and_no_users_give_nothing(metric):
    assert metric(np.zeros((2, 0)), [1, 0], k=5).tolist()[0] == 0
    assert np.isnan(metric(np.zeros((2, 0)), [1, 0], k=5)[1])
    assert metric(np.zeros((0, 4)), [], k=5).shape == (0,)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([[1]], [1], 0), ValueError, "k must be at least 1, got 0"),
        (([[1]], [1], -3), ValueError, "k must be at least 1, got -3"),
        (([[1]], [1], 2.5), TypeError, "k must be an integer"),
        (([1], [1], 1), ValueError, "relevance must have 2 dimensions"),
        (([[1]], [1, 1], 1), ValueError, "one entry per row"),
        (([[1], [0.5]], [1, 1], 1), ValueError, r"0 or 1, got .*0.5.* in row 1"),
        (([[np.nan]], [1], 1), ValueError, "must be 0 or 1, got"),
        (([[0], [1]], [1, 0], 1), ValueError, "row 1 of relevance has 1 hits"),
        (([[0]], [-1], 1), ValueError, "n_relevant must be counts"),
    ],
)
def test_bad_input_is_named(metric, arguments, error, message):
    with pytest.raises(error, match=message):
        metric(*arguments)


def test_bad_scores_are_named():
    with pytest.raises(ValueError, match="NaN in row 1"):
        relevance_from_scores([[1.0], [np.nan]], [[1], [1]])
    with pytest.raises(ValueError, match="relevant has shape"):
        relevance_from_scores([[1.0, 2.0]], [[1]])
    with pytest.raises(ValueError, match="seen has shape"):
        relevance_from_scores([[1.0, 2.0]], [[1, 0]], seen=[[0]])
    with pytest.raises(ValueError, match="scores must have 2 dimensions, got 1"):
        relevance_from_scores([1.0, 2.0], [1, 0])
    with pytest.raises(ValueError, match=r"n_ranked must be counts, got .*nan"):
        auc_at_k([[0, 1]], [1], 2, n_ranked=[np.nan])
    with pytest.raises(ValueError, match="n_ranked must have one entry per row"):
        auc_at_k([[0, 1]], [1], 2, n_ranked=[1, 2])


@pytest.mark.parametrize("odd", [np.nan, 5, -1, 0.5, "0", None])
@pytest.mark.parametrize("name", ["relevant", "seen"])
def test_marks_that_are_neither_0_nor_1_are_named(odd, name):
    marks = np.array([[1, 0], [0, odd]], dtype=object if odd is None else None)
    tables = {"relevant": [[1, 0], [0, 1]], name: marks}
    with pytest.raises(ValueError, match=f"{name} must be 0 or 1, got .* in row "):
        relevance_from_scores([[1.0, 2.0], [3.0, 4.0]], **tables)


def test_graded_lists_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (60, 12))
    truth[3] = 0
    scores = rng.permuted(np.tile(np.arange(12.0), (60, 1)), axis=1)
    gains = np.take_along_axis(truth, np.argsort(-scores, axis=1), axis=1)
    for k in (1, 5, 30):
        ours = graded_ndcg_at_k(gains, truth, k)
        theirs = [
            ndcg_score(truth[[row]], scores[[row]], k=k) if row != 3 else np.nan
            for row in range(60)
        ]
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    assert graded_ndcg_at_k(np.zeros((1, 0)), [[2, 1]], 3).tolist() == [0]


@pytest.mark.parametrize(
    ("gains", "wanted", "k", "message"),
    [
        ([[1]], [[1]], 0, "k must be at least 1"),
        ([1], [[1]], 1, "gains must have 2 dimensions"),
        ([[1]], [1], 1, "relevant_gains must have 2 dimensions"),
        ([[-1]], [[1]], 1, "gains must be finite and not below 0, got -1.0 in row 0"),
        ([[1]], [[np.nan]], 1, "relevant_gains must be finite"),
        ([[1]], [[1], [1]], 1, "gains has 1 rows, relevant_gains has 2"),
        ([[0], [3]], [[1], [2]], 1, "row 1 of gains is worth more than any list"),
    ],
)
def test_bad_gains_are_named(gains, wanted, k, message):
    with pytest.raises(ValueError, match=message):
        graded_ndcg_at_k(gains, wanted, k)
