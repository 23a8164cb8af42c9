"""Users to whom what they liked lately says more."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.interactions import History
from skmmrec.recommender import (
    ContentRecommender,
    MatrixFactorizationRecommender,
    Training,
)
from skmmrec.recommender.cold_start import _half_life
from skmmrec.recommender.cold_start._half_life import (
    hide_latest,
    hide_next,
    learn_half_life,
)

N_USERS, N_ITEMS, N_GROUPS = 60, 80, 8


@pytest.fixture(scope="module", params=["mean", "attention"])
def forgetful(request, make, catalog, X):
    return make(catalog, half_life=2.0, user_tower=request.param).fit(X)


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0])
def test_a_user_is_a_weighted_sum(make, catalog, X, exponent):
    model = make(catalog, half_life=3.0, user_tower__history_exponent=exponent).fit(X)
    rows = X[X.user_id == 103].sort_values("timestamp", kind="stable")
    items = rows.drop_duplicates("item_id").item_id
    weights = 0.5 ** (np.arange(len(items))[::-1] / 3)
    expected = weights @ model.item_vectors_.loc[items].to_numpy()
    expected /= weights.sum() ** exponent
    np.testing.assert_allclose(
        model.user_vectors_.loc[103], expected, rtol=1e-5, atol=1e-6
    )


def test_a_long_half_life_is_none(make, catalog, X):
    long, none = (make(catalog, half_life=h).fit(X) for h in (1e9, None))
    np.testing.assert_allclose(
        long.user_vectors_, none.user_vectors_, rtol=1e-5, atol=1e-6
    )
    assert long.half_life_ == 1e9
    assert none.half_life_ is None


def test_training_does_not_depend_on_it(make, catalog, X):
    short, none = (make(catalog, half_life=h).fit(X) for h in (1.0, None))
    pd.testing.assert_frame_equal(short.item_vectors_, none.item_vectors_)
    assert not np.allclose(short.user_vectors_, none.user_vectors_, atol=1e-5)


def test_feedback_is_the_latest(forgetful, X):
    """A new user is made of somebody's history like that somebody."""
    from copy import deepcopy

    model = deepcopy(forgetful)
    rows = X[X.user_id == 103].sort_values("timestamp", kind="stable")
    for _, row in rows.groupby("timestamp", sort=True):
        model.partial_fit(row.assign(user_id=7))
    same = model.user_vectors_.loc[[7, 103]].to_numpy()
    np.testing.assert_array_equal(same[0], same[1])


def test_to_like_again_changes_no_order(forgetful, X):
    from copy import deepcopy

    model = deepcopy(forgetful)
    rows = X[X.user_id == 103].sort_values("timestamp", kind="stable")
    model.partial_fit(rows.head(1).assign(timestamp=X.timestamp.max() + 1))
    pd.testing.assert_frame_equal(model.user_vectors_, forgetful.user_vectors_)


def test_it_is_saved(forgetful, tmp_path):
    forgetful.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    assert loaded.half_life_ == 2.0
    pd.testing.assert_frame_equal(loaded.user_vectors_, forgetful.user_vectors_)


def test_a_store_is_told(forgetful):
    assert forgetful.serving_vectors().history_half_life == 2.0


@pytest.mark.parametrize(
    "recommender",
    [
        MultimodalFusionRecommender(user_tower="sequence"),
        MultimodalFusionRecommender(user_tower="sequence", half_life=None),
        MatrixFactorizationRecommender(),
    ],
    ids=["sequence", "sequence without", "factors"],
)
def test_who_has_no_weighted_sum_has_no_half_life(recommender, flat):
    model = clone(recommender).set_params(training__max_epochs=1).fit(flat)
    assert model.half_life_ is None
    assert model.serving_vectors().history_half_life is None


def test_one_that_could_have_no_effect_is_refused(make, catalog, X):
    with pytest.raises(ValueError, match=r"half_life has no effect .* SequenceTower"):
        make(catalog, half_life=2.0, user_tower="sequence").fit(X)
    with pytest.raises(TypeError, match="half_life"):
        MatrixFactorizationRecommender(half_life=2.0)


def test_content_alone_forgets_too(catalog, X):
    latest, all_alike = (
        ContentRecommender(catalog, half_life=h).fit(X) for h in (0.01, None)
    )
    rows = X[X.user_id == 103].sort_values("timestamp", kind="stable")
    last = latest.item_vectors_.loc[rows.item_id.iloc[-1]]
    np.testing.assert_allclose(
        latest.user_vectors_.loc[103], last, rtol=1e-6, atol=1e-6
    )
    assert not np.allclose(latest.user_vectors_, all_alike.user_vectors_, atol=1e-5)


