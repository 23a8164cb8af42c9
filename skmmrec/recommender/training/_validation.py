"""Held-out likes, which judge each epoch and decide when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skmmrec.catalog import Blocks
from skmmrec.interactions import History
from skmmrec.metrics import find_hits, judge, parse_metric
from skmmrec.recommender.network import (
    Array,
    FusionNetwork,
    ItemGraph,
    Rows,
    VectorMaker,
    accelerator,
    namespace,
    place,
    row_blocks,
    spread_vectors,
    to_host,
)
from skmmrec.recommender.training._batch import Batch
from skmmrec.recommender.training._batches import Batcher
from skmmrec.recommender.training._problem import Examples
from skmmrec.recommender.training._step import LossOfBatch
from skmmrec.retrieval import top_k

# The standard error of an NDCG near 0.3 over 2,000 users is below 0.01.
MAX_USERS = 2000


@dataclass(frozen=True)
class HeldOut:
    """Users with the likes that training does not see.

    Attributes
    ----------
    users : ndarray of shape (n,), int64
        Positions of the users.
    known : History
        Their likes that training sees.
    hidden : History
        Their likes that it does not.
    """

    users: NDArray[np.int64]
    known: History
    hidden: History

    def user_tensor(
        self,
        maker: VectorMaker,
        items: Array,
        content: Blocks | None,
        half_life: float | None = None,
    ) -> Tensor:
        """Make vectors of the users by what is known; `content` is of everybody."""
        own = None if content is None else content.take(self.users)
        return maker.user_tensor(items, self.known, self.users, own, half_life)


def hide_examples(
    examples: Examples, history: History, share: float, rng: np.random.RandomState
) -> tuple[Examples, Examples, History]:
    """Take a share of the examples away, at least one and not all of them.

    Returns the rest and the hidden ones, both of users with the histories that are
    returned last: what is left of them.
    """
    if len(examples) < 2:
        raise ValueError("early_stopping needs two rows to learn from")
    chosen = np.zeros(len(examples), bool)
    number = min(max(1, round(share * len(examples))), len(examples) - 1)
    chosen[rng.permutation(len(examples))[:number]] = True
    gone = np.zeros(len(history.items), bool)
    gone[examples.places_in(history)[chosen & examples.held]] = True
    hidden = without(examples, history, gone, ~chosen)
    return (
        without(examples, history, gone, chosen),
        replace(hidden, held=np.zeros(len(hidden), bool)),
        history.where(~gone),
    )


def some_users(
    examples: Examples, history: History, n_examples: int, rng: np.random.RandomState
) -> tuple[Examples, History]:
    """Choose users at random until they have about so many examples together."""
    if len(examples) <= n_examples:
        return examples, history
    counts = np.bincount(examples.users, minlength=len(history.lengths))
    order = rng.permutation(len(counts))
    left_out = order[np.cumsum(counts[order]) > n_examples]
    gone = np.isin(history.users, left_out)
    dropped = np.isin(examples.users, left_out)
    return without(examples, history, gone, dropped), history.where(~gone)


def hide_likes(
    history: History, share: float, rng: np.random.RandomState
) -> tuple[NDArray[np.bool_], HeldOut]:
    """Hide a share of the likes, leaving every user at least one.

    Returns which entries of the history are hidden, and at most 2,000 of the users
    concerned. A ValueError says that nobody has two likes.
    """
    dice = rng.rand(len(history.items))
    best = np.full(len(history.lengths), -1.0)
    np.maximum.at(best, history.users, dice)
    may_go = dice < best[history.users]
    hidden = (dice < share) & may_go
    if not may_go.any():
        raise ValueError("early_stopping needs a user with two liked items")
    if not hidden.any():
        hidden[rng.choice(np.flatnonzero(may_go))] = True
    users = np.unique(history.users[hidden])
    users = np.sort(rng.permutation(users)[:MAX_USERS])
    known, gone = history.where(~hidden), history.where(hidden)
    return hidden, HeldOut(users, known.take(users), gone.take(users))


class Monitor(Protocol):
    """Judges a network; greater is better.

    Attributes
    ----------
    reads_tables : bool
        Whether it reads rows of tables that this process may not hold.
    """

    reads_tables: ClassVar[bool]

    def score(self, network: FusionNetwork) -> float:
        """Judge the network as it is now."""
        ...


@dataclass(frozen=True)
class LossMonitor:
    """Judges by the loss of held-out examples, times -1.

    Attributes
    ----------
    batcher : Batcher
        Makes batches of the examples.
    loss : LossOfBatch or None
        Holds the network.
    read : callable
        Returns the rows that a batch reads, or None: the network has them.
    """

    batcher: Batcher
    loss: LossOfBatch | None = None
    read: Callable[[Batch], Rows | None] = lambda batch: None
    reads_tables: ClassVar[bool] = False

    @torch.no_grad()
    def score(self, network: FusionNetwork) -> float:
        """Mean loss of the examples, times -1."""
        assert self.loss is not None
        steps = torch.arange(len(self.batcher.examples)).split(MAX_USERS)
        losses = [
            self.loss(batch, rows=self.read(batch))
            for batch in self.batcher.batches(steps)
        ]
        sizes = torch.tensor([len(rows) for rows in steps], dtype=torch.float64)
        mean = torch.stack(losses).cpu().double() @ sizes / sizes.sum()
        return -float(mean)


@dataclass(frozen=True)
class LikesMonitor:
    """Judges a network by how it ranks held-out likes.

    Attributes
    ----------
    metric : str
        Name such as ``ndcg@10``.
    held_out : HeldOut
        The likes.
    content : Blocks
        Of all items.
    graph : ItemGraph or None
        Neighbours of the items, as in the network's training.
    propagation : float
        Share of an item's vector that comes from them.
    user_content : Blocks or None
        Of all users.
    unliked : ndarray or None
        Positions of items that nobody likes, which are in no list: none of them is held
        out, and with a large `cold_popularity` they would take the places of others.
    """

    metric: str
    held_out: HeldOut
    content: Blocks
    graph: ItemGraph | None = None
    propagation: float = 0.0
    user_content: Blocks | None = None
    unliked: NDArray[np.intp] | None = None
    reads_tables: ClassVar[bool] = True

    def score(self, network: FusionNetwork) -> float:
        """Mean of the metric over the held-out users."""
        name, k = parse_metric(self.metric)
        users, items, biases = self.vectors(network)
        held = self.held_out
        return float(judge_held_out(name, k, users, items, biases, held).mean())

    def vectors(self, network: FusionNetwork) -> Sequence[Array]:
        """Vectors of the held-out users and of all items, and the items' biases.

        The bias of an item that is in no list is minus infinity.
        """
        maker = VectorMaker([network], accelerator(network.item_bias.device))
        own = maker.item_tensor(np.arange(len(self.content)), self.content)
        items = spread_vectors(own, own, self.graph, self.propagation)
        users = self.held_out.user_tensor(maker, items, self.user_content)
        biases = network.item_bias.detach()
        if self.unliked is not None:
            rows = place(self.unliked, biases.device)
            biases = biases.index_fill(0, rows, -torch.inf)
        vectors: Sequence[Array] = (users, items.float(), biases)
        if maker.where.type == "cpu":
            vectors = [to_host(part) for part in vectors]
        return vectors


def judge_held_out(
    metric: str, k: int, users: Array, items: Array, biases: Array, held: HeldOut
) -> NDArray[np.float64]:
    """Compute a metric of each held-out user.

    Parameters
    ----------
    metric : str
        Such as "ndcg".
    k : int
        Length of the lists.
    users, items, biases : arrays of shape (n, dim), (n_items, dim) and (n_items,)
        Vectors of the held-out users and of all items, and the items' biases, all on
        one device: lists are made there.
    held : HeldOut
        The users, and the likes that a good list contains.
    """
    best = best_items(users, items, biases, held.known, k)
    hidden = held.hidden
    rows = np.repeat(np.arange(len(best)), best.shape[1]).reshape(best.shape)
    hits = np.isin(
        rows * hidden.n_items + best, hidden.users * hidden.n_items + hidden.items
    )
    return judge(metric, find_hits(hits, hidden.lengths, k))


def best_items(
    users: Array, items: Array, biases: Array, known: History, k: int
) -> NDArray[np.intp]:
    """List the best items of each user, without the known ones; ties by position."""
    is_placed = isinstance(items, torch.Tensor)
    where = items.device if is_placed else None
    lists: list[Array] = []
    for part in row_blocks(len(users), len(items), where):
        past = known.take(np.arange(part.start, part.stop))
        entries = place(past.users, where), place(past.items, where)
        if is_placed:
            lists.append(_best_placed(users[part], items, biases, entries, k))
            continue
        scores = users[part] @ items.T + biases
        scores[entries] = -np.inf
        lists.append(top_k(scores, k))
    return to_host(namespace(items).concatenate(lists))


def _best_placed(
    users: Tensor, items: Tensor, biases: Tensor, known: tuple[Tensor, Tensor], k: int
) -> Tensor:
    """As `best_items`, without waiting for the device."""
    # In float64, so that no setting of the process rounds a product more coarsely.
    scores = (users.double() @ items.double().T + biases).float()
    scores[known] = -torch.inf
    n_items = scores.shape[1]
    # Bits of floats, in the order of the floats; adding 0 turns -0 into 0.
    bits = (scores + 0.0).view(torch.int32)
    order = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    backwards = torch.arange(n_items - 1, -1, -1, device=scores.device)
    return ((order.long() << 32) + backwards).topk(min(k, n_items), dim=1).indices


def without(
    examples: Examples,
    history: History,
    hidden: NDArray[np.bool_],
    dropped: NDArray[np.bool_],
) -> Examples:
    """Examples that are not dropped, with their places in what is left of the history.

    `examples` are from the whole history, of which `hidden` marks entries; `dropped`
    marks the examples to leave out.
    """
    starts = history.offsets[examples.users]
    passed = np.concatenate([[0], np.cumsum(hidden)])
    lost = passed[starts + examples.before] - passed[starts]
    return replace(examples, before=examples.before - lost).take(~dropped)
