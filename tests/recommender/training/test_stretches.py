"""Histories that are read in their order: what a batch has of them, at what cost."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils.flop_counter import FlopCounterMode

from skmmrec.interactions import History
from skmmrec.recommender import SequenceTower
from skmmrec.recommender.network import Past, Targets, Task
from skmmrec.recommender.training import Batcher, make_examples
from skmmrec.recommender.training._touched import expect_touched

N_ITEMS, DIM = 40, 8
MANY_ITEMS = 5000


def make_tower(window, n_layers=2):
    """A tower away from its initial state."""
    torch.manual_seed(0)
    tower = SequenceTower(max_history=window, n_layers=n_layers).build(DIM).double()
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return tower


def make_vectors():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N_ITEMS, DIM, generator=generator, dtype=torch.float64)


def make_batcher(lengths, window, seed=0, asides=0, signals=False, n_items=N_ITEMS):
    """Histories of these lengths; all of their pairs, and some others, are examples."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(len(lengths)), lengths)
    items = [rng.choice(n_items, n, replace=False) for n in lengths]
    values = rng.normal(size=len(users)).astype(np.float32) if signals else None
    shape = len(lengths), n_items
    history = History.from_pairs(users, np.concatenate(items), *shape, values)
    met = list(zip(users.tolist(), np.concatenate(items).tolist(), strict=True))
    drawn = zip(
        rng.integers(0, len(lengths), asides).tolist(),
        rng.integers(0, n_items, asides).tolist(),
        strict=True,
    )
    met = sorted(dict.fromkeys([*met, *drawn]), key=lambda pair: pair[0])
    seen = History.from_pairs(*np.array(met).T, *shape)
    return Batcher(
        history,
        make_examples(seen, history, [Task("softmax")]),
        5,
        own_negatives=True,
        by_popularity=True,
        generator=torch.Generator().manual_seed(seed),
        window=window,
    )


def past_of(histories, signals=None):
    lengths = torch.tensor([0, *(len(history) for history in histories)])
    items = torch.tensor(np.concatenate(histories), dtype=torch.int64)
    signals = None if signals is None else torch.tensor(np.concatenate(signals))
    return Past(items, lengths.cumsum(0), signals)


@given(
    st.lists(st.integers(1, 25), min_size=1, max_size=6),
    st.integers(1, 12),
    st.integers(1, 3),
    st.integers(1, 30),
    st.integers(0, 10),
    st.booleans(),
)
@settings(max_examples=60)
def test_training_sees_what_serving_sees(
    lengths, window, n_layers, size, asides, signals
):
    """Each pair's user is the one whose history ends before it, however it is cut."""
    batcher = make_batcher(lengths, window, asides=asides, signals=signals)
    tower, vectors = make_tower(window, n_layers), make_vectors()
    order = batcher.order(torch.Generator().manual_seed(0))
    history = batcher.history
    for rows, batch in zip(
        order.split(size), batcher.batches(order.split(size)), strict=True
    ):
        own = vectors[batch.needed]
        found = tower.without(own, batch.past, batch.targets, own[batch.scored[:size]])
        chosen = batcher.examples.take(rows.numpy())
        ends = list(zip(chosen.users, chosen.before, strict=True))
        values = None
        if signals:
            starts = history.offsets[chosen.users]
            values = [
                history.values[start : start + end]
                for start, (_, end) in zip(starts, ends, strict=True)
            ]
        past = past_of([history.of(user)[:end] for user, end in ends], values)
        torch.testing.assert_close(found, tower(vectors, past), rtol=1e-9, atol=1e-9)