@pytest.mark.parametrize("half_life", [0, -1.0, "never"])
def test_a_wrong_half_life(make, catalog, X, half_life):
    for recommender in (make(catalog), ContentRecommender(catalog)):
        with pytest.raises(ValueError, match="The 'half_life' parameter"):
            recommender.set_params(half_life=half_life).fit(X)


# -- learned -------------------------------------------------------------------------


def drifting(seed=0):
    """Interactions of users who like one of eight groups first, and then another."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(N_USERS):
        before, after = rng.choice(N_GROUPS, 2, replace=False)
        liked = [*_some_of(before, rng), *_some_of(after, rng)]
        rows += [(user, item, step) for step, item in enumerate(liked)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def _some_of(group, rng):
    members = np.flatnonzero(np.arange(N_ITEMS) % N_GROUPS == group)
    return rng.permutation(members)[:8]


def steady(seed=0):
    """Interactions of users who like even or odd items, in any order."""
    rng = np.random.default_rng(seed)
    rows = [
        (user, item, step)
        for user in range(N_USERS)
        for step, item in enumerate(2 * rng.permutation(N_ITEMS // 2)[:12] + user % 2)
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def fit(X, **params):
    items = np.arange(N_ITEMS)
    groups = np.eye(N_GROUPS, dtype=np.float32)[items % N_GROUPS]
    content = pd.DataFrame(groups).add_prefix("text__")
    X = X.reset_index(drop=True)
    flat = pd.concat([X, content.loc[X.item_id].reset_index(drop=True)], axis=1)
    rec = MultimodalFusionRecommender(
        n_factors=8, random_state=0, training=Training(max_epochs=10), **params
    )
    return rec.fit(flat)


@pytest.mark.parametrize("seed", range(3))
def test_drifting_taste_is_noticed(seed):
    model = fit(drifting(seed))
    assert model.half_life_ is not None
    assert model.half_life_ <= 10


def test_steady_taste_is_noticed():
    assert [fit(steady(seed)).half_life_ for seed in range(8)] == [None] * 8


def test_without_times_nothing_is_latest():
    X = drifting()
    assert fit(X.drop(columns="timestamp")).half_life_ is None
    assert fit(X.assign(timestamp=0)).half_life_ is None
    assert fit(X, half_life=4).half_life_ == 4


def test_few_users_teach_nothing():
    X = drifting()
    assert fit(X[X.user_id < 19]).half_life_ is None


def test_the_latest_likes_are_hidden():
    lengths = np.array([10, 4, 5])
    offsets = np.concatenate([[0], lengths.cumsum()])
    items = np.concatenate([np.arange(n) for n in lengths])
    values = np.ones(19, np.float32)
    values[8] = -1
    held = hide_latest(History(offsets, items, 12, values))
    assert held.users.tolist() == [0, 2]
    assert held.hidden.of(0).tolist() == [9]
    assert held.known.of(0).tolist() == list(range(8))
    assert held.hidden.of(1).tolist() == [4]
    assert held.known.of(1).tolist() == [0, 1, 2, 3]


def test_each_of_the_latest_likes_comes_next():
    lengths = np.array([10, 4, 5])
    offsets = np.concatenate([[0], lengths.cumsum()])
    items = np.concatenate([np.arange(n) for n in lengths])
    values = np.ones(19, np.float32)
    history = History(offsets, items, 12, values)
    held = hide_next(history, np.array([0, 2]))
    assert held.users.tolist() == [0, 0, 2]
    assert held.hidden.items.tolist() == [8, 9, 4]
    assert [held.known.of(n).tolist() for n in range(3)] == [
        list(range(8)),
        list(range(9)),
        list(range(4)),
    ]
    values[9] = -1  # what is not liked is not asked for, but known
    held = hide_next(replace(history, values=values), np.array([0]))
    assert held.hidden.items.tolist() == [8]


def test_so_many_are_asked_as_there_is_time_for(monkeypatch):
    monkeypatch.setattr(_half_life, "most_lists", lambda n_items: 5)
    monkeypatch.setattr(_half_life, "MIN_USERS", 2)
    history = History(np.array([0, 20, 30]), np.tile(np.arange(30), 1), 30)
    held = hide_next(history, np.array([0, 1]))
    assert held.users.tolist() == [0, 0, 1, 1]
    assert held.hidden.items.tolist() == [18, 19, 28, 29]


def walking(seed=0):
    """Interactions of users who go from each group to it or to one beside it."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(N_USERS):
        left = [[*rng.permutation(np.arange(g, N_ITEMS, 8))] for g in range(N_GROUPS)]
        group = rng.integers(N_GROUPS)
        for step in range(24):
            group = (group + rng.integers(-1, 2)) % N_GROUPS
            if left[group]:
                rows.append((user, left[group].pop(), step))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


