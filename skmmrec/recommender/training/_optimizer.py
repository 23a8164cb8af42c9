"""The optimizer of a network: Adam, with its schedule of rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skmmrec.recommender.network import BY_USER, FusionNetwork, Rows, is_by_id
from skmmrec.recommender.training._lazy_adam import BETA1, BETA2, EPS, LazyAdam


@dataclass(frozen=True)
class Schedule:
    """Rate of each step: a short linear warm-up, then half a cosine down to zero.

    Attributes
    ----------
    peak : float
        Highest rate.
    n_steps : int
        Steps in all.
    warmup : float
        Share of them until the peak.
    """

    peak: float
    n_steps: int
    warmup: float

    def __call__(self, step: int) -> float:
        """Rate of a step, from the number of steps before it."""
        return self.peak * self.share(step)

    def share(self, step: int) -> float:
        """Share of the peak."""
        warmup = max(1, round(self.warmup * self.n_steps))
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, self.n_steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


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
    """

    def __init__(
        self,
        network: FusionNetwork,
        schedule: Schedule,
        *,
        shared_rate: float = 1.0,
        id_decay: float = 0.0,
        lazy: frozenset[str] = frozenset(),
    ) -> None:
        self.network = network
        self.schedule = schedule
        self.n_steps = 0
        self.items = self.users = None
        if "items" in lazy:
            self.items = LazyAdam(network.item_tables, schedule, id_decay)
        if "users" in lazy:
            self.users = LazyAdam(network.user_tables, schedule)
        self.adam = self._make_adam(shared_rate, id_decay)

    def _make_adam(self, shared_rate: float, id_decay: float) -> torch.optim.Adam:
        """Adam for everything that is updated as a whole."""
        embedding = self.network.item_embedding
        by_id: list[nn.Parameter] = []
        shared: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            if parameter is not embedding and not self._is_lazy(name):
                (by_id if is_by_id(name) else shared).append(parameter)
        if shared_rate == 1:  # a group less is two operations less in each step
            by_id, shared = [*by_id, *shared], []
        groups: list[dict[str, Any]] = [
            {
                "params": [embedding] if self.items is None else [],
                "weight_decay": id_decay,
            },
            {"params": by_id},
            {"params": shared, "peak": self.schedule.peak * shared_rate},
        ]
        return torch.optim.Adam(
            [{"peak": self.schedule.peak, **group} for group in groups],
            betas=(BETA1, BETA2),
            eps=EPS,
            fused=embedding.device.type in ("cpu", "cuda"),
        )

    def _is_lazy(self, name: str) -> bool:
        tables = self.users if name in BY_USER else self.items
        return is_by_id(name) and tables is not None

    @property
    def lazy(self) -> dict[str, LazyAdam]:
        """Tables that are not updated as a whole."""
        both = {"items": self.items, "users": self.users}
        return {name: tables for name, tables in both.items() if tables is not None}

    def set_id_decay(self, decay: float) -> None:
        """Change how much of the item embeddings is added to their gradient."""
        self.adam.param_groups[0]["weight_decay"] = decay
        if self.items is not None:
            self.items.set_decay(decay)

    def read(self, items: Tensor, users: Tensor) -> Rows | None:
        """Rows of items and users, each given once, to compute a loss from.

        None: every table is updated as a whole, and the loss reads the network.
        """
        if not self.lazy:
            return None
        network = self.network
        return Rows.of(
            items,
            [table[items] for table in network.item_tables]
            if self.items is None
            else self.items.read(items),
            [table[users] for table in network.user_tables]
            if self.users is None
            else self.users.read(users),
        )

    def clear(self) -> None:
        """Forget the gradients."""
        self.adam.zero_grad(set_to_none=True)

    def clip(self, norm: float) -> None:
        """Shorten the gradient of everything to this length, if it is longer."""
        read = [row.values for tables in self.lazy.values() for row in tables.rows]
        nn.utils.clip_grad_norm_([*self.network.parameters(), *read], norm)

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
