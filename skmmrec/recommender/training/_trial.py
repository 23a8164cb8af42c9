"""A short training of a copy, by which a fit chooses what is left to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice
from skmmrec.recommender.network import FusionNetwork
from skmmrec.recommender.training._assembly import (
    make_batcher,
    make_loss,
    make_options,
    make_rng,
)
from skmmrec.recommender.training._held_likes import MIN_USERS, held_likes
from skmmrec.recommender.training._id_prior import (
    LENGTH,
    LOW,
    MAX_JUDGED,
    confirm_precision,
    learn_precision,
)
from skmmrec.recommender.training._likes_judge import LikesJudge
from skmmrec.recommender.training._loop import Trainer
from skmmrec.recommender.training._memory_trial import can_remember
from skmmrec.recommender.training._plan import Plan
from skmmrec.recommender.training._problem import Examples, Problem
from skmmrec.recommender.training._processes import agree
from skmmrec.recommender.training._split_tables import choose_split
from skmmrec.recommender.training._validation import hide_examples, some_users
from skmmrec.runtime import Generators, progress

# Pairs below which a trial decides nothing, pairs that it looks at at most, which
# bounds its cost, and the share of them that is held out.
MIN_TRIED, MAX_TRIED, HIDDEN_SHARE = 2000, 100_000, 0.1
# A trial of 40,000 pairs in all. Two epochs did not show that `late` learns embeddings
# by heart with few users, four did (validation rows of generated catalogues).
TRIAL_LENGTH, MIN_TRIAL_EPOCHS, MAX_TRIAL_EPOCHS = 40_000, 2, 4


class Trial(NamedTuple):
    """What a trial has come to.

    Attributes
    ----------
    network : FusionNetwork
        Trained for few epochs.
    hidden : Examples
        What was held out.
    left : History
        What was not.
    """

    network: FusionNetwork
    hidden: Examples
    left: History


def try_out(
    network: FusionNetwork, problem: Problem, plan: Plan, generators: Generators
) -> tuple[Choice, Trial | None]:
    """Choose the precision of the embeddings' prior, by training a copy.

    Where the precision is given, the copy is trained with that, as the fit will be.
    """
    training, given = plan.training, plan.regularization.id_l2
    if training.max_time is not None:
        reason = "there is no trial where max_time limits the training"
        return Choice(LOW, reason), None
    rng = make_rng(generators)
    n_examples = len(problem.examples)
    if n_examples < MIN_TRIED or training.max_epochs <= MIN_TRIAL_EPOCHS:
        figures = {"rows": n_examples, "epochs": training.max_epochs}
        return Choice(LOW, "too few rows or epochs for a trial", figures), None
    examples, history = some_users(problem.examples, problem.history, MAX_TRIED, rng)
    n_epochs = math.ceil(TRIAL_LENGTH / len(examples))
    n_epochs = min(
        max(n_epochs, MIN_TRIAL_EPOCHS), MAX_TRIAL_EPOCHS, training.max_epochs
    )
    parts = hide_examples(examples, history, HIDDEN_SHARE, make_rng(generators))
    rest, hidden, left = parts
    start = LOW if given == "auto" else float(given)
    trainer = partial(_trainer, network, problem, plan, generators, rest, left)
    first = trainer(start)
    trial = Trial(first.loss.network, hidden, left)
    if given != "auto":
        _train_briefly(first, n_epochs, "choose memory")
        return Choice(start, "it is given"), trial
    judge = _judge(problem, plan, hidden, left)
    without: list[NDArray] = []

    def before_last() -> None:
        if judge is not None:
            without.append(judge(trial.network))

    held_out = make_batcher(problem, plan, generators, left, hidden)
    chosen = learn_precision(first, held_out, n_epochs, before_last)
    if chosen.value > LOW and judge is not None:
        other = trainer(chosen.value)
        _train_briefly(other, n_epochs - 1, "confirm id_l2")
        ndcg = judge(other.loss.network)
        chosen = agree(confirm_precision(chosen, without[0], ndcg))
    return chosen, trial


def _train_briefly(trainer: Trainer, n_epochs: int, purpose: str) -> None:
    """Train for the first epochs only; `purpose` is shown beside the progress."""
    with closing(trainer.run()) as epochs:
        for _ in progress(range(n_epochs), purpose, unit="epoch"):
            next(epochs)


def _judge(
    problem: Problem, plan: Plan, hidden: Examples, left: History
) -> Callable[[FusionNetwork], NDArray[np.float64]] | None:
    """Return what computes the NDCG of users by a network, or None.

    There is none where no likes are ranked, too few users have any that are hidden, or
    no process has the whole table of embeddings.
    """
    if not can_remember(problem) or choose_split(problem, plan):
        return None
    held = held_likes(hidden, left, MAX_JUDGED)
    if len(held.users) < MIN_USERS:
        return None
    return lambda network: LikesJudge.of(network, problem, held).ndcg(length=LENGTH)


def _trainer(
    network: FusionNetwork,
    problem: Problem,
    plan: Plan,
    generators: Generators,
    rest: Examples,
    left: History,
    id_l2: float,
) -> Trainer:
    """Make what trains a copy of a network on what is not held out."""
    batcher = make_batcher(problem, plan, generators, left, rest)
    loss = make_loss(deepcopy(network), problem, plan, generators, id_l2)
    options = make_options(network, problem, plan, len(left.items), id_l2 / len(rest))
    return Trainer(loss, batcher, replace(options, patience=None))
