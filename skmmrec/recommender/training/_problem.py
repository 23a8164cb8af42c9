"""What there is to learn from, in batches, and an untrained network for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skmmrec.catalog import Blocks
from skmmrec.fusion import Fusion, StackFusion, get_fusion
from skmmrec.interactions import History
from skmmrec.recommender._user_towers import TowerSettings
from skmmrec.recommender.network import (
    FusionNetwork,
    ItemGraph,
    NoTowerModule,
    Past,
    Targets,
    Task,
    UserTower,
    teaches,
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
    weights: NDArray[np.float32]
    before: NDArray[np.int64]
    held: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray) -> Examples:
        """Select examples by position or mask."""
        return Examples(*(getattr(self, field.name)[rows] for field in fields(self)))

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
    held = history.to_csr(bool)[users, seen.items]
    held = np.asarray(held, dtype=bool).reshape(-1)
    passed = np.cumsum(held) - held
    before = passed - history.offsets[users]
    weights, answers = weights_and_answers(seen, len(tasks))
    examples = Examples(users, seen.items, answers, weights, before, held)
    return examples.take(teaches(tasks, answers))


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
class Batch:
    """One step's pairs, with items numbered by their place in `needed`.

    Attributes
    ----------
    needed : tensor of shape (n_needed,), int64
        Items that occur, as positions in the catalogue.
    past : Past
        Whole histories of the users that occur.
    users : tensor of shape (n_users,), int64
        These users, as positions.
    targets : Targets
        The pairs.
    negatives : tensor of shape (k,), int64
        Items that the positives are ranked against.
    spared : tensor of shape (n_users, k), bool, or None
        True where a user likes a drawn item, which then is no negative for that user;
        None: drawn items are negatives for everybody.
    answers, weights : tensors of shape (p, n_tasks) and (p,)
        As in `Examples`.
    """

    needed: Tensor
    past: Past
    users: Tensor
    targets: Targets
    negatives: Tensor
    spared: Tensor | None
    answers: Tensor
    weights: Tensor

    def to(self, device: Any) -> Batch:
        """Move every tensor to a device."""
        return Batch(*(_to(getattr(self, f.name), device) for f in fields(self)))


class Batcher:
    """Makes batches of examples.

    Parameters
    ----------
    history : History
        The users' histories; values, if any, are the signals of their items.
    examples : Examples
        What to learn from.
    n_negatives : int
        Items drawn for each batch; all that anyone liked where they are no more.
    own_negatives : bool
        Whether what a user likes is left among the negatives.
    by_popularity : bool
        Draw them by popularity instead of uniformly.
    generator : torch.Generator
        What is drawn comes from it, on the host.
    max_history : int or None
        About how many items of a longer history are drawn for each batch; None: all.
    """

    def __init__(
        self,
        history: History,
        examples: Examples,
        n_negatives: int,
        *,
        own_negatives: bool,
        by_popularity: bool,
        generator: torch.Generator,
        max_history: int | None = None,
    ) -> None:
        self.generator = generator
        self.max_history = max_history
        self.history = history
        self.examples = examples
        self.n_negatives = n_negatives
        self.own_negatives = own_negatives
        popularity = torch.as_tensor(history.popularity, dtype=torch.float64)
        liked = popularity > 0
        self.everything = None
        if int(liked.sum()) <= n_negatives:
            self.everything = liked.nonzero().squeeze(1)
        mass = popularity if by_popularity else liked.double()
        self.cumulative = mass.cumsum(0)
        shares = mass.clamp(min=0.5) / mass.sum()
        self.log_q = torch.log(shares).float()
        if self.everything is not None:
            self.log_q.zero_()

    def batch(self, rows: NDArray) -> Batch:
        """Batch of the examples at `rows`."""
        chosen = self.examples.take(rows)
        users, user_rows = np.unique(chosen.users, return_inverse=True)
        whole = self.history.take(users)
        past, held = self._draw_past(whole, user_rows, chosen)
        drawn = self._draw_negatives()
        needed, (items, targets, negatives) = _compact(
            [
                torch.as_tensor(past.items),
                torch.as_tensor(chosen.items),
                drawn,
            ],
            self.history.n_items,
        )
        signals = None if past.values is None else torch.as_tensor(past.values)
        return Batch(
            needed,
            Past(
                items,
                torch.as_tensor(past.offsets),
                signals,
                None if past is whole else torch.as_tensor(whole.lengths),
            ),
            torch.as_tensor(users),
            Targets(
                torch.as_tensor(user_rows),
                targets,
                torch.as_tensor(chosen.before),
                torch.as_tensor(held),
                self._signals_of(chosen, held),
            ),
            negatives,
            self._liked(whole, drawn),
            torch.as_tensor(chosen.answers),
            torch.as_tensor(chosen.weights),
        )

    def _draw_past(
        self, past: History, user_rows: NDArray, chosen: Examples
    ) -> tuple[History, NDArray[np.bool_]]:
        """Thin out long histories; also tells which pairs they still hold."""
        if self.max_history is None or (past.lengths <= self.max_history).all():
            return past, chosen.held
        shares = self.max_history / np.maximum(past.lengths, 1)
        dice = torch.rand(len(past.items), generator=self.generator).numpy()
        kept = dice < np.repeat(shares, past.lengths)
        entries = np.minimum(past.offsets[user_rows] + chosen.before, len(kept) - 1)
        return past.where(kept), chosen.held & kept[entries]

    def _signals_of(self, chosen: Examples, held: NDArray) -> Tensor | None:
        """Signal that each pair has in the history; 0 where it is not there."""
        if self.history.values is None:
            return None
        signals = self.history.values[chosen.places_in(self.history)]
        return torch.as_tensor(np.where(held, signals, 0).astype(np.float32))

    def _draw_negatives(self) -> Tensor:
        if self.everything is not None:
            return self.everything
        draws = torch.rand(
            self.n_negatives, dtype=torch.float64, generator=self.generator
        )
        return torch.searchsorted(
            self.cumulative, draws * self.cumulative[-1], right=True
        )

    def _liked(self, past: History, negatives: Tensor) -> Tensor | None:
        """Tell which negatives are among what each user likes: (n_users, k)."""
        if self.own_negatives:
            return None
        table = past.where(past.liked).to_csr(bool)[:, negatives.numpy()]
        return torch.as_tensor(table.toarray())


def _compact(groups: list[Tensor], n_items: int) -> tuple[Tensor, list[Tensor]]:
    """Positions that occur in any group, and the groups renumbered by them."""
    used = torch.zeros(n_items, dtype=torch.bool)
    for group in groups:
        used[group] = True
    number = used.cumsum(0) - 1
    return used.nonzero().squeeze(1), [number[group] for group in groups]


def _to(value: Any, device: Any) -> Any:
    if isinstance(value, Past | Targets):
        return type(value)(*(_to(part, device) for part in value))
    return None if value is None else value.to(device)


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
            user_fusion=get_fusion("concat")(list(users.widths.values()), dim)
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
        return get_fusion(self.fusion)(widths, dim)

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
