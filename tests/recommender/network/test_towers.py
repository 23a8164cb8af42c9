"""User towers, as torch modules and in the recommender."""

import numpy as np
import pandas as pd
import pytest
import torch

from skmmrec.interactions import History
from skmmrec.recommender import SequenceTower
from skmmrec.recommender._user_towers import TOWERS
from skmmrec.recommender.network import (
    MeanTowerModule,
    NoTowerModule,
    Past,
    SequenceTowerModule,
    Targets,
    Task,
)
from skmmrec.recommender.training import Batcher, make_examples

N_ITEMS, DIM = 7, 8
HISTORIES = [[2, 0, 5], [], [1], [6, 3, 4, 0, 2]]


@pytest.fixture(params=sorted(TOWERS))
def tower(request):
    """A tower away from its initial state."""
    torch.manual_seed(0)
    module = TOWERS[request.param](history_exponent=0.5).build(DIM).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module


@pytest.fixture
def vectors():
    return torch.randn(
        N_ITEMS, DIM, generator=torch.Generator().manual_seed(1)
    ).double()


def past_of(histories, signals=None):
    lengths = [0, *(len(history) for history in histories)]
    items = [item for history in histories for item in history]
    return Past(
        torch.tensor(items, dtype=torch.int64), torch.tensor(lengths).cumsum(0), signals
    )


def targets_of(rows, histories):
    """Every item of these users' histories."""
    pairs = [(row, place) for row in rows for place in range(len(histories[row]))]
    return Targets(
        torch.tensor([row for row, _ in pairs]),
        torch.tensor([histories[row][place] for row, place in pairs]),
        torch.tensor([place for _, place in pairs]),
        torch.ones(len(pairs), dtype=torch.bool),
    )


def without(tower, vectors, past, targets):
    return tower.without(vectors, past, targets, vectors[targets.items])


def test_users_do_not_see_each_other(tower, vectors):
    together = tower(vectors, past_of(HISTORIES))
    for row, history in enumerate(HISTORIES):
        alone = tower(vectors, past_of([history]))[0]
        torch.testing.assert_close(alone, together[row], rtol=1e-12, atol=1e-12)


def test_an_empty_history_is_the_default(tower, vectors):
    torch.testing.assert_close(
        tower(vectors, past_of(HISTORIES))[1], tower.default, rtol=1e-9, atol=1e-9
    )


def test_the_target_is_left_out(tower, vectors):
    """What training sees of a user is what serving sees without the target.

    The sequence tower leaves out what came later, too.
    """
    targets = targets_of([0, 2, 3], HISTORIES)
    seen = without(tower, vectors, past_of(HISTORIES), targets)
    left = []
    for row, place in zip(targets.rows.tolist(), targets.before.tolist(), strict=True):
        history = HISTORIES[row]
        later = [] if isinstance(tower, SequenceTowerModule) else history[place + 1 :]
        left.append(history[:place] + later)
    torch.testing.assert_close(
        seen, tower(vectors, past_of(left)), rtol=1e-9, atol=1e-9
    )


def test_a_pair_outside_of_the_history_takes_nothing_out(tower, vectors):
    """As for a row that was seen and not liked."""
    past = past_of(HISTORIES)
    ends = past.lengths
    targets = Targets(
        torch.arange(4), torch.tensor([3, 3, 3, 1]), ends, torch.zeros(4).bool()
    )
    torch.testing.assert_close(
        without(tower, vectors, past, targets),
        tower(vectors, past),
        rtol=1e-9,
        atol=1e-9,
    )


def test_signals_weigh_the_items(tower, vectors):
    """An item that speaks with 0 adds nothing to a sum; signs turn."""
    signals = torch.tensor([1.0, 0.0, -1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]).double()
    past = past_of(HISTORIES, signals)
    plain = tower(vectors, past_of(HISTORIES))
    weighed = tower(vectors, past)
    assert not torch.allclose(plain[0], weighed[0], atol=1e-6)
    torch.testing.assert_close(plain[3], weighed[3], rtol=1e-9, atol=1e-9)


def test_gradients_are_finite(tower, vectors):
    vectors.requires_grad_()
    targets = targets_of([0, 2, 3], HISTORIES)
    past = past_of(HISTORIES)
    users = without(tower, vectors, past, targets).sum() + tower(vectors, past).sum()
    users.backward()
    assert vectors.grad.isfinite().all()
    for name, parameter in tower.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_at_rest_every_tower_is_the_mean(vectors):
    past = past_of(HISTORIES)
    expected = MeanTowerModule(DIM, 1.0).double()(vectors, past)
    for kind in TOWERS.values():
        tower = kind(history_exponent=1.0).build(DIM).double()
        torch.testing.assert_close(tower(vectors, past), expected, rtol=1e-9, atol=1e-9)


