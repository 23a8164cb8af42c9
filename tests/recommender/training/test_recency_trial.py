"""How fast likes are forgotten, chosen by likes that a trial holds out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.interactions import History
from skmmrec.recommender import Choice, Regularization, Training
from skmmrec.recommender.training import (
    HALF_LIVES,
    Examples,
    _choosing,
    near_best,
)
from skmmrec.recommender.training._held_likes import each_next

N_USERS, N_ITEMS, N_GROUPS = 150, 120, 8


def of_groups(groups, rng):
    """Rows of one user, who likes an item of each group in turn."""
    left = [
        [*rng.permutation(np.arange(g, N_ITEMS, N_GROUPS))] for g in range(N_GROUPS)
    ]
    return [left[group].pop() for group in groups if left[group]]


def drifting(rng):
    """One group first, and then another."""
    return np.repeat(rng.choice(N_GROUPS, 2, replace=False), 9)


def walking(rng):
    """Each time a group beside the one before, or the same."""
    return (rng.integers(N_GROUPS) + rng.integers(-1, 2, 18).cumsum()) % N_GROUPS


def steady(rng):
    """Each time one of two groups, whatever came before."""
    return rng.choice(rng.choice(N_GROUPS, 2, replace=False), 18)


def interactions(taste, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        (user, item, step)
        for user in range(N_USERS)
        for step, item in enumerate(of_groups(taste(rng), rng))
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def fit(X, **params):
    groups = np.eye(N_GROUPS, dtype=np.float32)[np.arange(N_ITEMS) % N_GROUPS]
    items = pd.DataFrame(groups).add_prefix("text__").rename_axis("item_id")
    rec = MultimodalFusionRecommender(
        ItemCatalog(items.reset_index()),
        n_factors=8,
        random_state=0,
        training=Training(max_epochs=3),
        **params,
    )
    return rec.fit(X)


def chosen(X, **params):
    choice = fit(X, **params).choices_["half_life"]
    assert "held out of a trial" in choice.reason or choice.value is None
    return choice.value


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("taste", [drifting, walking])
def test_taste_that_moves_is_noticed(taste, seed):
    assert chosen(interactions(taste, seed)) <= 5


@pytest.mark.parametrize(
    "params",
    [
        {"user_tower": "attention"},
        {"memory": None},
        {"memory": 0.1},
        {"n_members": 2},
        {"fusion": "late"},
    ],
    ids=str,
)
def test_it_is_noticed_by_every_kind_of_model(params):
    assert chosen(interactions(walking), **params) <= 5


def test_steady_taste_is_hardly_forgotten():
    """Of thirty fits one may forget a little: a tie that rounding decides."""
    halves = [chosen(interactions(steady, seed)) for seed in range(6)]
    assert halves.count(None) >= 4
    assert all(half is None or half >= 10 for half in halves)


def test_sooner_is_no_harm_where_the_order_of_rows_is_given_by_times():
    """The order of the rows themselves says nothing."""
    X = interactions(walking)
    shuffled = X.sample(frac=1, random_state=0)
    first, second = (fit(rows).choices_["half_life"] for rows in (X, shuffled))
    assert first.value == second.value


def test_a_trial_for_the_half_life_alone_changes_no_weights():
    X = interactions(walking)
    models = [
        fit(X, memory=None, regularization=Regularization(id_l2=1.0), half_life=half)
        for half in ("auto", None)
    ]
    assert models[0].half_life_ is not None
    pd.testing.assert_frame_equal(*(model.item_vectors_ for model in models))


def test_where_no_trial_can_tell_the_latest_likes_are_asked(monkeypatch):
    says_nothing = Choice(None, "it is not clear")
    monkeypatch.setattr(_choosing, "choose_half_life", lambda *_: says_nothing)
    choice = fit(interactions(walking)).choices_["half_life"]
    assert {"latest", "next"} <= set(choice.figures)


@pytest.mark.parametrize("n_times", [1, 2])
def test_a_sorted_table_says_nothing_where_times_are_equal(n_times):
    """A memory of what comes next would know that large ids follow small ones."""
    X = interactions(steady)
    X["timestamp"] = X["user_id"] + X["timestamp"] % n_times
    rec = fit(X.sort_values(["user_id", "timestamp", "item_id"]), memory=0.2)
    assert rec.half_life_ is None
    rises = rec.memory_.neighbors > np.arange(N_ITEMS)[:, None]
    weights = np.abs(rec.memory_.weights)
    assert (weights * rises).sum() / weights.sum() == pytest.approx(0.5, abs=0.05)


def in_a_ring(seed=0):
    """Users who meet items in one order, which content says nothing about."""
    rng = np.random.default_rng(seed)
    ring, starts = rng.permutation(N_ITEMS), rng.integers(N_ITEMS, size=N_USERS)
    items = ring[(starts[:, None] + np.arange(18)) % N_ITEMS]
    users = np.repeat(np.arange(N_USERS), 18)
    times = np.tile(np.arange(18), N_USERS)
    return pd.DataFrame(
        {"user_id": users, "item_id": items.ravel(), "timestamp": times}
    )


def test_where_there_are_times_the_memory_is_of_what_comes_next():
    X = in_a_ring()
    timed, blind = fit(X), fit(X.drop(columns="timestamp"))
    assert "comes next" in timed.choices_["memory"].reason
    assert "memory of items" in blind.choices_["memory"].reason
    for rec, is_one_way in ((timed, True), (blind, False), *given_memories(X)):
        matrix = rec.memory_.matrix.toarray()
        difference = np.abs(matrix - matrix.T).mean() / np.abs(matrix).mean()
        assert (difference > 0.5) == is_one_way


def given_memories(X):
    """Without forgetting, the order of likes says nothing."""
    yield fit(X, memory=0.2), True
    yield fit(X, memory=0.2, half_life=3), True
    yield fit(X, memory=0.2, half_life=None), False


# -- the question --------------------------------------------------------------------


def random_likes(seed, n_users=12, n_items=30):
    """A history, and hidden examples with their places in it."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, n_users)
    items = [rng.permutation(n_items)[:n] for n in lengths]
    history = History(
        np.concatenate([[0], lengths.cumsum()]), np.concatenate(items), n_items
    )
    users = np.sort(rng.integers(0, n_users, 40))
    before = rng.integers(0, lengths[users] + 1)
    free = [np.setdiff1d(np.arange(n_items), items[user]) for user in users]
    wanted = np.array([rng.choice(each) for each in free])
    n = len(users)
    examples = Examples(
        users,
        wanted,
        np.ones((n, 1), np.float32),
        rng.random((n, 1)) < 0.8,
        np.ones(n, np.float32),
        before,
        np.zeros(n, bool),
    )
    return examples, history


