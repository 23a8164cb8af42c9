"""Row-wise Adam of several processes, which send each other rows and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skmmrec.recommender.training._lazy_adam import LazyAdam, Table, gradient
from skmmrec.recommender.training._numbering import fetch, number, starts
from skmmrec.recommender.training._processes import exchange, world
from skmmrec.recommender.training._split_tables import bounds


class Route(NamedTuple):
    """Which rows of this process are read in one step, and by whom.

    Attributes
    ----------
    rows : tensor of shape (n,), int64
        Own rows that any process reads, distinct and ascending.
    places : list of tensors, int64
        For each process, where the rows that it reads are among these.
    sent : list of int
        For each process, how many of its rows this one reads.
    """

    rows: Tensor
    places: list[Tensor]
    sent: list[int]

    @property
    def received(self) -> list[int]:
        """For each process, how many rows of this one it reads."""
        return [len(places) for places in self.places]


class SharedAdam:
    """`LazyAdam` on tables that all processes of a fit read and teach.

    Either each process holds some of the rows: then it sends those that others read,
    and they send their gradients back. Or each holds all: then each sends the others
    the gradients of what it has read, and all make the same update. In both cases a
    step costs what is read, and not what there is.

    Parameters
    ----------
    lazy : LazyAdam
        Updates the rows that this process holds, in each step those that any process
        reads, by the mean of the processes' gradients.
    n_rows : int or None
        Rows that the tables have in all, where each process holds some: as many as
        any other, and those in front of the next one's. None: each process holds all.
    """

    def __init__(self, lazy: LazyAdam, n_rows: int | None = None) -> None:
        self.lazy = lazy
        self.n_own = len(lazy.last)
        self.is_split = n_rows is not None
        edges = bounds(0 if n_rows is None else n_rows)
        self.edges = torch.tensor(edges, device=lazy.last.device)
        self.own: list[Tensor] = []
        self.route: Route | None = None

    @property
    def rows(self) -> list[Table]:
        """What the next step updates, with the gradients that `collect` got."""
        return self.lazy.rows

    def set_decay(self, decay: float) -> None:
        """See `LazyAdam.set_decay`."""
        self.lazy.set_decay(decay)

    def routes(self, steps: Sequence[Tensor]) -> list[Route]:
        """Tell all processes what is read in some steps; all of them must ask at once.

        The positions that this process reads in each step are distinct and ascending.
        The others ask for as many steps.
        """
        n_steps, n_processes = len(steps), world()[1]
        at, owners, step_of = self._addressed(steps)
        sent = torch.zeros(n_processes * n_steps, dtype=torch.int64, device=at.device)
        sent.scatter_add_(0, owners * n_steps + step_of, torch.ones_like(at))
        each = [n_steps] * n_processes
        received = exchange(sent, each, each)
        n_sent, n_received = fetch(sent, received)
        asked = exchange(at, _sums(n_sent, n_steps), _sums(n_received, n_steps))
        parts = torch.arange(n_steps, device=at.device).repeat(n_processes)
        step_of = parts.repeat_interleave(received, output_size=len(asked))
        ranks, counts = number(asked, step_of, self.n_own, n_steps)
        (n_rows,) = fetch(counts)
        rows = asked.new_empty(sum(n_rows)).scatter_(0, ranks, asked)
        places = (ranks - starts(counts)[step_of]).split(n_received)
        return [
            Route(part, list(places[step::n_steps]), n_sent[step::n_steps])
            for step, part in enumerate(rows.split(n_rows))
        ]

    def _addressed(self, steps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Positions among the rows of those who are asked for them, who, and when.

        In the order of who is asked; where each process holds all, all are asked.
        """
        at, n_processes = torch.cat(list(steps)), world()[1]
        step_of = _repeated([len(part) for part in steps], at.device)
        if not self.is_split:
            owners = _repeated([len(at)] * n_processes, at.device)
            return at.repeat(n_processes), owners, step_of.repeat(n_processes)
        owners = torch.bucketize(at, self.edges[1:-1], right=True)
        order = owners.argsort(stable=True)
        owners = owners[order]
        return at[order] - self.edges[owners], owners, step_of[order]

    def read(self, at: Tensor, route: Route | None = None) -> list[Tensor]:
        """Rows of all tables at distinct, ascending positions; see `LazyAdam.read`.

        Positions are among the rows of all processes. `route` is what `routes` told of
        the step; None: it is asked now.
        """
        self.route = self.routes([at])[0] if route is None else route
        rows = _side_by_side(self.lazy.read(self.route.rows))
        if self.is_split:
            read = rows[torch.cat(self.route.places)]
            read = exchange(read, self.route.received, self.route.sent)
        else:
            read = rows[self.route.places[world()[0]]]
        self.own = [part.requires_grad_() for part in self._apart(read)]
        return self.own

    @torch.no_grad()
    def collect(self) -> None:
        """Send the gradients of what was read, and add up those that arrive.

        Process by process, in their order: no sum depends on what comes first.
        """
        assert self.route is not None
        given = _side_by_side([gradient(rows) for rows in self.own])
        if not self.is_split:
            given = given.repeat(world()[1], 1)
        arrived = exchange(given, self.route.sent, self.route.received)
        total = given.new_zeros((len(self.route.rows), given.shape[1]))
        parts = arrived.split(self.route.received)
        for places, part in zip(self.route.places, parts, strict=True):
            total.index_add_(0, places, part)
        means = self._apart(total / world()[1])
        for row, mean in zip(self.lazy.rows, means, strict=True):
            row.values.grad = mean

    def step(self) -> None:
        """Update the rows of this process that were read last."""
        self.lazy.step()
        self.own, self.route = [], None

    def settle(self) -> None:
        """Bring all rows of this process up to date."""
        self.lazy.settle()

    def _apart(self, rows: Tensor) -> list[Tensor]:
        """Rows of each table from those of all tables side by side."""
        shapes = [table.values.shape[1:] for table in self.lazy.tables]
        parts = rows.split([shape.numel() for shape in shapes], dim=1)
        return [
            part.contiguous().view(len(rows), *shape)
            for part, shape in zip(parts, shapes, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        """See `LazyAdam.state_dict`; of the rows of this process."""
        return self.lazy.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same process."""
        self.lazy.load_state_dict(state)


def _side_by_side(tables: Sequence[Tensor]) -> Tensor:
    """Rows of several tables as one matrix."""
    wide = [t.detach().unsqueeze(1) if t.ndim == 1 else t.detach() for t in tables]
    return torch.cat(wide, dim=1)


def _repeated(counts: Sequence[int], device: torch.device) -> Tensor:
    """Places of the counts, each as often as its count says."""
    numbers = torch.tensor(counts, device=device)
    return torch.repeat_interleave(numbers, output_size=sum(counts))


def _sums(counts: Sequence[int], n_steps: int) -> list[int]:
    """For each process, the sum over all steps."""
    return [
        sum(counts[start : start + n_steps]) for start in range(0, len(counts), n_steps)
    ]
