"""The torch side: item vectors, user vectors, biases. Knows no ids and no tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skmmrec.fusion import Fusion
from skmmrec.recommender.network._towers import UserTower

# Parameters with a row for each item, and for each user.
BY_ITEM = ("item_embedding", "item_bias")
BY_USER = ("user_embedding",)
# Small beside fused content of length 1, so that content speaks first. An older choice,
# made while looking at test rows (benchmarks/README.md).
ID_INIT_STD = 0.01


class TaskHead(nn.Module):
    """Scores of one more task: its own gates on the factors and its own biases."""

    def __init__(self, n_items: int, dim: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(n_items))


class Rows(NamedTuple):
    """What some items and users have of their own.

    Attributes
    ----------
    at : tensor of shape (n,), int64
        Positions of the items, distinct and ascending.
    items : tensor of shape (n, dim)
        Their embeddings.
    biases : tuple of tensors of shape (n,)
        Their biases, for each task.
    users : tensor of shape (n_users, dim) or None
        Embeddings of the users, where users have any.
    """

    at: Tensor
    items: Tensor
    biases: tuple[Tensor, ...]
    users: Tensor | None

    @classmethod
    def of(cls, at: Tensor, items: Sequence[Tensor], users: Sequence[Tensor]) -> Rows:
        """Rows of `FusionNetwork.item_tables` and `FusionNetwork.user_tables`."""
        return cls(at, items[0], tuple(items[1:]), users[0] if users else None)


class FusionNetwork(nn.Module):
    """Items are an embedding plus fused content, users what a tower makes of items.

    Parameters
    ----------
    n_items, n_users : int
        Sizes of the catalogue and, where users have embeddings, of the user base.
    fusion : Fusion or None
        Makes one vector from the content; None where there is no content.
    tower : UserTower
        Makes a user's vector from the item vectors of the history.
    user_fusion : Fusion or None
        Makes one vector from the content of a user; None where there is none.
    n_tasks : int
        Number of tasks; those after the first have heads of their own.
    """

    def __init__(
        self,
        n_items: int,
        fusion: Fusion | None,
        tower: UserTower,
        *,
        n_users: int = 0,
        user_fusion: Fusion | None = None,
        n_tasks: int = 1,
    ) -> None:
        super().__init__()
        dim = len(tower.default)
        self.item_embedding = nn.Parameter(torch.randn(n_items, dim).mul_(ID_INIT_STD))
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        self.fusion = fusion
        self.tower = tower
        self.user_embedding = nn.Parameter(torch.randn(n_users, dim).mul_(ID_INIT_STD))
        self.user_fusion = user_fusion
        self.extra_heads = nn.ModuleList(
            TaskHead(n_items, dim) for _ in range(n_tasks - 1)
        )
        self.log_variances = nn.Parameter(torch.zeros(n_tasks))
        self.tilt = nn.Parameter(torch.zeros(()))

    @property
    def dim(self) -> int:
        """Width of the item and user vectors."""
        return len(self.tower.default)

    @property
    def heads(self) -> list[TaskHead]:
        """Heads of the tasks after the first."""
        return [head for head in self.extra_heads if isinstance(head, TaskHead)]

    @property
    def biases(self) -> list[nn.Parameter]:
        """Biases of the items, for each task."""
        return [self.item_bias, *(head.bias for head in self.heads)]

    @property
    def item_tables(self) -> list[nn.Parameter]:
        """Embeddings and biases: parameters with a row for each item."""
        return [self.item_embedding, *self.biases]

    @property
    def user_tables(self) -> list[nn.Parameter]:
        """Parameters with a row for each user, where there are any."""
        return [self.user_embedding] if len(self.user_embedding) else []

    def rows(self, items: Tensor, users: Tensor) -> Rows:
        """Read the rows of items and users, each given once by its position."""
        return Rows.of(
            items,
            [table[items] for table in self.item_tables],
            [table[users] for table in self.user_tables],
        )

    @torch.no_grad()
    def append_items(self, n_items: int, biases: Sequence[float]) -> None:
        """Add items that have no embedding of their own; one bias for each task."""
        self.item_embedding = _extended(self.item_embedding, n_items, 0.0)
        self.item_bias = _extended(self.item_bias, n_items, biases[0])
        for head, bias in zip(self.heads, biases[1:], strict=True):
            head.bias = _extended(head.bias, n_items, bias)

    def keep_items(self, rows: NDArray) -> None:
        """Keep the embeddings and biases of items at these positions, in this order."""
        self.item_embedding = _taken(self.item_embedding, rows)
        self.item_bias = _taken(self.item_bias, rows)
        for head in self.heads:
            head.bias = _taken(head.bias, rows)

    @torch.no_grad()
    def append_users(self, n_users: int) -> None:
        """Add users who have no embedding of their own."""
        self.user_embedding = _extended(self.user_embedding, n_users, 0.0)

    def keep_users(self, rows: NDArray) -> None:
        """Keep the embeddings of users at these positions, in this order."""
        self.user_embedding = _taken(self.user_embedding, rows)

    def user_embeddings(self, rows: Tensor) -> Tensor | float:
        """Embeddings of the users at `rows`; 0 for one who is unknown, at row -1."""
        if len(self.user_embedding) == 0:
            return 0.0
        known = (rows >= 0).unsqueeze(1)
        return torch.where(known, self.user_embedding[rows.clamp(min=0)], 0.0)


def _extended(parameter: nn.Parameter, n_rows: int, value: float) -> nn.Parameter:
    rows = parameter.new_full((n_rows, *parameter.shape[1:]), value)
    return nn.Parameter(torch.cat([parameter, rows]))


def _taken(parameter: nn.Parameter, rows: NDArray) -> nn.Parameter:
    return nn.Parameter(parameter.detach()[torch.as_tensor(rows)])


def is_by_id(name: str) -> bool:
    """Tell by its name whether a parameter belongs to single items or users."""
    is_head_bias = name.startswith("extra_heads.") and name.endswith(".bias")
    return name in (*BY_ITEM, *BY_USER) or is_head_bias
