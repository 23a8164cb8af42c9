"""What there is to learn from, and an untrained network for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.fusion import Fusion, StackFusion, make_fusion
from skmmrec.interactions import History
from skmmrec.recommender._user_towers import TowerSettings
from skmmrec.recommender.network import (
    FusionNetwork,
    ItemGraph,
    NoTowerModule,
    Task,
    UserTower,
)
from skmmrec.runtime import cached_property


@dataclass(frozen=True)
class Examples:
    """Pairs of users and items to learn from.

    Attributes
    ----------
    users, items : ndarray of shape (n,), int64
        Positions.
    answers : ndarray of shape (n, n_tasks), float32
        What each task is to predict; NaN where it has no answer.
    counted : ndarray of shape (n, n_tasks), bool
        Whether each task learns from the pair.
    weights : ndarray of shape (n,), float32
        Sample weights.
    before : ndarray of shape (n,), int64
        How many items of the user's history came before.
    held : ndarray of shape (n,), bool
        Whether the pair is in the user's history.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    answers: NDArray[np.float32]
    counted: NDArray[np.bool_]
    weights: NDArray[np.float32]
    before: NDArray[np.int64]
    held: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray) -> Examples:
        """Select examples by position or mask."""
        return Examples(*(column[rows] for column in self.columns()))

    def columns(self) -> list[NDArray]:
        """All attributes, in their order."""
        return [getattr(self, field.name) for field in fields(self)]

    def places_in(self, history: History) -> NDArray[np.int64]:
        """Entry of each pair in the history; arbitrary for a pair that is not in it."""
        last = max(0, len(history.items) - 1)
        return np.minimum(history.offsets[self.users] + self.before, last)


def make_examples(seen: History, history: History, tasks: Sequence[Task]) -> Examples:
    """Pairs that at least one task learns from.

    Parameters
    ----------
    seen : History
        Every pair met, with weight and answers as values, or None for plain likes.
    history : History
        Those of them that make up the users' histories, in the same order.
    tasks : sequence of Task
        What is to be predicted.
    """
    users = seen.users
    held = history.holds(users, seen.items)
    passed: NDArray = np.cumsum(held) - held
    before = passed - history.offsets[users]
    weights, answers = weights_and_answers(seen, len(tasks))
    columns = zip(tasks, answers.T, strict=True)
    counted = np.stack([task.learns_from(column) for task, column in columns], axis=1)
    examples = Examples(users, seen.items, answers, counted, weights, before, held)
    taught = counted.any(axis=1)
    return examples if taught.all() else examples.take(np.flatnonzero(taught))


def weights_and_answers(
    seen: History, n_tasks: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight, of shape (n,), and answers, of shape (n, n_tasks), of every pair met."""
    n = len(seen.items)
    weights = np.ones(n, np.float32) if seen.values is None else seen.values[:, 0]
    if seen.values is None or seen.values.shape[1] == 1:
        return weights, np.ones((n, n_tasks), np.float32)
    return weights, seen.values[:, 1:]


@dataclass(frozen=True)
class Problem:
    """What there is to learn from.

    Attributes
    ----------
    seen, history : History
        Every pair met, with weights and answers; those that make up the histories.
    tasks : sequence of Task
        What is to be predicted.
    content : Blocks
        Of all items, in the space of the network.
    user_content : Blocks or None
        Of all users.
    graph : ItemGraph or None
        Neighbours of all items.
    propagation : float
        Share of an item's vector that comes from these.
    """

    seen: History
    history: History
    tasks: Sequence[Task]
    content: Blocks
    user_content: Blocks | None = None
    graph: ItemGraph | None = None
    propagation: float = 0.0

    @cached_property
    def examples(self) -> Examples:
        """Pairs to learn from."""
        return make_examples(self.seen, self.history, self.tasks)


@dataclass(frozen=True)
class NetworkDesign:
    """What a network is made of.

    Attributes
    ----------
    fusion : str or Fusion subclass
        What fuses the content of an item; where there is no content, nothing does.
    tower : TowerSettings or None
        What makes a user of a history; None: histories say nothing.
    n_factors : int or None
        Width of the vectors; None: that of the content, which stands side by side.
    user_embedding : bool
        Whether users have vectors of their own.
    """

    fusion: str | type[Fusion]
    tower: TowerSettings | None
    n_factors: int | None
    user_embedding: bool

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to learn."""
        return self.n_factors is not None

    def make(self, problem: Problem) -> FusionNetwork:
        """Untrained network with biases of zero."""
        widths = list(problem.content.widths.values())
        dim = max(1, sum(widths)) if self.n_factors is None else self.n_factors
        users = problem.user_content
        network = FusionNetwork(
            len(problem.content),
            self._make_fusion(widths, dim),
            self._make_tower(dim),
            n_users=len(problem.history.lengths) if self.user_embedding else 0,
            user_fusion=make_fusion("concat", list(users.widths.values()), dim)
            if users is not None and users.values
            else None,
            n_tasks=len(problem.tasks),
        )
        if not self.is_trained:
            with torch.no_grad():
                network.item_embedding.zero_()
        return network

    def _make_fusion(self, widths: list[int], dim: int) -> Fusion | None:
        if not widths:
            return None
        if self.n_factors is None:
            return StackFusion(widths)
        return make_fusion(self.fusion, widths, dim)

    def _make_tower(self, dim: int) -> UserTower:
        return NoTowerModule(dim) if self.tower is None else self.tower.build(dim)


def make_network(
    design: NetworkDesign, problem: Problem, cold_popularity: float
) -> FusionNetwork:
    """Untrained network whose biases start from the popularity of the items."""
    network = design.make(problem)
    if design.is_trained:
        _set_biases(network, problem, cold_popularity)
    return network


def _set_biases(
    network: FusionNetwork, problem: Problem, cold_popularity: float
) -> None:
    seen, popularity = problem.seen, problem.history.popularity
    weights, answers = weights_and_answers(seen, len(problem.tasks))
    biases = zip(problem.tasks, network.biases, strict=True)
    for number, (task, bias) in enumerate(biases):
        start = task.start_biases(
            popularity, cold_popularity, seen.items, answers[:, number], weights
        )
        with torch.no_grad():
            bias.copy_(torch.from_numpy(start))


def met_items(problem: Problem) -> NDArray[np.bool_]:
    """Tell which items occur in the histories or the examples of a problem."""
    met = np.zeros(problem.seen.n_items, bool)
    met[problem.history.items] = met[problem.examples.items] = True
    return met


@torch.no_grad()
def forget_unmet(networks: Sequence[FusionNetwork], met: NDArray[np.bool_]) -> None:
    """Zero the embeddings of items that were never trained on."""
    for network in networks:
        network.item_embedding[torch.from_numpy(~met)] = 0.0
