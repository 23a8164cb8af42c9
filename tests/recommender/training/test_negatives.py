"""What liked items are ranked against."""

import numpy as np
import pandas as pd
import pytest
import torch

from skmmrec.interactions import History
from skmmrec.recommender.network._objectives import Task
from skmmrec.recommender.training._assembly import make_batcher, make_loss
from skmmrec.recommender.training._batches import Batcher
from skmmrec.recommender.training._problem import make_examples, make_network
from skmmrec.runtime import Generators


def batcher_of(pairs, signals=None, shape=(2, 6), **params):
    """Of two users and six items, unless the shape says otherwise."""
    users, items = np.array(pairs).T
    seen = History.from_pairs(users, items, *shape)
    history = History.from_pairs(users, items, *shape, signals)
    examples = make_examples(seen, history, [Task("softmax")])
    params = {
        "n_negatives": 6,
        "own_negatives": False,
        "by_popularity": True,
        "generator": torch.Generator(),
        **params,
    }
    return Batcher(history, examples, **params)


PAIRS = [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (1, 5)]


def spared(batch):
    """Items that are no negatives for any pair of a user, by user."""
    negatives = batch.needed[batch.negatives]
    rows = [batch.targets.rows == user for user in range(len(batch.users))]
    return [
        sorted(set(negatives[batch.excluded[pairs].all(0)].tolist())) for pairs in rows
    ]


def test_what_a_user_likes_is_no_negative():
    assert spared(batcher_of(PAIRS).batch(np.arange(6))) == [[0, 1, 2], [2, 3, 5]]


def test_drawn_negatives_are_spared_as_often_as_they_are_drawn():
    batcher, numbers = batcher_of(PAIRS, n_negatives=4), set()
    for _ in range(20):
        batch = batcher.batch(np.array([3, 4]))
        liked = np.isin(batch.needed[batch.negatives], [2, 3, 5])
        np.testing.assert_array_equal(batch.excluded, [liked, liked])
        numbers.add(int(liked.sum()))
    assert len(numbers) > 2


def test_all_of_a_long_history_is_spared():
    batch = batcher_of(PAIRS, max_history=1).batch(np.arange(6))
    assert spared(batch) == [[0, 1, 2], [2, 3, 5]]


def test_what_a_user_dislikes_stays_a_negative():
    signals = np.array([1, -1, 1, -0.5, 1, 1])
    batch = batcher_of(PAIRS, signals).batch(np.arange(6))
    assert spared(batch) == [[0, 2], [3, 5]]


def test_on_demand_only_the_pair_itself_is_spared():
    batch = batcher_of(PAIRS, own_negatives=True).batch(np.arange(6))
    negatives = batch.needed[batch.negatives].numpy()
    own = np.array([item for _, item in PAIRS])
    np.testing.assert_array_equal(batch.excluded, negatives == own[:, None])


@pytest.mark.parametrize("objective", ["softmax", "bpr", "bce"])
def test_the_loss_does_not_look_at_them(make, catalog, X, objective):
    """To move an item changes the loss of those only who do not like it."""
    rec = make(
        catalog,
        training__own_negatives=False,
        objective=objective,
        training__n_negatives=1000,
    )
    rec.fit(X)
    problem, plan = rec.model_.problem(), rec._plan()
    generators = Generators(0)
    history, examples = problem.history, problem.examples
    batcher = make_batcher(problem, plan, generators, history, examples)
    network = make_network(plan.design, problem, rec.model_.cold_popularity)
    loss = make_loss(network, problem, plan, generators, 1.0).eval()
    item = int(problem.history.popularity.argmax())
    users, items = problem.examples.users, problem.examples.items
    likes = [item in problem.history.of(user) for user in range(len(rec.user_index_))]
    assert 0 < sum(likes) < len(likes)
    for user, liked in enumerate(likes):
        batch = batcher.batch(np.flatnonzero((users == user) & (items != item)))
        losses = []
        for push in (0.0, 5.0):
            with torch.no_grad():
                loss.network.item_bias[item] += push
                losses.append(loss(batch).item())
        assert (losses[1] == losses[0]) == liked


def test_who_likes_everything_has_no_negatives(make, catalog, items):
    X = pd.DataFrame({"user_id": 1, "item_id": items.item_id})
    rec = make(catalog, training__own_negatives=False).fit(X)
    assert np.isfinite(rec.item_vectors_.to_numpy()).all()


def table(n_users, n_items, n_each, rng):
    rows = [
        (user, item)
        for user in range(n_users)
        for item in rng.choice(n_items, n_each, replace=False)
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id"])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((40, 100, 4), True), ((40, 100, 25), False), ((400, 100, 4), False)],
)
def test_they_are_negatives_where_there_is_little_to_learn_from(make, shape, expected):
    """With few interactions of items and users, many of users, or many of items."""
    X = table(*shape, np.random.default_rng(0))
    X = X.assign(text__0=X.item_id.astype(float))
    auto, given = (
        make(training__max_epochs=1, training__own_negatives=own).fit(X)
        for own in ("auto", expected)
    )
    pd.testing.assert_frame_equal(auto.item_vectors_, given.item_vectors_)
    other = make(training__max_epochs=1, training__own_negatives=not expected).fit(X)
    assert not np.allclose(auto.item_vectors_, other.item_vectors_, atol=1e-5)


def test_a_share_of_them_is_spared():
    rng = np.random.default_rng(0)
    pairs = [(user, item) for user in range(40) for item in rng.permutation(50)[:20]]
    rows = np.arange(len(pairs))
    counts = {}
    for share in (0.0, 0.25, 0.75, 1.0):
        options = {"own_negatives": share, "n_negatives": 50}
        batch = batcher_of(pairs, shape=(40, 50), **options).batch(rows)
        counts[share] = int(batch.excluded.sum())
    could_be = counts[0.0] - counts[1.0]
    for share in (0.25, 0.75):
        kept = (counts[share] - counts[1.0]) / could_be
        assert kept == pytest.approx(1 - share, abs=0.1, rel=0)


@pytest.mark.parametrize("wrong", ["never", 1.5, None])
def test_a_wrong_value(make, catalog, X, wrong):
    with pytest.raises(ValueError, match="The 'own_negatives' parameter"):
        make(catalog, training__own_negatives=wrong).fit(X)