def test_only_the_sequence_tower_knows_the_order(tower, vectors):
    turned = tower(vectors, past_of([HISTORIES[3][::-1]]))
    same = torch.allclose(turned, tower(vectors, past_of([HISTORIES[3]])), atol=1e-9)
    assert same == (not isinstance(tower, SequenceTowerModule))


def test_the_window_forgets(vectors):
    tower = SequenceTower(max_history=2).build(DIM).double()
    both = tower(vectors, past_of([HISTORIES[3], HISTORIES[3][-2:]]))
    torch.testing.assert_close(both[0], both[1], rtol=1e-9, atol=1e-9)


def test_no_tower_knows_no_history(vectors):
    tower = NoTowerModule(DIM, 1.0).double()
    with torch.no_grad():
        tower.default += 1.0
    users = tower(vectors, past_of(HISTORIES))
    assert users.sum(dim=1).tolist() == [0.0, DIM, 0.0, 0.0]


# -- in the recommender --------------------------------------------------------------


@pytest.fixture(params=sorted(TOWERS), scope="module")
def recommender(request, make, catalog, X):
    return make(catalog, user_tower=request.param, training__max_epochs=8).fit(X)


def test_a_history_is_served_without_training(recommender, X):
    """A new user with somebody's history is that somebody."""
    from copy import deepcopy

    model = deepcopy(recommender)
    somebody = X.sort_values("timestamp")[lambda rows: rows.user_id == 103]
    model.partial_fit(somebody.assign(user_id=7))
    pd.testing.assert_series_equal(
        model.user_vectors_.loc[7],
        model.user_vectors_.loc[103],
        check_names=False,
        atol=1e-6,
    )


def test_a_saved_tower_serves_the_same(recommender, tmp_path):
    recommender.save(tmp_path / "model")
    loaded = type(recommender).load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.recommend(), recommender.recommend())
    assert loaded.user_tower == recommender.user_tower


def test_towers_differ(make, catalog, X):
    vectors = [
        make(catalog, user_tower=kind, training__max_epochs=8)
        .fit(X)
        .user_vectors_.to_numpy()
        for kind in sorted(TOWERS)
    ]
    assert not np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-5)


def test_a_store_is_told_which_users_it_can_fold_in(recommender):
    exponent = recommender.serving_vectors().history_exponent
    assert exponent == (1.0 if recommender.user_tower == "mean" else None)


# -- long histories ------------------------------------------------------------------


@pytest.fixture
def batcher():
    users = np.repeat([0, 1, 2], [200, 3, 60])
    items = np.concatenate([np.arange(200), [5, 6, 7], np.arange(60) + 100])
    history = History.from_pairs(users, items, 3, 200, np.arange(263.0))
    tasks = [Task("softmax")]
    examples = make_examples(History.from_pairs(users, items, 3, 200), history, tasks)
    return Batcher(
        history,
        examples,
        8,
        own_negatives=True,
        by_popularity=True,
        generator=torch.Generator(),
        max_history=20,
    )


def test_long_histories_are_drawn_from(batcher):
    """Twenty of the long ones, all of the short one, others in each batch."""
    rows = np.arange(263)
    batches = [batcher.batch(rows) for _ in range(50)]
    lengths = torch.stack([batch.past.lengths for batch in batches])
    assert lengths.eq(torch.tensor([20, 3, 20])).all()
    assert batches[0].past.drawn_from.tolist() == [200, 3, 60]
    kept = [set(batch.needed[batch.past.items].tolist()) for batch in batches[:2]]
    assert kept[0] != kept[1]


def test_what_is_left_out_was_drawn(batcher):
    """A pair counts as held where its item is in what was drawn, with its signal."""
    batch = batcher.batch(np.arange(263))
    past, targets = batch.past, batch.targets
    for pair in range(263):
        start, end = past.offsets[targets.rows[pair] :][:2].tolist()
        drawn = past.items[start:end].tolist()
        assert targets.held[pair] == (targets.items[pair].item() in drawn)
        expected = pair if targets.held[pair] else 0
        assert targets.signals[pair] == expected


@pytest.mark.parametrize("kind", ["mean", "attention"])
def test_users_of_drawn_items_are_as_long_as_whole_ones(kind):
    """Equal items: drawing twenty of eighty changes nothing, whatever the exponent."""
    vectors = torch.ones(100, DIM).double()
    tower = TOWERS[kind](history_exponent=0.3).build(DIM).double()
    whole = tower(vectors, past_of([list(range(80))]))
    targets = targets_of([0], [list(range(20))])
    drawn = past_of([list(range(20))])._replace(drawn_from=torch.tensor([80]))
    found = without(tower, vectors, drawn, targets)
    torch.testing.assert_close(
        found[0], whole[0] * (19 / 20) ** 0.7, rtol=1e-9, atol=1e-9
    )
