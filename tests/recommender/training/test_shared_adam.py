"""Several processes teach tables row by row what one teaches them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from skmmrec.fusion import get_fusion
from skmmrec.recommender.network import FusionNetwork, MeanTowerModule
from skmmrec.recommender.training import _split_tables
from skmmrec.recommender.training._lazy_adam import LazyAdam
from skmmrec.recommender.training._optimizer import Optimizer, Schedule
from skmmrec.recommender.training._processes import parallel
from skmmrec.recommender.training._shared_adam import SharedAdam
from tests.recommender.training.team import Team

DIM = 3
RATE = Schedule(0.05, 12, 0.1)


class Lesson:
    """Who reads which rows in each step, and the gradients that follow."""

    def __init__(self, n_rows, n_processes, n_steps, seed):
        rng = np.random.default_rng(seed)
        self.n_rows, self.n_processes = n_rows, n_processes
        shares = rng.uniform(0, 0.6, (n_steps, n_processes, 1))
        read = rng.random((n_steps, n_processes, n_rows)) < shares
        self.read = [
            [torch.from_numpy(np.flatnonzero(row)) for row in step] for step in read
        ]
        self.start = [
            torch.from_numpy(rng.normal(size=shape).astype(np.float32))
            for shape in ((n_rows, DIM), (n_rows,))
        ]
        self.pulls = torch.from_numpy(
            rng.normal(size=(n_steps, n_processes, n_rows)).astype(np.float32)
        )

    def gradients(self, step, rank, rows, at):
        """Of both tables; they depend on the rows, so that a stale one is noticed."""
        pull = self.pulls[step, rank, at]
        return [rows[0].detach() - pull.unsqueeze(1), rows[1].detach() * pull]

    def alone(self, decay):
        """What one process learns from the mean of all gradients."""
        lazy = LazyAdam([nn.Parameter(t.clone()) for t in self.start], RATE, decay)
        for step, read in enumerate(self.read):
            union = torch.cat(read).unique()
            rows = lazy.read(union)
            sums = [torch.zeros_like(row) for row in rows]
            for rank, at in enumerate(read):
                places = torch.searchsorted(union, at)
                own = [row[places] for row in rows]
                parts = self.gradients(step, rank, own, at)
                for total, part in zip(sums, parts, strict=True):
                    total[places] += part
            for row, total in zip(rows, sums, strict=True):
                row.grad = total / self.n_processes
            lazy.step()
        lazy.settle()
        return [table.values for table in lazy.tables]

    def together(self, decay, is_split, n_ahead, monkeypatch):
        """Tables of each process; routes are told `n_ahead` steps ahead."""
        edges = [
            self.n_rows * r // self.n_processes for r in range(1 + self.n_processes)
        ]

        def work(rank):
            own = slice(*edges[rank : rank + 2]) if is_split else slice(None)
            tables = [nn.Parameter(table[own].clone()) for table in self.start]
            lazy = LazyAdam(tables, RATE, decay)
            shared = SharedAdam(lazy, self.n_rows if is_split else None)
            read = [step[rank] for step in self.read]
            routes = []
            for step, at in enumerate(read):
                if n_ahead and not step % n_ahead:
                    routes += shared.routes(read[step : step + n_ahead])
                rows = shared.read(at, routes[step] if n_ahead else None)
                for row, part in zip(
                    rows, self.gradients(step, rank, rows, at), strict=True
                ):
                    row.grad = part
                shared.collect()
                shared.step()
            shared.settle()
            return [table.values for table in lazy.tables]

        return Team(self.n_processes).run(work, monkeypatch)


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@settings(max_examples=40)
@given(
    n_rows=st.integers(1, 30),
    n_processes=st.integers(2, 4),
    n_steps=st.integers(1, 12),
    n_ahead=st.sampled_from([0, 1, 5]),
    decay=st.sampled_from([0.0, 1e-2]),
    is_split=st.booleans(),
    seed=st.integers(0, 99),
)
def test_processes_learn_what_one_does_from_the_mean_of_their_gradients(
    patch, n_rows, n_processes, n_steps, n_ahead, decay, is_split, seed
):
    """Also where a process holds no row, or reads none."""
    lesson = Lesson(n_rows, n_processes, n_steps, seed)
    expected = lesson.alone(decay)
    parts = lesson.together(decay, is_split, n_ahead, patch)
    found = [torch.cat(p) for p in zip(*parts, strict=True)] if is_split else parts[0]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    if not is_split:
        for part in parts[1:]:
            assert all(map(torch.equal, part, parts[0]))


@pytest.mark.parametrize("is_split", [True, False])
def test_the_same_steps_give_the_same_bits(patch, is_split):
    first, again = (
        Lesson(25, 3, 10, 0).together(1e-3, is_split, n_ahead, patch)
        for n_ahead in (0, 5)
    )
    for one, other in zip(first, again, strict=True):
        assert all(map(torch.equal, one, other))


# -- tables --------------------------------------------------------------------------


def make_network(n_items=11, n_users=7, n_tasks=2):
    torch.manual_seed(0)
    network = FusionNetwork(
        n_items,
        get_fusion("concat")([4], DIM),
        MeanTowerModule(DIM),
        n_users=n_users,
        n_tasks=n_tasks,
    )
    with torch.no_grad():
        for bias in network.biases:
            bias.copy_(torch.randn(n_items))
    return network


@pytest.mark.parametrize("sizes", [{"items": 11}, {"items": 11, "users": 7}])
@pytest.mark.parametrize("at_once", [1, 2, 2**24])
@pytest.mark.parametrize("n_processes", [2, 3, 7])
def test_what_was_split_is_put_together(monkeypatch, sizes, at_once, n_processes):
    monkeypatch.setattr(_split_tables, "AT_ONCE", at_once)
    whole = {name: p.detach() for name, p in make_network().named_parameters()}
    networks = [make_network() for _ in range(n_processes)]

    def work(rank):
        network = networks[rank]
        _split_tables.split_tables(network, sizes)
        held = network.item_embedding, network.item_bias, network.heads[0].bias
        with _split_tables.joined(network, sizes):
            assert torch.equal(network.item_embedding, whole["item_embedding"])
        assert held[0] is network.item_embedding
        n_held = [len(table) for table in held] + [len(network.user_embedding)]
        _split_tables.join_tables(network, sizes)
        return n_held, dict(network.named_parameters())

    results = Team(n_processes).run(work, monkeypatch)
    held = np.array([n_held for n_held, _ in results])
    assert held[:, :3].sum(0).tolist() == [11, 11, 11]
    assert np.ptp(held[:, :3], axis=0).max() <= 1
    assert (held[:, 3].sum() == 7) == ("users" in sizes)
    for _, found in results:
        assert set(found) == set(whole)
        assert all(torch.equal(found[name], whole[name]) for name in whole)
        assert all(parameter.requires_grad for parameter in found.values())


def test_the_length_of_a_gradient_counts_the_rows_of_all_processes(monkeypatch):
    """Clipped to a tenth of it; replicas of the other parameters count once."""
    sizes = {"items": 11, "users": 7}
    networks = [make_network() for _ in range(2)]

    def work(rank):
        network = networks[rank]
        _split_tables.split_tables(network, sizes)
        lazy = frozenset(sizes)
        optimizer = Optimizer(network, RATE, lazy=lazy, split=sizes)
        rows = optimizer.read(torch.arange(11), torch.arange(7))
        # Each process adds half of ones: 11 * 5 numbers of items, 7 * 3 of users.
        for row in (rows.items, *rows.biases, rows.users):
            row.grad = torch.ones_like(row)
        network.tower.default.grad = torch.full((DIM,), 2.0)
        optimizer.collect()
        whole = (11 * (DIM + 2) + 7 * DIM + 4 * DIM) ** 0.5
        optimizer.clip(0.1 * whole)
        read = [row.values.grad for t in optimizer.lazy.values() for row in t.rows]
        return torch.cat([part.flatten() for part in read]), network.tower.default.grad

    for read, shared in Team(2).run(work, monkeypatch):
        np.testing.assert_allclose(read, 0.1, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(shared, 0.2, rtol=1e-4, atol=1e-6)


def test_split_tables_hold_no_gradient_for_others_to_average(monkeypatch):
    network = make_network()

    def work(rank):
        if rank:
            return None
        Optimizer(network, RATE, lazy=frozenset({"items"}), split={})
        return [name for name, p in network.named_parameters() if not p.requires_grad]

    names = Team(2).run(work, monkeypatch)[0]
    assert set(names) == {"item_embedding", "item_bias", "extra_heads.0.bias"}
    assert parallel(network) is network  # alone, there is nothing to wrap
