"""Row by row, tables learn what Adam teaches them as a whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from skmmrec.recommender.training import _lazy_adam
from skmmrec.recommender.training._lazy_adam import (
    BETA1,
    BETA2,
    FIRST_STEPS,
    LazyAdam,
    Missed,
    write_rows,
)
from skmmrec.recommender.training._optimizer import Schedule
from tests.valueless import valueless_gpus

N_ROWS, DIM, N_STEPS = 40, 5, 150


class Pull:
    """Noisy gradients towards targets, for the rows that each step touches."""

    def __init__(self, gap, seed=0, n_steps=N_STEPS, start=0.1):
        self.generator = torch.Generator().manual_seed(seed)
        self.schedule = Schedule(0.01, n_steps, 0.05)
        self.start = [self._normal(N_ROWS, DIM) * start, self._normal(N_ROWS) * start]
        self.targets = [self._normal(N_ROWS, DIM), self._normal(N_ROWS)]
        dice = torch.rand(n_steps, N_ROWS, generator=self.generator)
        self.touched = [(row < 1 / gap).nonzero().squeeze(1) for row in dice]
        self.noise = [
            [self._normal(*table.shape) for table in self.start] for _ in range(n_steps)
        ]

    def _normal(self, *shape):
        return torch.randn(*shape, generator=self.generator)

    def gradient(self, step, table, values, at):
        pull = values.detach() - self.targets[table][at]
        return 1e-4 * (pull + self.noise[step][table][at])

    def whole(self, decay):
        """What torch's own Adam learns."""
        tables = [nn.Parameter(values.clone()) for values in self.start]
        groups = [
            {"params": tables[:1], "weight_decay": decay},
            {"params": tables[1:]},
        ]
        adam = torch.optim.Adam(groups, fused=True)
        for step, at in enumerate(self.touched):
            for group in adam.param_groups:
                group["lr"] = self.schedule(step)
            for number, table in enumerate(tables):
                table.grad = torch.zeros_like(table)
                table.grad[at] = self.gradient(step, number, table.detach()[at], at)
            adam.step()
        return [table.detach() for table in tables]

    def make(self, decay):
        tables = [nn.Parameter(values.clone()) for values in self.start]
        return LazyAdam(tables, self.schedule, decay)

    def run(self, lazy, start=0, stop=None):
        for step, at in list(enumerate(self.touched))[start:stop]:
            for number, row in enumerate(lazy.read(at)):
                row.grad = self.gradient(step, number, row, at)
            lazy.step()
        return lazy

    def learned(self, decay):
        lazy = self.run(self.make(decay))
        lazy.settle()
        return values_of(lazy)


def values_of(lazy):
    return [table.values.clone() for table in lazy.tables]


def relative_error(found, expected):
    return float((found - expected).norm() / expected.norm())


# -- what is learned -----------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 1e-6, 1e-3])
def test_it_is_adam_where_each_step_touches_every_row(decay):
    pull = Pull(gap=1)
    for found, expected in zip(pull.learned(decay), pull.whole(decay), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("gap", "decay", "bound"),
    [
        (2, 0.0, 2e-3),
        (10, 0.0, 0.01),
        (40, 0.0, 0.03),
        (2, 1e-6, 2e-3),
        (10, 1e-6, 0.01),
        (40, 1e-6, 0.03),
        (10, 3e-5, 0.02),
        (40, 3e-5, 0.06),
    ],
)
def test_rarely_touched_rows_learn_nearly_what_adam_teaches(gap, decay, bound):
    """Also with a prior that holds them at a tenth of what they would be.

    They start from zero, where Adam's prior cannot move those that wait for their first
    gradient.
    """
    pull = Pull(gap, seed=gap, start=0.0)
    touched = torch.cat(pull.touched).unique()
    for found, expected in zip(pull.learned(decay), pull.whole(decay), strict=True):
        assert relative_error(found[touched], expected[touched]) < bound


def test_the_prior_shrinks_rows_that_are_not_touched():
    pull = Pull(gap=30)
    free, held = pull.learned(0.0)[0], pull.learned(3e-5)[0]
    assert held.norm() < 0.7 * free.norm()


@pytest.mark.parametrize("decay", [0.0, 1e-3])
def test_rows_without_any_gradient_keep_their_bits(decay):
    pull = Pull(gap=50, n_steps=30)
    touched = torch.cat(pull.touched).unique()
    never = np.setdiff1d(np.arange(N_ROWS), touched)
    assert len(never) > 5
    for found, start in zip(pull.learned(decay), pull.start, strict=True):
        np.testing.assert_array_equal(found[never], start[never])
        assert not torch.equal(found, start)


