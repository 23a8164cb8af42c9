"""The optimizer of a network: Adam, with its schedule of rates."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skmmrec.recommender.network import BY_USER, FusionNetwork, Rows, is_by_id
from skmmrec.recommender.training._lazy_adam import BETA1, BETA2, EPS, LazyAdam
from skmmrec.recommender.training._processes import sum_over_processes, world
from skmmrec.recommender.training._shared_adam import Route, SharedAdam


@dataclass(frozen=True)
class Schedule:
    """Rate of each step: a short linear warm-up, then half a cosine down.

    Attributes
    ----------
    peak : float
        Highest rate.
    n_steps : int
        Steps in all.
    warmup : float
        Share of them until the peak.
    floor : float
        Share of the peak that is left in the end.
    """

    peak: float
    n_steps: int
    warmup: float
    floor: float = 0.0

    def __call__(self, step: int) -> float:
        """Rate of a step, from the number of steps before it."""
        return self.peak * self.share(step)

    def share(self, step: int) -> float:
        """Share of the peak."""
        warmup = max(1, round(self.warmup * self.n_steps))
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, self.n_steps - warmup)
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.floor + (1 - self.floor) * falling


# No table is split.
NOTHING: Mapping[str, int] = MappingProxyType({})


class Routes(NamedTuple):
    """Who reads what in one step, of the tables of items and of users."""

    items: Route | None = None
    users: Route | None = None


class Adam(torch.optim.Adam):
    """Adam without the wrappers by which torch keeps its compiler from these methods.

    They import the compiler, which takes seconds in each process that fits, and nothing
    here is compiled.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update everything by its gradients."""
        return inspect.unwrap(torch.optim.Adam.step)(self, closure)


class Optimizer:
    """Adam, which adds the gradient of the item embeddings' prior by itself.

    As a part of the loss, that would cost a second dense gradient in each step, and
    fragment the memory.

    Parameters
    ----------
    network : FusionNetwork
        On its device.
    schedule : Schedule
        Rate of each step.
    shared_rate : float
        Rate of the parameters that all items and users share, relative to the others'.
    id_decay : float
        How much of the item embeddings is added to their gradient.
    lazy : set of {"items", "users"}
        Whose tables are updated by `LazyAdam`, the others' as a whole.
    split : mapping of {"items", "users"} to int
        Those of them of whose tables each process holds some rows, and how many these
        have in all.
    """

    def __init__(
        self,
        network: FusionNetwork,
        schedule: Schedule,
        *,
        shared_rate: float = 1.0,
        id_decay: float = 0.0,
        lazy: frozenset[str] = frozenset(),
        split: Mapping[str, int] = NOTHING,
    ) -> None:
        self.network = network
        self.schedule = schedule
        self.n_steps = 0
        self.split = split
        self.items = self.users = None
        if "items" in lazy:
            tables = LazyAdam(network.item_tables, schedule, id_decay)
            self.items = self._shared(tables, "items")
        if "users" in lazy:
            tables = LazyAdam(network.user_tables, schedule)
            self.users = self._shared(tables, "users")
        self.adam = self._make_adam(shared_rate, id_decay)

    def _shared(self, tables: LazyAdam, name: str) -> LazyAdam | SharedAdam:
        """Let all processes read and teach the tables, if there are several.

        Gradients are theirs to collect, and not those of DistributedDataParallel.
        """
        if world()[1] == 1:
            return tables
        network = self.network
        for table in network.item_tables if name == "items" else network.user_tables:
            table.requires_grad_(False)
        return SharedAdam(tables, self.split.get(name))

    def _make_adam(self, shared_rate: float, id_decay: float) -> Adam:
        """Adam for everything that is updated as a whole."""
        embedding = self.network.item_embedding
        by_id: list[nn.Parameter] = []
        shared: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            if parameter is not embedding and not self._is_lazy(name):
                (by_id if is_by_id(name) else shared).append(parameter)
        if shared_rate == 1:  # one group less saves two operations a step
            by_id, shared = [*by_id, *shared], []
        groups: list[dict[str, Any]] = [
            {
                "params": [embedding] if self.items is None else [],
                "weight_decay": id_decay,
            },
            {"params": by_id},
            {"params": shared, "peak": self.schedule.peak * shared_rate},
        ]
        return Adam(
            [{"peak": self.schedule.peak, **group} for group in groups],
            betas=(BETA1, BETA2),
            eps=EPS,
            fused=embedding.device.type in ("cpu", "cuda"),
        )

    def _is_lazy(self, name: str) -> bool:
        tables = self.users if name in BY_USER else self.items
        return is_by_id(name) and tables is not None

    @property
    def lazy(self) -> dict[str, LazyAdam | SharedAdam]:
        """Tables that are not updated as a whole."""
        both = {"items": self.items, "users": self.users}
        return {name: tables for name, tables in both.items() if tables is not None}

    @property
    def id_decay(self) -> float:
        """How much of the item embeddings is added to their gradient, if not lazily."""
        decay: float = self.adam.param_groups[0]["weight_decay"]
        return decay

    def set_id_decay(self, decay: float) -> None:
        """Change how much of the item embeddings is added to their gradient."""
        self.adam.param_groups[0]["weight_decay"] = decay
        if self.items is not None:
            self.items.set_decay(decay)

    def routes(self, steps: Sequence[tuple[Tensor, Tensor]]) -> list[Routes]:
        """Tell all processes which items and users each reads in some steps."""
        if not steps:
            return []
        parts = zip((self.items, self.users), zip(*steps, strict=True), strict=True)
        columns = [
            tables.routes(at) if isinstance(tables, SharedAdam) else [None] * len(steps)
            for tables, at in parts
        ]
        return [Routes(*of_step) for of_step in zip(*columns, strict=True)]

    def read(
        self, items: Tensor, users: Tensor, routes: Routes | None = None
    ) -> Rows | None:
        """Rows of items and users, each given once, to compute a loss from.

        None: every table is updated as a whole, and the loss reads the network. Where
        there are several processes, all of them must read at once; `routes` is what was
        told them of the step, None: they are told now.
        """
        if not self.lazy:
            return None
        network, routes = self.network, routes or Routes()
        return Rows.of(
            items,
            _read(self.items, network.item_tables, items, routes.items),
            _read(self.users, network.user_tables, users, routes.users),
        )

    def clear(self) -> None:
        """Forget the gradients."""
        self.adam.zero_grad(set_to_none=True)

    def clip(self, norm: float) -> None:
        """Shorten the gradient of everything to this length, if it is longer."""
        here: list[Tensor] = list(self.network.parameters())
        split: list[Tensor] = []
        for name, tables in self.lazy.items():
            rows = [row.values for row in tables.rows]
            (split if name in self.split else here).extend(rows)
        total = _norm(here)
        if split:
            total = (total**2 + sum_over_processes(_norm(split) ** 2)).sqrt()
        nn.utils.clip_grads_with_norm_([*here, *split], norm, total)

    def collect(self) -> None:
        """Bring the gradients of rows to the processes that update them."""
        for tables in self.lazy.values():
            if isinstance(tables, SharedAdam):
                tables.collect()

    def step(self) -> None:
        """Update everything by its gradients."""
        share = self.schedule.share(self.n_steps)
        self.n_steps += 1
        for group in self.adam.param_groups:
            group["lr"] = group["peak"] * share
        self.adam.step()
        for tables in self.lazy.values():
            tables.step()

    def settle(self) -> None:
        """Bring all rows of all tables up to date."""
        for tables in self.lazy.values():
            tables.settle()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the parameters, for a checkpoint."""
        lazy = {name: tables.state_dict() for name, tables in self.lazy.items()}
        return {"n_steps": self.n_steps, "adam": self.adam.state_dict(), "lazy": lazy}

    def knows(self, state: dict[str, Any]) -> bool:
        """Whether a state is of an optimizer like this one."""
        return set(state.get("lazy", "?")) == set(self.lazy)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that is known."""
        self.n_steps = state["n_steps"]
        self.adam.load_state_dict(state["adam"])
        for name, tables in self.lazy.items():
            tables.load_state_dict(state["lazy"][name])


class Dials:
    """What changes between the steps of an optimizer, on the device.

    With it a step is always the same operations on the same memory, and equal to
    `Optimizer.step` up to rounding. No table may be updated lazily.

    Parameters
    ----------
    optimizer : Optimizer
        Whose steps are made.

    Attributes
    ----------
    n_steps : int
        Steps so far, as the device knows it.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        schedule, groups = optimizer.schedule, optimizer.adam.param_groups
        shares = [schedule.share(step) for step in range(max(1, schedule.n_steps))]
        rates = [[group["peak"] * share for share in shares] for group in groups]
        device = optimizer.network.item_embedding.device
        self.table = torch.tensor(rates, dtype=torch.float32, device=device)
        self.rates = torch.zeros(len(groups), 1, device=device)
        self.at = torch.zeros(1, dtype=torch.long, device=device)
        self.decay = torch.zeros((), device=device)
        self.n_steps, self.id_decay = 0, 0.0

    def turn(self) -> None:
        """Tell the device what has changed since the last step, if anything has."""
        if self.n_steps != self.optimizer.n_steps:
            self.n_steps = self.optimizer.n_steps
            self.at.fill_(self.n_steps)
        if self.id_decay != self.optimizer.id_decay:
            self.id_decay = self.optimizer.id_decay
            self.decay.fill_(self.id_decay)

    def step(self) -> None:
        """Update everything by its gradients, by what the device knows."""
        torch.index_select(self.table, 1, self.at, out=self.rates)
        self.at.add_(1)
        embedding = self.optimizer.network.item_embedding
        if embedding.grad is not None:
            embedding.grad.addcmul_(embedding.detach(), self.decay)
        self._adam_step()

    def _adam_step(self) -> None:
        """Make a step of Adam by rates on the device, and leave its settings alone."""
        adam, is_recorded = self.optimizer.adam, is_recording(self.rates.device)
        kept = [dict(group) for group in adam.param_groups]
        try:
            for group, rate in zip(adam.param_groups, self.rates, strict=True):
                # Adam warns of what is capturable, but is not captured.
                group.update(lr=rate[0], weight_decay=0.0, capturable=is_recorded)
            adam.step()
        finally:
            for group, settings in zip(adam.param_groups, kept, strict=True):
                group.update(settings)


def is_recording(device: torch.device) -> bool:
    """Whether what is launched now is recorded in a CUDA graph."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def _read(
    tables: LazyAdam | SharedAdam | None,
    whole: Sequence[Tensor],
    at: Tensor,
    route: Route | None,
) -> list[Tensor]:
    if tables is None:
        return [table[at] for table in whole]
    return tables.read(at, route) if isinstance(tables, SharedAdam) else tables.read(at)


def _norm(parameters: Sequence[Tensor]) -> Tensor:
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
