"""The judge of a trial: what it ranks on an accelerator, it ranks on the host alike."""

import numpy as np
import pytest
import torch

from skmmrec.interactions import History
from skmmrec.metrics import find_hits, judge
from skmmrec.recommender.memory import MemoryOfLikes
from skmmrec.recommender.training import _likes_judge
from skmmrec.recommender.training._likes_judge import LikesJudge
from skmmrec.recommender.training._validation import HeldOut
from skmmrec.retrieval import top_k

N_USERS, N_ITEMS = 70, 50
WHERE = [
    pytest.param(torch.device("cpu"), id="cpu"),
    pytest.param(torch.device("cuda"), marks=pytest.mark.gpu, id="cuda"),
]


@pytest.fixture(scope="module")
def likes():
    """Two histories of the same users, without any like in both."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.2)
    is_held = rng.random(len(users)) < 0.3
    return [
        History.from_pairs(users[chosen], items[chosen], N_USERS, N_ITEMS)
        for chosen in (~is_held, is_held)
    ]


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(1)
    shapes = (N_USERS, 4), (N_ITEMS, 4), (N_ITEMS,)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def judged(vectors, likes, weights=(0.0, 0.3, 3.0)):
    judge = LikesJudge(*vectors, HeldOut(np.arange(N_USERS), *likes))
    memory = judge.in_units(MemoryOfLikes.learn(likes[0]).weighed(0.5))
    said = judge.said(memory)
    return memory, [judge.ndcg(), *(judge.ndcg(said, weight) for weight in weights)]


@pytest.mark.parametrize("where", WHERE)
def test_tensors_are_judged_as_arrays_are(where, vectors, likes, monkeypatch):
    tensors = [torch.from_numpy(each).to(where) for each in vectors]
    expected_memory, expected = judged(vectors, likes)
    memory, found = judged(tensors, likes)
    np.testing.assert_allclose(
        memory.weights, expected_memory.weights, rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    parts = [slice(0, 7), slice(7, 69), slice(69, N_USERS)]
    monkeypatch.setattr(_likes_judge, "chunks", lambda n_users, n_items: iter(parts))
    np.testing.assert_allclose(
        judged(tensors, likes)[1], expected, rtol=1e-6, atol=1e-9
    )


def test_a_weight_counts(vectors, likes):
    _, (without, at_zero, some, much) = judged(vectors, likes)
    np.testing.assert_array_equal(without, at_zero)
    assert (some != without).any()
    assert (much != some).any()


@pytest.mark.parametrize("where", WHERE)
def test_items_that_nobody_likes_take_no_place(where, vectors, likes):
    """However many users they are credited with, judgements are as without them."""
    users, items, biases = vectors
    more = [
        users,
        np.vstack([items, items[:8]]),
        np.append(biases, np.full(8, 9, np.float32)),
    ]
    wider = [
        History(each.offsets, each.items, N_ITEMS + 8, each.values) for each in likes
    ]
    tensors = [torch.from_numpy(each).to(where) for each in more]
    left_out = [*tensors[:2], tensors[2].clone()]
    left_out[2][N_ITEMS:] = -np.inf
    found = judged(left_out, wider, weights=())
    expected = judged(vectors, likes, weights=())
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6, atol=1e-9)
    assert (judged(tensors, wider, weights=())[1][0] != expected[1][0]).any()


@pytest.mark.parametrize("seed", range(4))
def test_the_place_of_one_hidden_like_is_counted_as_in_a_list(seed):
    """With ties, which go to the first items."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (40, 30)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    items = rng.integers(0, 30, 40)
    scores[np.arange(40), items] = rng.integers(0, 6, 40)
    best = top_k(scores, 10)
    expected = judge("ndcg", find_hits(best == items[:, None], np.ones(40, int), 10))
    for given in (scores, torch.from_numpy(scores)):
        found = _likes_judge._gain_of_one(given, items, 10)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
