"""What there is to learn from, and an untrained network for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from skmmrec.catalog import Blocks
from skmmrec.fusion import get_fusion
from skmmrec.fusion._stack import StackFusion
from skmmrec.recommender._examples import Examples, make_examples, weights_and_answers
from skmmrec.recommender._graph import ItemGraph
from skmmrec.recommender._history import History
from skmmrec.recommender._network import FusionNetwork
from skmmrec.recommender._tasks import Task
from skmmrec.recommender._towers import TOWERS, NoTower, SequenceTower, UserTower

if TYPE_CHECKING:
    from skmmrec.recommender._estimator import MultimodalFusionRecommender


@dataclass(frozen=True)
class Problem:
    """What there is to learn from.

    Attributes
    ----------
    seen, history : History
        Every pair met, with weights and answers; those that make up the histories.
    tasks : list of Task
        What is to be predicted.
    content : Blocks
        Of all items, in the space of the network.
    user_content : Blocks or None
        Of all users.
    graph : ItemGraph or None
        Neighbours of all items.
    is_transfer : bool
        Whether what is not about single items or users was learned elsewhere.
    """

    seen: History
    history: History
    tasks: list[Task]
    content: Blocks
    user_content: Blocks | None
    graph: ItemGraph | None
    is_transfer: bool = False

    @cached_property
    def examples(self) -> Examples:
        """Pairs to learn from."""
        return make_examples(self.seen, self.history, self.tasks)


def make_network(rec: MultimodalFusionRecommender, problem: Problem) -> FusionNetwork:
    """Untrained network whose biases are what is known without users."""
    dim = network_width(rec, problem.content)
    content, users = problem.content, problem.user_content
    network = FusionNetwork(
        len(content),
        make_fusion(rec, content),
        make_tower(rec, dim),
        n_users=len(problem.history.lengths) if has_user_embedding(rec) else 0,
        user_fusion=get_fusion("concat")(list(users.widths.values()), dim)
        if users is not None and users.values
        else None,
        n_tasks=len(problem.tasks),
    )
    if rec.mode == "content":
        with torch.no_grad():
            network.item_embedding.zero_()
        return network
    _set_biases(network, problem, rec.cold_popularity)
    return network


def network_width(rec: MultimodalFusionRecommender, content: Blocks) -> int:
    """Width of the item and user vectors."""
    if rec.mode == "content":
        return max(1, sum(content.widths.values()))
    return rec.n_factors


def make_fusion(rec: MultimodalFusionRecommender, content: Blocks) -> Any:
    """Fusion module for this content; None where there is nothing to fuse."""
    widths = list(content.widths.values())
    if not widths:
        return None
    if rec.mode == "content":
        return StackFusion(widths)
    return get_fusion(rec.fusion)(widths, rec.n_factors)


def make_tower(rec: MultimodalFusionRecommender, dim: int) -> UserTower:
    """User tower of the mode."""
    if rec.mode == "factors":
        return NoTower(dim, rec.history_exponent)
    kind = "mean" if rec.mode == "content" else rec.user_tower
    if kind == "sequence":
        return SequenceTower(dim, rec.history_exponent, rec.max_history)
    return TOWERS[kind](dim, rec.history_exponent)


def has_user_embedding(rec: MultimodalFusionRecommender) -> bool:
    """Whether users have vectors of their own."""
    return rec.mode == "factors" or (rec.mode == "fusion" and rec.user_embedding)


def _set_biases(
    network: FusionNetwork, problem: Problem, cold_popularity: float
) -> None:
    seen, popularity = problem.seen, problem.history.popularity
    weights, answers = weights_and_answers(seen, len(problem.tasks))
    biases = [network.item_bias, *(head.bias for head in network.heads)]
    for number, (task, bias) in enumerate(zip(problem.tasks, biases, strict=True)):
        start = task.start_biases(
            popularity, cold_popularity, seen.items, answers[:, number], weights
        )
        with torch.no_grad():
            bias.copy_(torch.from_numpy(start))
