"""Serving people and items that were not there in training."""

import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skmmrec.feature_store import (
    OnlineRecommender,
    delete_ids,
    publish,
    read_vectors,
)
from skmmrec.feature_store._fold_in import HistorySum
from skmmrec.feature_store.backends.sqlite._backend import SqliteBackend

from .conftest import FakeRecommender, make_recommender


def history_model(
    exponent=0.7,
    n_users=8,
    n_items=25,
    dim=4,
    version="v1",
    seed=0,
    half_life=None,
):
    """Users that are the sum of their n items over n to the exponent."""
    rng = np.random.default_rng(seed)
    items = rng.normal(size=(n_items, dim)).astype(np.float32)
    seen = [rng.permutation(n_items)[: n % 5].tolist() for n in range(n_users)]
    users = np.zeros((n_users, dim), np.float32)
    users[:, -1] = 1
    for user, history in enumerate(seen):
        if history:
            age = np.arange(len(history))[::-1]
            weights = 0.5 ** (age / (half_life or np.inf))
            total = weights @ items[history, :-1]
            users[user, :-1] = total / weights.sum() ** exponent
    model = FakeRecommender(
        pd.DataFrame(users), pd.DataFrame(items), pd.Series(seen, dtype=object), version
    )
    model.vectors = replace(
        model.vectors, history_exponent=exponent, history_half_life=half_life
    )
    return model


def rank(model, user_vector, left_out, k):
    scores = model.vectors.items @ user_vector
    return scores.drop(left_out).sort_values(ascending=False).index[:k].tolist()


@pytest.mark.parametrize(
    ("exponent", "half_life"), [(0.7, None), (1.0, None), (0.5, None), (0.7, 1.5)]
)
def test_a_history_gives_what_the_same_user_gets(repo, exponent, half_life):
    model = history_model(exponent, half_life=half_life)
    publish(model, repo)
    online = OnlineRecommender(repo)
    for user in (1, 4, 7):
        known = online.recommend([user], k=6)
        new = online.recommend_from_history(model.vectors.seen[user], k=6)
        assert new.columns.tolist() == ["item_id", "rank", "score"]
        assert new["item_id"].tolist() == known["item_id"].tolist()
        np.testing.assert_allclose(new["score"], known["score"], rtol=1e-3, atol=1e-4)


def test_a_history_is_refused_by_a_model_of_another_kind(repo):
    publish(make_recommender(), repo)
    with pytest.raises(ValueError, match="not sums of their items' vectors"):
        OnlineRecommender(repo).recommend_from_history([1, 2])


def test_users_are_sums_where_the_model_says_so(repo):
    """What they are now does not tell what they will be after another event."""
    model = history_model()
    model.vectors = replace(model.vectors, history_exponent=None)
    publish(model, repo)
    online = OnlineRecommender(repo)
    before = online.recommend([4], k=99)
    assert not online.record(4, before["item_id"].iloc[0])
    after = online.recommend([4], k=99)
    assert after["score"].tolist() == before["score"].tolist()[1:]
    with pytest.raises(ValueError, match="not sums of their items' vectors"):
        online.recommend_from_history([1, 2])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"history_exponent": np.nan}, "history_exponent must be a finite number"),
        ({"history_exponent": "0.5"}, "history_exponent .* got '0.5'"),
        ({"history_half_life": True}, "history_half_life must be a finite number"),
        ({"history_half_life": 0}, "history_half_life must be above 0, got 0"),
    ],
)
def test_what_is_wrong_of_histories_is_named(repo, said, message):
    model = history_model()
    model.vectors = replace(model.vectors, **said)
    with pytest.raises(ValueError, match=message):
        publish(model, repo)