@pytest.mark.parametrize("seed", range(3))
def test_the_next_of_a_walk_is_noticed(seed):
    choice = fit(walking(seed)).choices_["half_life"]
    assert choice.value is not None
    assert choice.value <= 3
    assert choice.figures["next"] > choice.figures["next without"]


def choice_by(latest, next_one, monkeypatch):
    """Choice between one later item and None, by NDCG of 30 users with either."""
    gains = [np.repeat(part, 30).reshape(2, 30) for part in (latest, next_one)]
    monkeypatch.setattr(_half_life, "HALF_LIVES", (1.0, None))
    monkeypatch.setattr(_half_life, "_judge", lambda *_: gains.pop(0))
    history = History(np.arange(0, 301, 10), np.tile(np.arange(10), 30), 12)
    return learn_half_life(history, None, np.ones((12, 2)), np.zeros(12)).value


@pytest.mark.parametrize(
    ("latest", "next_one", "chosen"),
    [
        ([0.5, 0.5], [0.9, 0.1], 1.0),  # the latest fifth cannot tell
        ([0.4, 0.5], [0.9, 0.1], None),  # it can: forgetting harms it
        ([0.5, 0.4], [0.1, 0.9], 1.0),
        ([0.5, 0.5], [0.5, 0.5], None),
    ],
)
def test_the_latest_fifth_decides_as_far_as_it_can(
    latest, next_one, chosen, monkeypatch
):
    assert choice_by(latest, next_one, monkeypatch) == chosen


def test_the_longest_of_equals_is_chosen():
    offsets = np.arange(0, 301, 10)
    items = np.tile(np.arange(10), 30)
    history = History(offsets, items, 12)
    chosen = learn_half_life(
        history,
        lambda held, half: np.ones((len(held.users), 2)),
        np.ones((12, 2)),
        np.zeros(12),
    )
    assert chosen.value is None


def test_the_second_question_is_asked_of_those_that_the_first_leaves():
    """All users like the items in the order of a ring, from a place of their own."""
    n_users, n_items = 40, 30
    starts = np.arange(n_users) % n_items
    items = (starts[:, None] + np.arange(20)) % n_items
    history = History(np.arange(0, 20 * n_users + 1, 20), items.ravel(), n_items)
    asked = []

    def users_of(held, half):
        asked.append(half)
        latest = [held.known.of(n)[-1] for n in range(len(held.users))]
        vectors = np.zeros((len(latest), n_items), np.float32)
        # These two half-lives know what comes next, the others point elsewhere.
        ahead = 1 if half in (2.0, 3.0) else 15
        vectors[np.arange(len(latest)), (np.array(latest) + ahead) % n_items] = 1
        return vectors

    chosen = learn_half_life(
        history, users_of, np.eye(n_items, dtype=np.float32), np.zeros(n_items)
    )
    assert chosen.value == 3.0
    assert asked == [*_half_life.HALF_LIVES, 2.0, 3.0, None]
    assert chosen.figures["next"] > chosen.figures["next without"]
    assert all(np.isfinite(value) for value in chosen.figures.values())


def test_what_new_items_are_credited_with_says_nothing_about_time_or_memory(make):
    """They would fill the lists that are judged, and widen the scores."""
    rng = np.random.default_rng(0)
    content = rng.normal(size=(140, 6))
    items = pd.DataFrame(content).add_prefix("text__").rename_axis("item_id")
    scores = rng.normal(size=(60, 6)) @ content[:80].T
    liked = (-2 * scores - rng.gumbel(size=scores.shape)).argsort(axis=1)[:, :15]
    users, catalog = np.repeat(np.arange(60), 15), ItemCatalog(items.reset_index())
    X = pd.DataFrame({"user_id": users, "item_id": liked.ravel()})
    X["timestamp"] = np.arange(len(X))
    small, large = (
        make(catalog, cold_popularity=credit, memory=0.3).fit(X)
        for credit in (0.5, 1e5)
    )
    figures = [rec.choices_["half_life"].figures for rec in (small, large)]
    assert figures[0]["latest"] > 0
    assert figures[1] == pytest.approx(figures[0], rel=1e-5, abs=1e-7)
    weights = [rec.model_.memory.weights for rec in (small, large)]
    np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-6)