def test_what_comes_later_changes_nothing():
    tower, vectors = make_tower(6), make_vectors()
    items = torch.arange(20)
    other = torch.cat([items[:10], items[10:] + 15])
    one, two = (tower.read(vectors, past_of([h.numpy()])) for h in (items, other))
    torch.testing.assert_close(one[:10], two[:10], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(one[10:], two[10:], rtol=1e-3, atol=1e-3)


def test_losses_of_earlier_positions_know_nothing_of_later_items():
    """By gradients: that of a position's user by a later item is 0."""
    tower, vectors = make_tower(6), make_vectors().requires_grad_()
    past = past_of([np.arange(20), np.arange(20, 30)])
    tower.read(vectors, past)[:10].sum().backward()
    assert (vectors.grad[:10].abs().sum(1) > 0).all()
    assert (vectors.grad[10:] == 0).all()


def test_a_user_looks_back_no_further_than_the_window():
    tower, vectors = make_tower(6), make_vectors().requires_grad_()
    tower(vectors, past_of([np.arange(20)])).sum().backward()
    reached = vectors.grad.abs().sum(1) > 0
    assert reached.nonzero().squeeze(1).tolist() == list(range(14, 20))


def test_an_order_has_each_example_once_and_runs_together():
    batcher = make_batcher([30, 3, 25, 8], 6)
    orders = [batcher.order(torch.Generator().manual_seed(n)) for n in (0, 1)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(66))
    assert not torch.equal(*orders)
    chosen = batcher.examples.take(orders[0].numpy())
    follows = (np.diff(chosen.users) == 0) & (np.diff(chosen.before) == 1)
    # A history of 30 is cut into three runs of twenty at most, and so on.
    assert follows.sum() >= 66 - (3 + 2 + 3 + 2)


def test_a_stretch_reaches_from_a_window_before_to_the_target():
    batcher = make_batcher([30, 20], 4)
    batch = batcher.batch(np.array([10, 12, 30]))
    assert batch.past.lengths.tolist() == [4 + 3, 1]
    assert batch.targets.before.tolist() == [4, 6, 0]
    read = batch.needed[batch.past.items].tolist()
    assert read == batcher.history.items[[*range(6, 13), 30]].tolist()


def operations(tower, past, targets):
    vectors = make_vectors()
    with FlopCounterMode(display=False) as counter:
        tower.without(vectors, past, targets, vectors[targets.items])
    return counter.get_total_flops()


def test_all_positions_are_learned_from_in_one_pass():
    """By arithmetic operations: as many for one target as for all of them."""
    tower, past = make_tower(8), past_of([np.arange(32)])
    whole, last = (
        Targets(torch.zeros_like(before), before, before, torch.ones_like(before) > 0)
        for before in (torch.arange(32), torch.tensor([31]))
    )
    assert operations(tower, past, whole) == operations(tower, past, last) > 0


def test_a_pass_costs_what_its_items_cost_and_no_padding():
    """One long history among short ones costs no more than its own items."""
    tower = make_tower(4)
    last = torch.tensor([0])
    targets = Targets(last, last, last, last > 0)
    short = [np.arange(2)] * 16
    mixed = [*short[:8], np.arange(16)]
    assert operations(tower, past_of(mixed), targets) == operations(
        tower, past_of(short), targets
    )


@pytest.mark.parametrize("window", [5, 50])
def test_an_epoch_reads_each_item_about_once(window):
    batcher = make_batcher([8] * 40, window)
    order = batcher.order(torch.Generator().manual_seed(0))
    read = sum(len(b.past.items) for b in batcher.batches(order.split(64)))
    # Histories that end in the next batch, or run, are read again from before it.
    assert 320 <= read <= 1.6 * 320


def test_as_many_rows_are_expected_of_a_batch_as_it_touches():
    """So that large tables are updated row by row where that is cheaper."""
    batcher = make_batcher([8] * 400, 10, n_items=MANY_ITEMS)
    order = batcher.order(torch.Generator().manual_seed(0))
    touched = [len(b.needed) for b in batcher.batches(order.split(64))]
    expected, _ = expect_touched(batcher, 64)
    np.testing.assert_allclose(np.mean(touched), expected, rtol=0.4, atol=1)
