"""What training chooses by itself: from the interactions, by a trial, from both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from skmmrec.recommender._choices import Choice, Choices
from skmmrec.recommender.memory import MemoryOfLikes
from skmmrec.recommender.network import FusionNetwork, Task, accelerator
from skmmrec.recommender.training._by_precision import (
    choose_averaging,
    choose_modality_dropout,
)
from skmmrec.recommender.training._density import (
    Density,
    choose_batch_size,
    choose_own_negatives,
)
from skmmrec.recommender.training._id_prior import LOW
from skmmrec.recommender.training._memory_trial import (
    GIVEN_POWER,
    can_remember,
    choose_memory,
)
from skmmrec.recommender.training._plan import MemoryWeight, Plan
from skmmrec.recommender.training._problem import Problem
from skmmrec.recommender.training._processes import agree
from skmmrec.recommender.training._recency_trial import choose_half_life
from skmmrec.recommender.training._split_tables import choose_split, choose_tables
from skmmrec.recommender.training._trial import try_out
from skmmrec.runtime import Generators


class Chosen(NamedTuple):
    """What networks are trained with, and what `finish` needs of it.

    Attributes
    ----------
    id_l2 : float
        Precision of the embeddings' prior.
    memory : MemoryWeight or None
        How a memory of items is to count; None: not at all.
    half_life : Choice or None
        The half-life that a trial has chosen; None: no trial could tell one.
    averaging : float
        How far the weights of the last steps are averaged.
    """

    id_l2: float = LOW
    memory: MemoryWeight | None = None
    half_life: Choice | None = None
    averaging: float = 0.0


def choose_ahead(problem: Problem, plan: Plan) -> Choices:
    """Choose what follows from the interactions alone."""
    choices, training = Choices(), plan.training
    if not plan.design.is_trained:
        return choices
    density, n_pairs = Density.of(problem.history), len(problem.history.items)
    if training.batch_size == "auto":
        choices.note("batch_size", choose_batch_size(density, n_pairs))
    if training.own_negatives == "auto" and any(t.sampled for t in problem.tasks):
        choices.note("own_negatives", choose_own_negatives(density))
    if training.tables == "auto":
        choices.note("tables", choose_tables(problem, plan))
    return choices


def choose_by_trial(
    network: FusionNetwork,
    problem: Problem,
    plan: Plan,
    generators: Generators,
    choices: Choices,
) -> Chosen:
    """Choose by a trial what is left to the fit, and what follows from that.

    The network is the first, as training will start from it; it stays as it is. What
    is chosen is noted in `choices`.
    """
    chosen = _try(network, problem, plan, generators, choices)
    averaging = _averaging(problem, plan, chosen.id_l2, choices)
    if plan.regularization.modality_dropout == "auto" and problem.content.values:
        choices.note("modality_dropout", choose_modality_dropout(chosen.id_l2))
    return chosen._replace(averaging=averaging)


def _try(
    network: FusionNetwork,
    problem: Problem,
    plan: Plan,
    generators: Generators,
    choices: Choices,
) -> Chosen:
    """Make a trial, if there is anything to choose by it."""
    ordered = plan.half_life is not None and network.tower.weighs_recency
    given, memory = plan.regularization.id_l2, _given_memory(plan, ordered)
    asks_memory = _asks_memory(problem, plan, choices)
    asks_half_life = _asks_half_life(network, problem, plan)
    if given != "auto" and not asks_memory and not asks_half_life:
        return Chosen(float(given), memory)
    before = generators.get_state()
    chosen, trial = try_out(network, problem, plan, generators)
    if given == "auto":
        choices.note("id_l2", chosen)
    else:  # the rest goes on as if there had been no trial
        generators.set_state(before)
    id_l2, half_life = float(chosen.value if given == "auto" else given), None
    if trial is None:
        if asks_memory:
            choices.note("memory", replace(chosen, value=0.0))
        return Chosen(id_l2, memory)
    where = accelerator(network.item_bias.device)
    if asks_half_life:
        # Not one of what comes next, which would forget by itself.
        seen = MemoryOfLikes.learn(trial.left, where=where)
        half_life = agree(choose_half_life(*trial, problem, seen))
    if asks_memory:
        seen = MemoryOfLikes.learn(trial.left, ordered, where)
        half = half_life.value if half_life is not None else plan.half_life
        half = None if half == "auto" else half
        memory, choice = agree(choose_memory(*trial, problem, seen, ordered, half))
        choices.note("memory", choice)
    return Chosen(id_l2, memory, half_life)


def _given_memory(plan: Plan, ordered: bool) -> MemoryWeight | None:
    """Return how a memory is to count, where the caller says so."""
    given = plan.memory
    if isinstance(given, str | None) or given == 0:
        return None
    return MemoryWeight(float(given), GIVEN_POWER, ordered)


def _asks_memory(problem: Problem, plan: Plan, choices: Choices) -> bool:
    """Tell whether a trial is to choose how a memory counts."""
    asked = plan.memory == "auto" and can_remember(problem)
    if asked and choose_split(problem, plan):
        reason = "no process has the whole table of embeddings"
        choices.note("memory", Choice(0.0, reason))
        return False
    return asked


def _asks_half_life(network: FusionNetwork, problem: Problem, plan: Plan) -> bool:
    """Tell whether a trial is to choose how fast likes are forgotten."""
    is_open = plan.half_life == "auto" and network.tower.weighs_recency
    return is_open and can_remember(problem) and not choose_split(problem, plan)


def _averaging(problem: Problem, plan: Plan, id_l2: float, choices: Choices) -> float:
    """Tell how far weights are averaged, and note it where that is left to the fit."""
    given = plan.training.averaging
    if plan.early_stopping is not None:
        return 0.0
    if given != "auto":
        return float(given)
    if not any(task.sampled for task in problem.tasks):
        return 0.0
    choice = choose_averaging(Density.of(problem.history), id_l2)
    choices.note("averaging", choice)
    return float(choice.value)


def weigh_tasks(networks: Sequence[FusionNetwork], tasks: Sequence[Task]) -> Choice:
    """Tell what the loss of each task counted in the end; see `LossOfBatch`."""
    learned = torch.stack([n.log_variances.detach() for n in networks]).mean(0)
    weights = [
        float(torch.exp(-log_variance)) / 2 if task.objective == "mse" else 1.0
        for task, log_variance in zip(tasks, learned, strict=True)
    ]
    reason = "losses are negative log-likelihoods, with a learned variance of ratings"
    return Choice(weights, reason)
