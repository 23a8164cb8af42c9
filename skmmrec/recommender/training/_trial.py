"""A short training of a copy, by which a fit chooses what is left to it."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice
from skmmrec.recommender.network import FusionNetwork
from skmmrec.recommender.training._assembly import (
    make_batcher,
    make_loss,
    make_options,
    make_rng,
)
from skmmrec.recommender.training._id_prior import LOW, learn_precision
from skmmrec.recommender.training._loop import Trainer
from skmmrec.recommender.training._memory_trial import train_briefly
from skmmrec.recommender.training._plan import Plan
from skmmrec.recommender.training._problem import Examples, Problem
from skmmrec.recommender.training._validation import hide_examples, some_users
from skmmrec.runtime import Generators

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
    start = LOW if given == "auto" else float(given)
    if training.max_time is not None:
        reason = "there is no trial where max_time limits the training"
        return Choice(LOW, reason), None
    rng = make_rng(generators)
    n_examples = len(problem.examples)
    if n_examples < MIN_TRIED or training.max_epochs <= MIN_TRIAL_EPOCHS:
        figures = {"rows": n_examples, "epochs": training.max_epochs}
        return Choice(LOW, "there is too little to try it on", figures), None
    examples, history = some_users(problem.examples, problem.history, MAX_TRIED, rng)
    n_epochs = math.ceil(TRIAL_LENGTH / len(examples))
    n_epochs = min(
        max(n_epochs, MIN_TRIAL_EPOCHS), MAX_TRIAL_EPOCHS, training.max_epochs
    )
    rest, hidden, left = hide_examples(
        examples, history, HIDDEN_SHARE, make_rng(generators)
    )
    batcher = make_batcher(problem, plan, generators, left, rest)
    loss = make_loss(deepcopy(network), problem, plan, generators, start)
    options = make_options(network, problem, plan, len(left.items), start / len(rest))
    trainer = Trainer(loss, batcher, replace(options, patience=None))
    if given == "auto":
        held_out = make_batcher(problem, plan, generators, left, hidden)
        chosen = learn_precision(trainer, held_out, n_epochs)
    else:
        chosen = Choice(start, "it is given")
        train_briefly(trainer, n_epochs)
    return chosen, Trial(loss.network, hidden, left)
