"""Every ranking metric against independent code, on a thousand odd cases."""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from skmmrec.metrics import evaluate_ranking

NAMES = ["auc", "f1", "graded_ndcg", "hit_rate", "map", "mrr", "ndcg", "precision"]
NAMES += ["recall"]
N_CASES = 1000


def dcg(gains):
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def by_definition(ranked, gains, k):
    """Metrics of one list of distinct items, from the textbook, with sets and loops."""
    top = ranked[:k]
    hit = [item in gains for item in top]
    precision, recall = sum(hit) / k, sum(hit) / len(gains)
    precisions = [sum(hit[:n]) / n for n in range(1, len(top) + 1) if hit[n - 1]]
    misses = hit.count(False)
    above = sum(hit[i] and not hit[j] for j in range(len(top)) for i in range(j))
    return {
        "auc": above / (len(gains) * misses) if misses else recall,
        "f1": 2 * precision * recall / (precision + recall) if any(hit) else 0.0,
        "graded_ndcg": dcg(gains.get(item, 0) for item in top)
        / dcg(sorted(gains.values(), reverse=True)[:k]),
        "hit_rate": float(any(hit)),
        "map": sum(precisions) / len(gains),
        "mrr": 1 / (hit.index(True) + 1) if any(hit) else 0.0,
        "ndcg": dcg(hit) / dcg([1] * min(k, len(gains))),
        "precision": precision,
        "recall": recall,
    }


@pytest.fixture(scope="module")
def cases():
    """Lists with repeated items and tied scores, empty ones, and repeated likes."""
    rng = np.random.default_rng(0)
    ranked, liked = [], []
    for user in range(N_CASES):
        n_shown = 0 if user % 17 == 0 else rng.integers(1, 16)
        scores = rng.integers(0, 5, n_shown)
        ranked.append(
            pd.DataFrame(
                {"user_id": user, "item_id": rng.integers(20, size=n_shown)}
            ).assign(score=scores, place=range(n_shown))
        )
        n_liked = rng.integers(1, 12)
        items = rng.integers(20, size=n_liked)
        liked.append(pd.DataFrame({"user_id": user, "item_id": items}))
    shown = pd.concat(ranked).sort_values(["user_id", "score"], ascending=False)
    shown["rank"] = shown.groupby("user_id").cumcount() + 1
    relevant = pd.concat(liked, ignore_index=True)
    return shown, relevant.assign(gain=rng.integers(1, 6, len(relevant)) / 2)


def without_repetitions(shown, user):
    """Items in order; a repeated one takes up its rank, but counts no more."""
    items, seen = [], set()
    for item in shown[shown.user_id == user].sort_values("rank").item_id:
        items.append(("again", len(items)) if item in seen else item)
        seen.add(item)
    return items


@pytest.mark.parametrize("k", [1, 4, 10, 40])
def test_equal_to_the_definitions(cases, k):
    shown, relevant = cases
    evaluation = evaluate_ranking(
        shown.sample(frac=1, random_state=0), relevant, [f"{n}@{k}" for n in NAMES]
    )
    assert len(evaluation.per_user) == N_CASES
    likes = relevant.groupby(["user_id", "item_id"]).gain.max()
    expected = [
        by_definition(without_repetitions(shown, user), likes.loc[user].to_dict(), k)
        for user in range(N_CASES)
    ]
    table = pd.DataFrame(expected)[NAMES]
    np.testing.assert_allclose(evaluation.per_user, table, rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 5, 30])
def test_graded_ndcg_equals_scikit_learn(k):
    rng = np.random.default_rng(k)
    gains = rng.integers(0, 5, (300, 30)) * (rng.random((300, 30)) < 0.3)
    gains[:, 0] = 1
    scores = rng.permuted(np.tile(np.arange(30.0), (300, 1)), axis=1)
    users, items = np.nonzero(gains)
    relevant = pd.DataFrame(
        {"user_id": users, "item_id": items, "gain": gains[users, items]}
    )
    shown = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(300), 30),
            "item_id": np.argsort(-scores, axis=1).ravel(),
        }
    )
    ours = evaluate_ranking(shown, relevant, [f"graded_ndcg@{k}"]).per_user.iloc[:, 0]
    theirs = [
        ndcg_score(gains[[row]], scores[[row]], k=k, ignore_ties=True)
        for row in range(300)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
