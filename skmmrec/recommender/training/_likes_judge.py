"""Ranks held-out likes by vectors, and by a memory of items beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from skmmrec.metrics import find_hits, judge
from skmmrec.recommender.memory import ItemMemory, in_units, spread_users
from skmmrec.recommender.network import (
    Array,
    FusionNetwork,
    VectorMaker,
    accelerator,
    place,
    to_host,
)
from skmmrec.recommender.training._problem import Problem
from skmmrec.recommender.training._validation import HeldOut, LikesMonitor
from skmmrec.retrieval import chunks, entry_rows, top_k

# Length of lists.
LENGTH = 20


@dataclass(frozen=True)
class LikesJudge:
    """Ranks held-out likes by vectors, and by a memory beside them.

    The vectors are arrays, or tensors on an accelerator, which then ranks. An item
    whose bias is minus infinity is in no list.
    """

    users: Array
    items: Array
    biases: Array
    held: HeldOut

    @classmethod
    def of(cls, network: FusionNetwork, problem: Problem, held: HeldOut) -> Self:
        """Take the vectors of a network."""
        content = problem.content, problem.graph, problem.propagation
        unliked = np.flatnonzero(problem.history.popularity == 0)
        monitor = LikesMonitor("ndcg", held, *content, problem.user_content, unliked)
        where = accelerator(network.item_bias.device)
        vectors = monitor.vectors(network)
        users, items, biases = (
            place(to_host(each) if where is None else each, where) for each in vectors
        )
        return cls(users, items, biases, held)

    def forgetting(
        self, network: FusionNetwork, problem: Problem, half_life: float | None
    ) -> Self:
        """Make the users anew, with a half-life."""
        where, content = accelerator(network.item_bias.device), problem.user_content
        maker = VectorMaker([network], where)
        users = self.held.user_tensor(maker, self.items, content, half_life)
        return replace(self, users=users if where else users.numpy())

    @property
    def parts(self) -> list[slice]:
        """Users whose scores are in memory at a time."""
        return list(chunks(len(self.users), len(self.items)))

    def in_units(self, memory: ItemMemory) -> ItemMemory:
        """Scale a memory so that what it adds has the spread of the scores."""
        some = np.arange(min(len(self.users), spread_users(len(self.items))))
        known = self.held.known.take(some)
        vectors = self.users[: len(some)], self.items, self.biases
        return in_units(memory, known, *map(to_host, vectors))

    def said(self, memory: ItemMemory) -> list[csr_array]:
        """Compute what a memory says of the items to each part of the users."""
        users = np.arange(len(self.users))
        known = [self.held.known.take(users[part]) for part in self.parts]
        return [memory.unsorted_scores(each) for each in known]

    def ndcg(
        self,
        said: list[csr_array] | None = None,
        weight: float = 0.0,
        length: int = LENGTH,
    ) -> NDArray[np.float64]:
        """NDCG of each user, with what a memory says times a weight."""
        parts = self.parts
        each: list[csr_array | None] = [None] * len(parts) if said is None else [*said]
        values = [
            self._ndcg_of(rows, some, weight, length)
            for rows, some in zip(parts, each, strict=True)
        ]
        return np.concatenate(values)

    def _ndcg_of(
        self, rows: slice, said: csr_array | None, weight: float, length: int
    ) -> NDArray[np.float64]:
        chosen = np.arange(rows.start, rows.stop)
        known, hidden = (h.take(chosen) for h in (self.held.known, self.held.hidden))
        scores = self.users[rows] @ self.items.T + self.biases
        if said is not None:
            more = np.float32(weight) * said.data
            scores[_at(scores, entry_rows(said), said.indices)] += _beside(scores, more)
        scores[_at(scores, known.users, known.items)] = -np.inf
        if (hidden.lengths == 1).all():
            return _gain_of_one(scores, hidden.items, length)
        best = top_k(scores, length)
        places = chosen[:, None] - rows.start
        wanted = hidden.users * hidden.n_items + hidden.items
        hits = np.isin(places * hidden.n_items + best, wanted)
        return judge("ndcg", find_hits(hits, hidden.lengths, length))


def _gain_of_one(
    scores: Array, items: NDArray[np.int64], length: int
) -> NDArray[np.float64]:
    """NDCG of lists with one hidden item each, whose place is counted.

    To count takes a fraction of the time in which the best are found; ties go to the
    first positions, as in lists.
    """
    rows, columns = np.arange(len(items)), np.arange(scores.shape[1])
    own = scores[_at(scores, rows, items)][:, None]
    before = _beside(scores, columns) < _beside(scores, items)[:, None]
    ahead = to_host(((scores > own) | ((scores == own) & before)).sum(1))
    return np.where(ahead < length, 1 / np.log2(ahead + 2.0), 0.0)


def _beside(scores: Array, array: NDArray) -> Array:
    """Bring an array to where the scores are."""
    return place(array, scores.device) if isinstance(scores, Tensor) else array


def _at(scores: Array, rows: NDArray, columns: NDArray) -> tuple[Array, Array]:
    """Places in a matrix of scores, where it is."""
    at = rows.astype(np.int64), columns.astype(np.int64)
    return _beside(scores, at[0]), _beside(scores, at[1])
