"""How much a memory of items is to count, by likes that a trial holds out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from skmmrec.interactions import History
from skmmrec.metrics import find_hits, judge
from skmmrec.recommender._choices import Choice
from skmmrec.recommender.memory import (
    POWERS,
    ItemMemory,
    MemoryOfLikes,
    in_units,
    spread_users,
)
from skmmrec.recommender.network import (
    Array,
    FusionNetwork,
    VectorMaker,
    accelerator,
    place,
    to_host,
)
from skmmrec.recommender.training._loop import Trainer
from skmmrec.recommender.training._plan import MemoryWeight
from skmmrec.recommender.training._problem import Examples, Problem
from skmmrec.recommender.training._validation import HeldOut, LikesMonitor
from skmmrec.retrieval import chunks, entry_rows, top_k
from skmmrec.runtime import progress

# Weights that the trial tries, and what the best of them is multiplied by: a network of
# two to four epochs needs more help than one of ten. On validation rows of dbbook and
# of the latest films the trial finds 0.13 to 0.26, where 0.1 to 0.2 and 0.05 are best
# after the fit. A factor of 0.5 loses 0.6 % on dbbook, 0.7 loses 1 % on the films
# (benchmarks/README.md).
TRIED, KEPT = (0.1, 0.2, 0.4, 0.8), 0.6
# Length of lists; the most users that are judged, and the most scores: 1,000 users, or
# 200 where there are a million items.
LENGTH, MAX_USERS, MAX_SCORES = 20, 1000, 200_000_000
# Fewer users tell nothing.
MIN_USERS = 20
# The same where rows are in an order, and what comes next is asked like by like: for a
# half-life (by 2,000 lists one of four fits to the latest films had 2, not 5), and for
# the memory, whose lists tell more.
MIN_LISTS, MAX_LISTS, MAX_NEXT_SCORES, MAX_NEXT = 20, 4000, 80_000_000, 2000
# Of a difference: no more users than 10**12 could tell it better.
LEAST_ERROR = 1e-6
# Of the scaling that is taken where a weight is given.
GIVEN_POWER = 0.5


def can_remember(problem: Problem) -> bool:
    """Tell whether histories are plain likes, by which items are ranked."""
    return problem.tasks[0].sampled and problem.history.values is None


def train_briefly(trainer: Trainer, n_epochs: int, purpose: str) -> None:
    """Train for the first epochs only; `purpose` is shown beside the progress."""
    with closing(trainer.run()) as epochs:
        for _ in progress(range(n_epochs), purpose, unit="epoch"):
            next(epochs)


def choose_memory(
    network: FusionNetwork,
    hidden: Examples,
    left: History,
    problem: Problem,
    memory: MemoryOfLikes,
    ordered: bool = False,
    half_life: float | None = None,
) -> tuple[MemoryWeight | None, Choice]:
    """Choose how much a memory of items counts, and how it is scaled.

    A memory of the likes that the trial has seen is added to the scores of its network,
    and the held-out likes are ranked: where rows are `ordered`, each by the likes
    before it, otherwise all those of a user by the rest. Weights are scaled by the
    items' precision where lists are better by one standard error for it. The least
    weight that is behind the best by one at most is chosen [1]_, also between those
    that are tried: else a little chance would make it twice as large. There is no
    memory where the best is not ahead of none by a standard error. A network that is
    trained longer needs less, so that a part of the weight is kept.

    The network is that of the trial; `hidden` was held out of it, `left` is what it has
    seen, and `memory` has learned from that. `half_life` is that of the users.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and
       regression trees", 1984 (the rule of one standard error).
    """
    ask = each_next if ordered else held_likes
    held = ask(hidden, left)
    asked = "likes" if ordered else "users"
    if len(held.users) < MIN_USERS:
        reason = f"too few {asked} are held out of a trial"
        return None, Choice(0.0, reason, {asked: len(held.users)})
    values = _judged(network, problem, held, memory, half_life)
    power, curve = choose_power(values)
    base, best = curve[0.0], curve[best_weight(curve)]
    gain = best - base
    figures: dict[str, float] = {
        f"ndcg@{LENGTH} without": float(base.mean()),
        "with": float(best.mean()),
        "standard error": standard_error(gain),
        asked: len(base),
    }
    if gain.mean() <= standard_error(gain):
        reason = "likes held out of a trial are not ranked better by one standard error"
        return None, Choice(0.0, reason, figures)
    chosen = MemoryWeight(KEPT * least_near(curve), power, ordered)
    what = "what comes next" if ordered else "items"
    reason = f"likes held out of a trial are ranked better with a memory of {what}"
    return chosen, Choice(chosen.weight, reason, {**figures, "power": chosen.power})


Curve = Mapping[float, NDArray[np.float64]]
"""NDCG of each user by weight, 0 among them."""


def choose_power(
    values: Mapping[tuple[float, float], NDArray[np.float64]],
) -> tuple[float, Curve]:
    """Choose the power of the precision: the first, or one that is clearly ahead of it.

    `values` are the NDCG of each list by weight and power, with (0, 0) for no memory.
    Returns one of `POWERS`, and the NDCG of each list by weight, with 0 for no memory.
    """
    none = {0.0: values[0.0, 0.0]}
    curves = {
        p: none | {w: v for (w, q), v in values.items() if w and q == p} for p in POWERS
    }
    tops = {power: curve[best_weight(curve)] for power, curve in curves.items()}
    chosen = POWERS[0]
    for power in POWERS[1:]:
        ahead = tops[power] - tops[chosen]
        chosen = power if ahead.mean() > standard_error(ahead) else chosen
    return chosen, curves[chosen]


def best_weight(curve: Curve) -> float:
    """Return the weight with the greatest mean; the least of several."""
    return max(sorted(curve), key=lambda weight: curve[weight].mean())


def least_near(curve: Curve) -> float:
    """Find the least weight that is behind the best by one standard error.

    Between two weights that are tried, how many standard errors it is behind is taken
    to fall evenly with the logarithm of the weight. The least that is tried stands for
    all below it, but for 0.
    """
    best, tried = best_weight(curve), sorted(weight for weight in curve if weight)
    behind = [errors_behind(curve[best], curve[weight]) for weight in tried]
    place = next(n for n, errors in enumerate(behind) if errors <= 1)
    if place == 0:
        return tried[0]
    before, here = behind[place - 1 : place + 1]
    share = (before - 1) / (before - here)
    return tried[place - 1] * (tried[place] / tried[place - 1]) ** share


def errors_behind(best: NDArray, other: NDArray) -> float:
    """Tell by how many standard errors one is behind another, in pairs."""
    behind = best - other
    mean = float(behind.mean())
    # All users alike have no standard error: then any difference is a clear one.
    return mean / max(standard_error(behind), LEAST_ERROR * mean) if mean > 0 else 0.0


def standard_error(values: NDArray) -> float:
    """Return the standard error of the mean of differences between pairs."""
    return float(values.std() / len(values) ** 0.5)


def held_likes(hidden: Examples, left: History, max_users: int = MAX_USERS) -> HeldOut:
    """Likes of some users that the trial has not seen, drawn the same each time."""
    likes = hidden.take(hidden.counted[:, 0])
    gone = History.from_pairs(likes.users, likes.items, len(left.lengths), left.n_items)
    users = np.flatnonzero((gone.lengths > 0) & (left.lengths > 0))
    most = min(max_users, max(MIN_USERS, MAX_SCORES // max(1, left.n_items)))
    users = np.sort(np.random.RandomState(0).permutation(users)[:most])
    return HeldOut(users, left.take(users), gone.take(users))


def each_next(hidden: Examples, left: History, most: int = MAX_NEXT) -> HeldOut:
    """Ask for some hidden likes in turn, each after what came before it.

    A user comes once for each like, for a twentieth of all at most, so that none
    decides alone. Likes before which nothing is left are left out.
    """
    likes = hidden.take(hidden.counted[:, 0] & (hidden.before > 0))
    most = min(most, most_lists(left.n_items))
    order = np.random.RandomState(0).permutation(len(likes))
    n_asked = pd.Series(order).groupby(likes.users[order]).cumcount().to_numpy()
    chosen = order[n_asked < max(1, most // MIN_LISTS)][:most]
    likes = likes.take(np.sort(chosen))
    copies = left.take(likes.users)
    places = np.arange(len(copies.items)) - copies.offsets[copies.users]
    known = copies.where(places < likes.before[copies.users])
    one_each = np.arange(len(likes) + 1)
    return HeldOut(likes.users, known, History(one_each, likes.items, left.n_items))


def most_lists(n_items: int) -> int:
    """Tell how many lists are judged at most."""
    return min(MAX_LISTS, max(MIN_LISTS, MAX_NEXT_SCORES // max(1, n_items)))


def _judged(
    network: FusionNetwork,
    problem: Problem,
    held: HeldOut,
    memory: MemoryOfLikes,
    half_life: float | None,
) -> dict[tuple[float, float], NDArray[np.float64]]:
    """NDCG of each list by weight and power, up to where more is worse."""
    judge = LikesJudge.of(network, problem, held)
    if half_life is not None:
        judge = judge.forgetting(network, problem, half_life)
    values = {(0.0, 0.0): judge.ndcg()}
    for power in POWERS:
        lists = judge.in_units(memory.weighed(power, half_life))
        said, before = judge.said(lists), values[0.0, 0.0].mean()
        for weight in TRIED:
            values[weight, power] = ndcg = judge.ndcg(said, weight)
            if ndcg.mean() < before:
                break
            before = ndcg.mean()
    return values


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
