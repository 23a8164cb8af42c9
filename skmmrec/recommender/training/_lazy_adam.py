"""Adam for tables of which a step touches few rows, at the cost of these rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.adam import adam

# Of Adam, as in torch.
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
# Rows that are brought up to date at a time: 4 MB of each tensor at 64 factors.
ROWS_AT_ONCE = 2**14
# Steps that a row's last gradient goes on to move it: 0.9 to this power is below the
# rounding of float32.
TAIL = 256
# Steps after which a second moment is nothing, exp(-20) of itself. More would overflow.
MAX_LAG = 20_000
# Steps for which `Missed` makes its tables at first; they double.
FIRST_STEPS = 1024
# What NumPy can view; it knows no bfloat16.
_OF_NUMPY = (torch.float32, torch.float64)


class LazyAdam:
    """Adam that updates the rows of a batch, and others when they are next read.

    Adam moves each row in each step: by the moving mean of its gradients, and towards
    zero by the prior. A row that a batch reads is first given all that the steps since
    its last gradient would have done to it, in closed form (`Missed`). So what is
    learned is that of `torch.optim.Adam` up to a few percent of the rarest rows, and
    up to rounding where every step touches each row. Without this, rows that are
    touched every 100th step would move half as far, and feel hardly any prior.

    One thing differs on purpose: rows without any gradient so far stay as they are.
    Adam would move them to zero, one learning rate a step.

    Parameters
    ----------
    tables : sequence of Parameter of shape (n, ...)
        With a row for each of the same n things. They need no gradient any more.
    rates : callable
        Learning rate of each step, from the number of steps before it.
    decay : float
        How much of the first table is added to its gradient. The others have no prior.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    def __init__(
        self,
        tables: Sequence[nn.Parameter],
        rates: Callable[[int], float],
        decay: float = 0.0,
    ) -> None:
        first = tables[0]
        self.rates = rates
        self.n_steps = 0
        self.tables = [
            Table(t.detach(), torch.zeros_like(t), torch.zeros_like(t)) for t in tables
        ]
        self.last = torch.zeros(len(first), dtype=torch.int32, device=first.device)
        self.counts = [torch.zeros((), device=first.device) for _ in tables]
        self.missed = Missed(rates, decay, first.device)
        self.at = self.last[:0].long()
        self.rows: list[Table] = []

    def set_decay(self, decay: float) -> None:
        """Change how much of the first table is added to its gradient from now on."""
        self.missed.set_decay(decay, self.n_steps)

    def read(self, at: Tensor) -> list[Tensor]:
        """Rows of all tables at distinct positions, as they are after all steps so far.

        The gradients that they are given are what the next `step` uses.
        """
        self.at, self.rows = at, self._up_to_date(at)
        return [row.values.requires_grad_() for row in self.rows]

    @torch.no_grad()
    def step(self) -> None:
        """Update the rows that were read last by their gradients."""
        rate = self.rates(self.n_steps)
        self.n_steps += 1
        self._adam(slice(0, 1), rate, self.missed.decay)
        self._adam(slice(1, None), rate, 0.0)
        self._write(self.at, self.rows)
        self.rows = []

    @torch.no_grad()
    def settle(self) -> None:
        """Bring all rows up to date."""
        behind = (self.last > 0) & (self.last < self.n_steps)
        for at in behind.nonzero().squeeze(1).split(ROWS_AT_ONCE):
            self._write(at, self._up_to_date(at))

    @torch.no_grad()
    def _up_to_date(self, at: Tensor) -> list[Table]:
        missed = self.missed.since(self.last.index_select(0, at), self.n_steps)
        rows = [
            Table(*(part.index_select(0, at) for part in table))
            for table in self.tables
        ]
        decays = [self.missed.decay] + [0.0] * (len(rows) - 1)
        return [
            missed.applied(row, decay) for row, decay in zip(rows, decays, strict=True)
        ]

    @torch.no_grad()
    def _write(self, at: Tensor, rows: list[Table]) -> None:
        for table, row in zip(self.tables, rows, strict=True):
            for whole, part in zip(table, row, strict=True):
                write_rows(whole, at, part)
        self.last.index_fill_(0, at, self.n_steps)

    def _adam(self, which: slice, rate: float, decay: float) -> None:
        rows = self.rows[which]
        if not rows:
            return
        adam(
            [row.values for row in rows],
            [gradient(row.values) for row in rows],
            [row.means for row in rows],
            [row.squares for row in rows],
            [],
            self.counts[which],
            fused=True,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=rate,
            weight_decay=decay,
            eps=EPS,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything but the tables themselves."""
        moments = [(table.means, table.squares) for table in self.tables]
        return {"n_steps": self.n_steps, "last": self.last, "moments": moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; the decay must have been the same in all steps."""
        self.n_steps = state["n_steps"]
        self.last.copy_(state["last"])
        for count in self.counts:
            count.fill_(self.n_steps)
        for table, (means, squares) in zip(self.tables, state["moments"], strict=True):
            table.means.copy_(means)
            table.squares.copy_(squares)


def write_rows(table: Tensor, at: Tensor, rows: Tensor) -> None:
    """Put rows in place of those at distinct positions.

    `Tensor.index_copy_` moves number by number on the host, which takes nine times as
    long as to move rows as bytes (10,000 rows of 64 float32: 2.4 ms, and 0.27).
    """
    is_on_host = table.device.type == "cpu" and table.dtype in _OF_NUMPY
    if not is_on_host or not table.numel() or not table.is_contiguous():
        table.index_copy_(0, at, rows)
        return
    whole = table.numpy()
    row = np.dtype((np.void, whole.nbytes // len(whole)))
    part = np.ascontiguousarray(rows.numpy())
    whole.reshape(-1).view(row)[at.numpy()] = part.reshape(-1).view(row)


class Table(NamedTuple):
    """A table, or some of its rows, with the moving means of gradients and squares."""

    values: Tensor
    means: Tensor
    squares: Tensor


def gradient(values: Tensor) -> Tensor:
    """Gradient of values; zeros where nothing said anything of them."""
    return torch.zeros_like(values) if values.grad is None else values.grad


class Missed:
    """What steps do to a row that has no gradient in them.

    With m and v the moving means of a row's gradients and of their squares after its
    last gradient, a the rate of a step with Adam's corrections of both means, and k the
    steps since then, the row moves by a 0.9^k m / sqrt(0.999^k v) and shrinks by the
    prior's share of that, a (1 - 0.9^k) decay / sqrt(0.999^k v). Both are summed over
    the missed steps: the first from a table of sums to come, the second as the mean of
    a times the sum of the rest, since a changes slowly and the rest does not.

    Parameters
    ----------
    rates : callable
        Learning rate of each step, from the number of steps before it.
    decay : float
        How much of a row is added to its gradient.
    device : device
        Where the tables lie.
    """

    def __init__(
        self, rates: Callable[[int], float], decay: float, device: torch.device
    ) -> None:
        self.rates = rates
        self.decay = decay
        self.device = device
        self.decays = np.zeros(0)
        self.tails = self.sums = np.zeros(0, np.float32)
        self._reserve(FIRST_STEPS)

    def set_decay(self, decay: float, n_steps: int) -> None:
        """Change the decay for the steps after the first `n_steps`."""
        self.decay = decay
        self._reserve(n_steps)
        self.decays[n_steps:] = decay
        self._make_tables()

    def since(self, last: Tensor, n_steps: int) -> _Gap:
        """Sum up what rows have missed, from the step of each one's last gradient.

        0 stands for a row that never had one, which misses nothing.
        """
        self._reserve(n_steps)
        tails, sums, started = self.by_step.index_select(1, last).unbind()
        lagged = self.by_lag.index_select(1, n_steps - last)
        tails_since, growth, means, squares = lagged.unbind()
        moved = tails - tails_since * float(self.tails[n_steps])
        shrunk = (float(self.sums[n_steps]) - sums) * growth - self.decay * moved
        return _Gap(moved, shrunk * started, means, squares)

    def _reserve(self, n_steps: int) -> None:
        """Make tables for so many steps.

        Their size follows from that alone, so that a resumed fit computes the same.
        """
        size = len(self.decays)
        if n_steps < size:
            return
        size = max(size, FIRST_STEPS)
        while size <= n_steps:
            size *= 2
        more = np.full(size - len(self.decays), self.decay)
        self.decays = np.concatenate([self.decays, more])
        self._make_tables()

    def _make_tables(self) -> None:
        size = len(self.decays)
        steps = np.arange(1, size + TAIL + 1)
        rates = np.array([self.rates(step - 1) for step in steps.tolist()])
        rates *= np.sqrt(1 - BETA2**steps) / (1 - BETA1**steps)
        self.tails = _sums_to_come(rates, BETA1 / math.sqrt(BETA2))[: size + 1]
        sums = np.cumsum(self.decays * rates[:size])
        self.sums = np.concatenate([[0], sums]).astype(np.float32)
        started = np.arange(size + 1) > 0
        self.by_step = self._on_device(self.tails, self.sums, started)
        lags = np.arange(size + 1)
        growth = math.log(1 / BETA2) / 2 * np.clip(lags, 1, MAX_LAG)
        self.by_lag = self._on_device(
            (BETA1 / math.sqrt(BETA2)) ** lags,
            np.expm1(growth) / growth,
            BETA1**lags,
            BETA2**lags,
        )

    def _on_device(self, *columns: NDArray) -> Tensor:
        table = np.stack([column.astype(np.float32) for column in columns])
        return torch.from_numpy(table).to(self.device)


def _sums_to_come(values: NDArray, ratio: float) -> NDArray[np.float32]:
    """Sum, at each place, the values from there on times powers of the ratio."""
    weights = ratio ** np.arange(1, TAIL + 1)
    return np.convolve(values, weights[::-1])[TAIL - 1 :].astype(np.float32)


class _Gap(NamedTuple):
    """What each of n rows has missed.

    Attributes
    ----------
    moved, shrunk : tensor of shape (n,)
        What is multiplied by m / sqrt(v), and by 1 / sqrt(v).
    means, squares : tensor of shape (n,)
        What is left of the moving means.
    """

    moved: Tensor
    shrunk: Tensor
    means: Tensor
    squares: Tensor

    def applied(self, rows: Table, decay: float) -> Table:
        """Give rows what they have missed, in place."""
        shape = (-1, *[1] * (rows.values.ndim - 1))
        moved, shrunk, means_left, squares_left = (part.view(shape) for part in self)
        values, means, squares = rows
        scale = squares.sqrt().add_(EPS)
        values.addcmul_(means / scale, moved, value=-1)
        if decay:
            values.mul_(torch.div(-shrunk, scale).exp_())
            torch.lerp(values * decay, means, means_left, out=means)
        else:
            means.mul_(means_left)
        squares.mul_(squares_left)
        return rows
