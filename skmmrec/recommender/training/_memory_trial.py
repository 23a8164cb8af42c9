"""How much a memory of items is to count, by likes that a trial holds out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice
from skmmrec.recommender.memory import POWERS, MemoryOfLikes
from skmmrec.recommender.network import FusionNetwork
from skmmrec.recommender.training._held_likes import MIN_USERS, each_next, held_likes
from skmmrec.recommender.training._likes_judge import LENGTH, LikesJudge
from skmmrec.recommender.training._paired_errors import errors_behind, standard_error
from skmmrec.recommender.training._plan import MemoryWeight
from skmmrec.recommender.training._problem import Examples, Problem
from skmmrec.recommender.training._validation import HeldOut

# Weights that the trial tries, and what the best of them is multiplied by: a network of
# two to four epochs needs more help than one of ten. On validation rows of dbbook and
# of the latest films the trial finds 0.13 to 0.26, where 0.1 to 0.2 and 0.05 are best
# after the fit. A factor of 0.5 loses 0.6 % on dbbook, 0.7 loses 1 % on the films
# (benchmarks/README.md).
TRIED, KEPT = (0.1, 0.2, 0.4, 0.8), 0.6
# Of the scaling that is taken where a weight is given.
GIVEN_POWER = 0.5


def can_remember(problem: Problem) -> bool:
    """Tell whether histories are plain likes, by which items are ranked."""
    return problem.tasks[0].sampled and problem.history.values is None


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