@pytest.mark.parametrize("seed", range(5))
def test_each_like_is_asked_for_by_what_came_before_it(seed):
    examples, history = random_likes(seed)
    held = each_next(examples, history, 1000)
    asked = examples.take(examples.counted[:, 0] & (examples.before > 0))
    assert held.users.tolist() == asked.users.tolist()
    for n, (user, item, before) in enumerate(
        zip(asked.users, asked.items, asked.before, strict=True)
    ):
        assert held.known.of(n).tolist() == history.of(user)[:before].tolist()
        assert held.hidden.of(n).tolist() == [item]


def test_so_many_are_asked_for_as_are_wanted():
    examples, history = random_likes(0)
    held = each_next(examples, history, 7)
    assert len(held.users) == 7
    assert held.users.tolist() == sorted(held.users)


def test_no_user_is_asked_for_more_than_a_twentieth():
    n = 300
    history = History(np.array([0, n, 2 * n]), np.tile(np.arange(n), 2), n)
    users = np.repeat([0, 1], [n, 5])
    columns = np.ones((n + 5, 1), np.float32), np.ones((n + 5, 1), bool)
    before = np.arange(n + 5) % n + 1
    likes = Examples(
        users,
        before,
        *columns,
        np.ones(n + 5, np.float32),
        before,
        np.zeros(n + 5, bool),
    )
    held = each_next(likes, history, 200)
    assert np.bincount(held.users).tolist() == [10, 5]


# -- the answer ----------------------------------------------------------------------


def gains_of(means, n_users=400, seed=0):
    """NDCG by half-life and user, with differences that are noisy."""
    rng = np.random.default_rng(seed)
    return np.asarray(means)[:, None] + 0.1 * rng.normal(size=(len(means), n_users))


def test_the_longest_of_those_that_are_as_good_is_taken():
    means = np.full(len(HALF_LIVES), 0.1)
    means[[2, 3]] = 0.5
    near = near_best(gains_of(means), np.arange(400))
    assert set(np.flatnonzero(near)) <= {2, 3}
    assert near.any()


def test_users_who_are_asked_more_often_make_nothing_surer():
    """Each list of a user ten times over says no more than once."""
    gains = gains_of(np.linspace(0.2, 0.22, len(HALF_LIVES)), seed=1)
    once = near_best(gains, np.arange(400))
    tenfold = near_best(gains.repeat(10, axis=1), np.arange(400).repeat(10))
    assert once.tolist() == tenfold.tolist()
    assert 1 < once.sum() < len(HALF_LIVES)


def test_two_standard_errors_are_asked_for_to_forget():
    steps = np.tile([1.0, -1.0], 200)  # a standard error of 0.05
    gains = np.stack([0.3 + 1.5 * 0.05 + steps, *np.full((8, 400), 0.3)])
    near = near_best(gains, np.arange(400))
    assert near.tolist() == [True, *[False] * 7, True]