def test_a_killed_publication_of_another_exponent_is_not_resumed(repo, monkeypatch):
    """Of users who have met one item at most, all exponents make the same vectors."""
    first = history_model(n_users=2)
    second = history_model(exponent=0.3, n_users=2)
    assert second.vectors.users.equals(first.vectors.users)
    monkeypatch.setattr(SqliteBackend, "complete", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(first, repo)
    monkeypatch.undo()
    publish(second, repo)
    online = OnlineRecommender(repo)
    [item] = second.vectors.seen[1]
    other = (item + 1) % 25
    assert online.record(1, other)
    moved = second.vectors.items.loc[[item, other]].sum().to_numpy() / 2**0.3
    moved[-1] = 1
    ids, scores = rank(second, moved, [item, other], 5), online.recommend([1], k=5)
    assert scores["item_id"].tolist() == ids
    expected = second.vectors.items.loc[ids] @ moved
    np.testing.assert_allclose(scores["score"], expected, rtol=1e-4, atol=1e-5)


def test_bad_histories(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    with pytest.raises(ValueError, match="history is empty"):
        online.recommend_from_history([])
    with pytest.raises(KeyError, match="for item_id 99; publish a model"):
        online.recommend_from_history([1, 99])
    with pytest.raises(TypeError, match="item_id is of type int64"):
        online.recommend_from_history(["1"])


@pytest.mark.parametrize("half_life", [None, 1.5])
def test_recorded_feedback_moves_the_user_at_once(repo, half_life):
    model = history_model(half_life=half_life)
    publish(model, repo)
    online, other = OnlineRecommender(repo), OnlineRecommender(repo)
    seen = model.vectors.seen[3]
    item = next(i for i in range(25) if i not in seen)
    assert online.record(3, item)
    table = other.recommend([3], k=5)
    expected = other.recommend_from_history([*seen, item], k=5)
    assert table["item_id"].tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(table["score"], expected["score"], rtol=1e-3, atol=1e-4)
    assert item not in other.recommend([3], k=99)["item_id"].values


def test_a_new_user_appears_with_the_first_event(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    for item in (4, 9, 2):
        assert online.record(77, item)
    new, same = online.recommend([77]), online.recommend_from_history([4, 9, 2])
    assert new["item_id"].tolist() == same["item_id"].tolist()


def test_events_that_do_not_move_are_kept(repo):
    model = history_model()
    publish(model, repo)
    online = OnlineRecommender(repo)
    before = online.recommend([4], k=99)
    item = before["item_id"].iloc[1]
    assert not online.record(4, item, y=-1.0)
    assert not online.record(4, model.vectors.seen[4][0])
    after = online.recommend([4], k=99)
    rest = before[before["item_id"] != item]
    assert after["item_id"].tolist() == rest["item_id"].tolist()
    assert after["score"].tolist() == rest["score"].tolist()
    with pytest.raises(KeyError, match="for item_id 99"):
        online.record(4, 99)
    events = online.feedback()
    assert events.columns.tolist() == ["user_id", "item_id", "y", "timestamp"]
    assert events["y"].tolist() == [-1.0, 1.0]
    assert online.retrain_due(min_events=2)
    assert not online.retrain_due(min_events=3)


@pytest.mark.parametrize("y", [np.nan, np.inf, -np.inf])
def test_an_event_must_have_a_finite_y(repo, y):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    before = online.recommend([4], k=99)
    item = before["item_id"].iloc[0]
    for user in (4, 500):
        with pytest.raises(ValueError, match="y must be finite"):
            online.record(user, item, y=y)
    assert online.feedback().empty
    pd.testing.assert_frame_equal(online.recommend([4], k=99), before)
    with pytest.raises(KeyError):
        online.recommend([500])


def test_feedback_that_was_taken_in_is_over_and_is_deleted_with_its_user(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    online.record(1, 20)
    events = online.feedback()
    publish(history_model(version="v2", seed=1), repo, feedback=events)
    assert online.feedback().empty
    online.record(1, 21)
    online.record(2, 22)
    delete_ids(repo, users=[1])
    assert online.feedback()["user_id"].tolist() == [2]


def test_events_of_many_threads_are_all_kept(repo):
    publish(history_model(), repo)
    online = OnlineRecommender(repo)
    items = range(24)

    def record(part):
        for item in part:
            online.record(500, item)

    threads = [threading.Thread(target=record, args=(items[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(online.feedback()) == 24
    assert online.recommend([500], k=99)["item_id"].tolist() == [24]


def test_items_are_added_by_vector(repo):
    model = history_model()
    publish(model, repo)
    online = OnlineRecommender(repo)
    user = model.vectors.users.iloc[4].to_numpy()
    online.add_items([1000], [user[:-1] * 100], biases=[0.5])
    best = online.recommend([4], k=1)
    assert best["item_id"].tolist() == [1000]
    expected = 100 * user[:-1] @ user[:-1] + 0.5
    np.testing.assert_allclose(best["score"], expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"must have shape \(1, 3\), got \(1, 2\)"):
        online.add_items([1], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="must be finite, those of item 2 are not"):
        online.add_items([1, 2], [[1.0, 2.0, 3.0], [1.0, 2.0, np.inf]])


def test_added_items_must_fit_together(repo):
    publish(history_model(), repo)
    online, two = OnlineRecommender(repo), np.ones((2, 3))
    with pytest.raises(ValueError, match="ids has item 60 more than once"):
        online.add_items([60, 61, 60], np.ones((3, 3)))
    for ids in ([60], [60, 61, 62]):
        n = len(ids)
        with pytest.raises(ValueError, match=rf"vectors of {n} ids .* got \(2, 3\)"):
            online.add_items(ids, two)
    with pytest.raises(ValueError, match=r"vectors of 1 ids .* got \(3,\)"):
        online.add_items([60], two[0])
    with pytest.raises(ValueError, match=r"biases of 2 ids .* got \(3,\)"):
        online.add_items([60, 61], two, biases=[0.0, 1.0, 2.0])
    assert not read_vectors(repo, "item", [60, 61, 62])[1].any()


def test_only_listed_items_are_recommended(repo):
    model = history_model()
    publish(model, repo)
    online = OnlineRecommender(repo)
    allowed = [3, 11, 8, 999]
    table = online.recommend([0], items=allowed)
    user = model.vectors.users.iloc[0].to_numpy()
    scores = (model.vectors.items.loc[[3, 11, 8]] @ user).sort_values(ascending=False)
    assert table["item_id"].tolist() == scores.index.tolist()
    assert online.recommend([0], items=[999]).empty
    assert online.recommend_from_history([3], items=[3]).empty


@pytest.mark.parametrize("half_life", [None, 1.5])
@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0])
def test_item_by_item_is_the_same_as_all_at_once(exponent, half_life):
    history = HistorySum(exponent, half_life)
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    user = np.full(4, 9.0, np.float32)
    for number, vector in enumerate(vectors):
        user = history.add(user, number, vector)
        expected = history.user(vectors[: number + 1])
        np.testing.assert_allclose(user, expected, rtol=1e-5, atol=1e-6)


def test_users_of_whom_nothing_is_left_do_not_change_the_ids(repo):
    model = history_model()
    publish(model, repo)
    item = model.vectors.seen[4][0]
    online = OnlineRecommender(repo)
    alone, both = (online.recommend(users, items=[item]) for users in ([0], [0, 4]))
    pd.testing.assert_frame_equal(both, alone)