def test_reading_changes_nothing():
    pull = Pull(gap=10)
    lazy = pull.run(pull.make(1e-6), stop=50)
    before = [*values_of(lazy), lazy.last.clone()]
    once, again = (lazy.read(torch.arange(N_ROWS)) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        assert torch.equal(one, other)
    after = [*values_of(lazy), lazy.last]
    assert all(map(torch.equal, before, after))


@pytest.mark.parametrize(("decay", "bound"), [(0.0, 1e-4), (3e-6, 0.02)])
def test_bringing_rows_up_to_date_early_changes_little(decay, bound):
    pull = Pull(gap=20)
    lazy = pull.make(decay)
    for start in range(0, N_STEPS, 30):
        pull.run(lazy, start, start + 30).settle()
    for found, expected in zip(values_of(lazy), pull.learned(decay), strict=True):
        assert relative_error(found, expected) < bound


def test_settling_twice_is_settling_once():
    lazy = Pull(gap=20).make(1e-6)
    Pull(gap=20).run(lazy).settle()
    before = values_of(lazy)
    lazy.settle()
    assert all(map(torch.equal, before, values_of(lazy)))


def test_rows_are_settled_in_parts(monkeypatch):
    whole = Pull(gap=20).learned(1e-6)
    monkeypatch.setattr(_lazy_adam, "ROWS_AT_ONCE", 7)
    for found, expected in zip(Pull(gap=20).learned(1e-6), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_a_row_whose_loss_says_nothing_goes_on_with_its_mean():
    """A table that the loss does not read has no gradient: as good as one of zeros."""
    pull = Pull(gap=1)
    lazy, other = (pull.run(pull.make(0.0), stop=10) for _ in range(2))
    at = torch.arange(N_ROWS)
    lazy.read(at)
    lazy.step()
    for row in other.read(at):
        row.grad = torch.zeros_like(row)
    other.step()
    assert all(map(torch.equal, values_of(lazy), values_of(other)))


# -- what was missed -----------------------------------------------------------------


def constant(rate):
    return lambda step: rate


@settings(max_examples=30)
@given(last=st.integers(1, 400), lag=st.integers(0, 300))
def test_what_moves_a_row_is_the_sum_over_the_missed_steps(last, lag):
    schedule = Schedule(0.01, 700, 0.05)
    missed = Missed(schedule, 0.0, torch.device("cpu"))
    gap = missed.since(torch.tensor([last], dtype=torch.int32), last + lag)
    moved, mean, square = 0.0, 1.0, 1.0
    for step in range(last + 1, last + lag + 1):
        mean, square = mean * BETA1, square * BETA2
        corrected = mean / (1 - BETA1**step) / np.sqrt(square / (1 - BETA2**step))
        moved += schedule(step - 1) * corrected
    assert float(gap.moved) == pytest.approx(moved, rel=1e-4, abs=1e-7)
    assert float(gap.means) == pytest.approx(mean, rel=1e-5, abs=1e-12)
    assert float(gap.squares) == pytest.approx(square, rel=1e-5, abs=1e-12)
    assert float(gap.shrunk) == 0


@settings(max_examples=30)
@given(last=st.integers(1, 500), lag=st.integers(0, 500), change=st.integers(0, 1000))
def test_each_missed_step_shrinks_by_its_own_decay(last, lag, change):
    """The decay is three times as much after some step."""
    missed = Missed(constant(0.01), 1e-5, torch.device("cpu"))
    missed.set_decay(3e-5, change)
    gap = missed.since(torch.tensor([last], dtype=torch.int32), last + lag)
    assert float(gap.moved) >= 0
    steps = np.arange(last + 1, last + lag + 1)
    rates = 0.01 * np.sqrt(1 - BETA2**steps) / (1 - BETA1**steps)
    shares = np.where(steps > change, 3e-5, 1e-5)
    waits = steps - last
    whole = float((rates * shares * BETA2 ** (-waits / 2)).sum())
    building_up = 3e-5 * float(gap.moved)
    assert float(gap.shrunk) == pytest.approx(whole - building_up, rel=0.12, abs=1e-8)


def test_a_row_that_never_had_a_gradient_missed_nothing():
    missed = Missed(constant(0.01), 1e-5, torch.device("cpu"))
    gap = missed.since(torch.tensor([0, 1], dtype=torch.int32), 200)
    assert float(gap.shrunk[0]) == 0 < float(gap.shrunk[1])


def test_nothing_overflows_in_a_long_training():
    missed = Missed(constant(0.01), 1e-5, torch.device("cpu"))
    gap = missed.since(torch.tensor([0, 1, 2**16], dtype=torch.int32), 2**16)
    assert all(torch.isfinite(part).all() for part in gap)
    rows = _lazy_adam.Table(*(torch.ones(3, 2) for _ in range(3)))
    values = gap.applied(rows, 1e-5).values
    assert values[0].tolist() != [0, 0]
    np.testing.assert_allclose(values[1], 0, rtol=0, atol=1e-5)
    assert values[2].tolist() == [1, 1]


def test_tables_that_grow_say_the_same():
    small = Missed(Schedule(0.01, 5000, 0.05), 1e-5, torch.device("cpu"))
    large = Missed(Schedule(0.01, 5000, 0.05), 1e-5, torch.device("cpu"))
    last = torch.tensor([1, 500, 900, 1023], dtype=torch.int32)
    large.since(last, 4 * FIRST_STEPS)
    for one, other in zip(
        small.since(last, 1023), large.since(last, 1023), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-9)


# -- state ---------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 123])
def test_its_state_goes_on_to_the_same_bits(stop, monkeypatch, tmp_path):
    monkeypatch.setattr(_lazy_adam, "FIRST_STEPS", 64)
    pull = Pull(gap=15)
    straight = pull.run(pull.make(1e-6))
    killed = pull.run(pull.make(1e-6), stop=stop)
    torch.save(killed.state_dict(), tmp_path / "state")
    resumed = pull.make(1e-6)
    for table, values in zip(resumed.tables, values_of(killed), strict=True):
        table.values.copy_(values)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    pull.run(resumed, start=stop)
    for lazy in (straight, resumed):
        lazy.settle()
    assert all(map(torch.equal, values_of(straight), values_of(resumed)))


def test_it_waits_for_no_device():
    """On a device without values: whatever looks at one fails."""
    with valueless_gpus():
        table = nn.Parameter(torch.empty(100, 8, device="cuda"))
        bias = nn.Parameter(torch.empty(100, device="cuda"))
        lazy = LazyAdam([table, bias], Schedule(0.01, 100, 0.05), 1e-6)
        at = torch.empty(10, dtype=torch.int64, device="cuda")
        for _ in range(3):
            for row in lazy.read(at):
                assert row.device.type == "cuda"
                row.grad = torch.empty_like(row)
            lazy.step()


@pytest.mark.gpu
def test_on_cuda_it_learns_the_same_without_waiting():
    pull = Pull(gap=10)
    expected = pull.learned(1e-6)
    tables = [nn.Parameter(values.cuda()) for values in pull.start]
    lazy = LazyAdam(tables, pull.schedule, 1e-6)
    touched = [at.cuda() for at in pull.touched]
    targets = [target.cuda() for target in pull.targets]
    noise = [[part.cuda() for part in parts] for parts in pull.noise]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step, at in enumerate(touched):
            for number, row in enumerate(lazy.read(at)):
                pulled = row.detach() - targets[number][at]
                row.grad = 1e-4 * (pulled + noise[step][number][at])
            lazy.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    lazy.settle()
    for found, values in zip(values_of(lazy), expected, strict=True):
        np.testing.assert_allclose(found.cpu(), values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7,), (7, 5), (7, 1), (7, 2, 3), (7, 0)])
@pytest.mark.parametrize("at", [[], [3], [6, 0, 2]])
def test_rows_are_written_where_they_belong(dtype, shape, at):
    table = torch.randn(shape, dtype=torch.float64).to(dtype)
    places = torch.tensor(at, dtype=torch.int64)
    # Of another layout too: rows come out of sums and products.
    rows = torch.randn((*shape[1:], len(at)), dtype=torch.float64).to(dtype)
    rows = rows.movedim(-1, 0)
    expected = table.clone().index_copy_(0, places, rows)
    before = table.data_ptr()
    write_rows(table, places, rows)
    assert table.data_ptr() == before
    assert torch.equal(table, expected)


def test_rows_of_a_table_that_is_a_view_are_written_too():
    wide = torch.zeros(6, 4)
    write_rows(wide[:, :2], torch.tensor([1, 4]), torch.ones(2, 2))
    assert wide.sum() == wide[[1, 4], :2].sum() == 4
