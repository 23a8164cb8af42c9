"""What a batch holds, and that it does not matter which batches are made together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from skmmrec.interactions import History
from skmmrec.recommender.network import Task
from skmmrec.recommender.training import (
    Batcher,
    _batches as batches_module,
    _blocks as blocks_module,
    _numbering as numbering,
    _processes,
    make_examples,
)

N_ITEMS = 23


def histories(rng, n_users, longest, signals):
    """Items of each user without repetition; some users have none."""
    lengths = rng.integers(0, longest + 1, n_users)
    lengths[0] = max(1, lengths[0])
    users = np.repeat(np.arange(n_users), lengths)
    items = [rng.choice(N_ITEMS, length, replace=False) for length in lengths]
    values = rng.normal(size=len(users)) if signals else None
    return History.from_pairs(users, np.concatenate(items), n_users, N_ITEMS, values)


def make_batcher(seed=0, n_users=6, longest=9, signals=False, asides=0, **params):
    """Learn from every pair of the histories, and from some that are not in them."""
    rng = np.random.default_rng(seed)
    history = histories(rng, n_users, longest, signals)
    users = np.concatenate([history.users, rng.integers(0, n_users, asides)])
    items = np.concatenate([history.items, rng.integers(0, N_ITEMS, asides)])
    order = np.argsort(users, kind="stable")
    known = set(zip(history.users.tolist(), history.items.tolist(), strict=True))
    pairs, met = [], set()
    for user, item, aside in zip(
        users[order], items[order], order >= len(history.users), strict=True
    ):
        pair = (int(user), int(item))
        if pair not in met and not (aside and pair in known):
            pairs.append(pair)
            met.add(pair)
    seen = History.from_pairs(*np.array(pairs).T, n_users, N_ITEMS)
    examples = make_examples(seen, history, [Task("softmax")])
    params = {
        "n_negatives": 7,
        "own_negatives": False,
        "by_popularity": True,
        "generator": torch.Generator().manual_seed(seed),
        **params,
    }
    return Batcher(history, examples, **params)


settings_of_batchers = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "n_users": st.integers(1, 8),
        "longest": st.integers(1, 20),
        "signals": st.booleans(),
        "asides": st.integers(0, 12),
        "n_negatives": st.integers(1, 40),
        "own_negatives": st.booleans(),
        "by_popularity": st.booleans(),
        "max_history": st.none() | st.integers(1, 12),
    }
)


def steps_of(batcher, size, seed=0):
    n = len(batcher.examples)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return order.split(size)


def check_items(batch, chosen):
    """`needed` has each item that occurs once, in order; numbers lead back to it."""
    needed = batch.needed
    places = torch.cat([batch.past.items, batch.scored])
    assert places.unique().tolist() == list(range(len(needed)))
    assert (needed.diff() > 0).all()
    p = len(chosen)
    assert needed[batch.scored].tolist() == batch.scored_items.tolist()
    assert batch.scored_items[:p].tolist() == chosen.items.tolist()
    assert torch.equal(batch.targets.items, batch.scored[:p])
    assert torch.equal(batch.negatives, batch.scored[p:])


def check_users(batch, chosen):
    assert batch.users.tolist() == sorted(set(chosen.users.tolist()))
    assert batch.users[batch.targets.rows].tolist() == chosen.users.tolist()


def drawn_places(batch, row, whole):
    start, end = batch.past.offsets[row : row + 2].tolist()
    items = batch.needed[batch.past.items[start:end]].tolist()
    return [whole.index(item) for item in items]


def check_past(batch, batcher):
    """One item of each of `max_history` equal stretches of a longer history."""
    history, limit = batcher.history, batcher.tables.max_history
    for row, user in enumerate(batch.users.tolist()):
        whole = history.of(user).tolist()
        places, n = drawn_places(batch, row, whole), len(whole)
        size = n if limit is None else min(limit, n)
        assert len(places) == size
        for part, place in enumerate(places):
            assert part * n // size <= place < (part + 1) * n // size
        if batch.past.drawn_from is not None:
            assert batch.past.drawn_from[row] == n
        if history.values is not None:
            start, end = batch.past.offsets[row : row + 2].tolist()
            signals = history.values[history.offsets[user] + np.array(places, int)]
            np.testing.assert_array_equal(batch.past.signals[start:end], signals)


def check_targets(batch, batcher, chosen):
    """Held where the item was drawn; then it weighs what it weighs in the sums."""
    history, targets, facts = batcher.history, batch.targets, batch.targets.facts
    assert targets.before.tolist() == chosen.before.tolist()
    for pair in range(len(chosen)):
        row, user = int(targets.rows[pair]), int(chosen.users[pair])
        whole = history.of(user).tolist()
        places = drawn_places(batch, row, whole)
        held = bool(chosen.held[pair]) and int(chosen.before[pair]) in places
        assert targets.held[pair] == held
        share = float(held)
        if history.values is not None:
            entry = history.offsets[user] + chosen.before[pair]
            share = float(history.values[entry]) if held else 0.0
            assert targets.signals[pair] == pytest.approx(share, rel=1e-6, abs=1e-9)
        left = len(places) - held
        expected = [held, share, left, 1 / left if left else 0.0, left == 0]
        found = [facts.held, facts.share, facts.n_left, facts.scale, facts.empty]
        for one, other in zip(found, expected, strict=True):
            assert one[pair].item() == pytest.approx(float(other), rel=1e-6, abs=1e-9)


def check_excluded(batch, batcher, chosen):
    negatives = batch.needed[batch.negatives].tolist()
    history, own_negatives = batcher.history, batcher.tables.own_negatives
    for pair in range(len(chosen)):
        user = int(chosen.users[pair])
        entries = slice(history.offsets[user], history.offsets[user + 1])
        liked = set(history.items[entries][history.liked[entries]].tolist())
        barred = {int(chosen.items[pair])} | (set() if own_negatives else liked)
        assert batch.excluded[pair].tolist() == [item in barred for item in negatives]


def check_weights(batch, chosen):
    p, k = len(chosen), len(batch.negatives)
    np.testing.assert_array_equal(batch.weights, chosen.weights)
    shares = chosen.weights / chosen.weights.sum()
    np.testing.assert_allclose(batch.shares[:p, 0], shares, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(batch.shares[p:, 0], 1 / k, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(batch.tasks[0].weights, shares, rtol=1e-5, atol=1e-7)


@given(settings_of_batchers, st.integers(1, 30))
@settings(max_examples=40)
def test_a_batch_is_what_its_rows_say(params, size):
    batcher = make_batcher(**params)
    steps = steps_of(batcher, size)
    made = list(batcher.batches(steps))
    assert len(made) == len(steps)
    for rows, batch in zip(steps, made, strict=True):
        chosen = batcher.examples.take(rows.numpy())
        check_items(batch, chosen)
        check_users(batch, chosen)
        check_past(batch, batcher)
        check_targets(batch, batcher, chosen)
        check_excluded(batch, batcher, chosen)
        check_weights(batch, chosen)


def leaves(batch):
    return [x for x in torch.utils._pytree.tree_leaves(batch) if x is not None]


def assert_same(one, other):
    for left, right in zip(leaves(one), leaves(other), strict=True):
        assert torch.equal(torch.as_tensor(left), torch.as_tensor(right))


@pytest.mark.parametrize("signals", [False, True])
def test_how_many_are_made_together_does_not_matter(signals, monkeypatch):
    """Where nothing is drawn: all items are negatives, and histories are whole."""
    params = {"n_negatives": N_ITEMS, "signals": signals, "asides": 9}
    together = list(make_batcher(**params).batches(steps_of(make_batcher(**params), 4)))
    monkeypatch.setattr(batches_module, "MAX_STEPS", 1)
    batcher = make_batcher(**params)
    alone = list(batcher.batches(steps_of(batcher, 4)))
    assert len(together) == len(alone) > 5
    for one, other in zip(together, alone, strict=True):
        assert_same(one, other)


def test_blocks_are_bounded(monkeypatch):
    batcher = make_batcher(n_users=30)
    steps = steps_of(batcher, 4)
    assert len(list(batcher.blocks(steps))) <= 2
    n_bytes = 3 * 4 * batcher._bytes_per_pair
    monkeypatch.setitem(batches_module.BLOCK_BYTES, "cpu", n_bytes)
    sizes = [len(block) for block in batcher.blocks(steps)]
    assert max(sizes) == 3
    assert sum(sizes) == len(steps)


def test_a_large_catalogue_is_not_gone_through(monkeypatch):
    """Sorting what occurs gives what a table of all items gives."""
    one, other = make_batcher(max_history=3), make_batcher(max_history=3)
    tables = list(one.batches(steps_of(one, 5)))
    for name in ("SORTED_ABOVE", "SEARCHED_ABOVE"):
        monkeypatch.setattr(numbering, name, 0)
    for left, right in zip(tables, other.batches(steps_of(other, 5)), strict=True):
        assert_same(left, right)


def test_nothing_has_no_numbers():
    """As in a process that holds no row of a small table."""
    nothing = torch.empty(0, dtype=torch.long)
    for n_values in (0, 3):
        ranks, counts = numbering.number(nothing, nothing, n_values, 2)
        assert len(ranks) == 0
        assert counts.tolist() == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1))
@settings(max_examples=50)
def test_numbers_are_given_in_order(pairs):
    steps, values = (torch.tensor(column) for column in zip(*pairs, strict=True))
    expected = sorted(set(pairs))
    for size in (10, 10**9):  # a table, and sorting
        ranks, counts = numbering.number(values, steps, size, 4)
        assert [expected[rank] for rank in ranks.tolist()] == pairs
        steps_met = [step for step, _ in expected]
        assert counts.tolist() == [steps_met.count(step) for step in range(4)]


def test_negatives_are_drawn_by_popularity_or_evenly():
    users, items = np.arange(100), np.repeat([3, 5, 8], [70, 25, 5])
    history = History.from_pairs(users, items, 100, 10)
    for by_popularity, expected in ((True, [0.7, 0.25, 0.05]), (False, [1 / 3] * 3)):
        source = blocks_module.Negatives(history, 2, by_popularity, torch.device("cpu"))
        drawn = source.draw(10_000, torch.Generator().manual_seed(0))
        counts = np.bincount(drawn.flatten(), minlength=10)
        assert counts.sum() == counts[[3, 5, 8]].sum() == 20_000
        shares = counts[[3, 5, 8]] / 20_000
        np.testing.assert_allclose(shares, expected, rtol=0.1, atol=0.02)
        log_q = source.log_q[[3, 5, 8]].exp()
        np.testing.assert_allclose(log_q, expected, rtol=1e-5, atol=1e-6)


def test_every_place_of_a_long_history_is_drawn_equally_often():
    history = History.from_pairs(np.zeros(40, int), np.arange(40), 1, 40)
    examples = make_examples(history, history, [Task("softmax")])
    batcher = Batcher(
        history,
        examples,
        5,
        own_negatives=True,
        by_popularity=True,
        generator=torch.Generator().manual_seed(0),
        max_history=8,
    )
    counts = np.zeros(40)
    for batch in batcher.batches([torch.tensor([0])] * 4000):
        counts[batch.needed[batch.past.items]] += 1
    np.testing.assert_allclose(counts, 800, rtol=0.2, atol=1)


def test_several_tasks_learn_from_their_own_rows():
    users, items = np.repeat([0, 1], 4), np.tile(np.arange(4), 2)
    answers = np.array([[1, np.nan]] * 3 + [[0, 2.0]] * 4 + [[1, 3.0]])
    values = np.column_stack([np.arange(1.0, 9), answers])
    seen = History.from_pairs(users, items, 2, 5, values)
    history = History.from_pairs(users[:3], items[:3], 2, 5)
    tasks = [Task("softmax"), Task("mse", sampled=False)]
    examples = make_examples(seen, history, tasks)
    batcher = Batcher(
        history,
        examples,
        9,
        own_negatives=True,
        by_popularity=True,
        generator=torch.Generator(),
    )
    first, second = batcher.batches([torch.arange(5), torch.arange(3, 8)])
    assert first.tasks[0].rows.tolist() == [0, 1, 2]
    assert first.tasks[1].rows.tolist() == [3, 4]
    assert second.tasks[0].rows.tolist() == [4]
    assert second.tasks[1].rows.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(
        first.tasks[0].weights, np.array([1, 2, 3]) / 6, rtol=1e-6, atol=1e-7
    )
    np.testing.assert_allclose(
        second.tasks[1].weights, np.arange(4, 9) / 30, rtol=1e-6, atol=1e-7
    )


def test_neighbours_are_found_in_the_batch():
    neighbours = torch.stack([(torch.arange(N_ITEMS) + n) % N_ITEMS for n in (1, 5)], 1)
    batcher = make_batcher(neighbours=neighbours)
    for batch in batcher.batches(steps_of(batcher, 5)):
        reach = batch.reach
        assert torch.equal(reach.items[reach.own], batch.needed)
        assert torch.equal(reach.items[reach.near], neighbours[batch.needed])
        assert (reach.items.diff() > 0).all()


def test_read_only_tables_are_taken():
    batcher = make_batcher()
    columns = batcher.examples.columns()
    for column in columns:
        column.flags.writeable = False
    again = make_batcher()
    read_only = Batcher(
        again.history,
        type(again.examples)(*columns),
        7,
        own_negatives=False,
        by_popularity=True,
        generator=torch.Generator().manual_seed(0),
    )
    rows = torch.arange(6)
    assert_same(read_only.batch(rows), again.batch(rows))


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 20))
def test_shares_weigh_pairs_as_the_whole_batch_does(seed, n_processes, size):
    """In the mean of the processes, for all pairs and for those of each task."""
    plain, rng = make_batcher(seed), np.random.default_rng(seed)
    n = len(plain.examples)
    counted = np.column_stack([np.ones(n, bool), rng.random(n) < 0.3])
    examples = replace(
        plain.examples,
        weights=rng.exponential(1, n).astype(np.float32) * (rng.random(n) < 0.8),
        answers=np.ones((n, 2), np.float32),
        counted=counted,
    )
    batcher = Batcher(
        plain.history,
        examples,
        7,
        own_negatives=1,
        by_popularity=True,
        generator=torch.Generator(),
    )
    steps = steps_of(batcher, size)
    found = np.zeros((3, len(steps), n))
    for rank in range(n_processes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_processes, "world", lambda rank=rank: (rank, n_processes))
            blocks = list(batcher.blocks(steps, are_shared=True))
            own = [_processes.own_share(rows).numpy() for rows in steps]
        batches = [batch for block in blocks for batch in block]
        for number, (batch, rows) in enumerate(zip(batches, own, strict=True)):
            found[0, number, rows] += batch.shares[: len(rows), 0].numpy()
            for task, learned in enumerate(batch.tasks):
                of = rows if learned.rows is None else rows[learned.rows.numpy()]
                found[task + 1, number, of] += learned.weights.numpy()
    for number, rows in enumerate(step.numpy() for step in steps):
        weights = examples.weights[rows]
        for part, which in zip(
            found, [counted[rows, 0], *counted[rows].T], strict=True
        ):
            total = max((weights * which).sum(), 1e-12)
            wanted = weights * which / total
            np.testing.assert_allclose(
                part[number, rows] / n_processes, wanted, rtol=1e-5, atol=1e-7
            )
