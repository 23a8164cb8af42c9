"""From a problem and the caller's settings to trained networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice, Choices
from skmmrec.recommender.memory import MemoryOfLikes
from skmmrec.recommender.network import FusionNetwork, Task, accelerator
from skmmrec.recommender.training._agreement import check_agreement
from skmmrec.recommender.training._assembly import (
    make_batcher,
    make_loss,
    make_options,
    make_rng,
)
from skmmrec.recommender.training._by_precision import (
    choose_averaging,
    choose_modality_dropout,
)
from skmmrec.recommender.training._checkpoints import checkpoint_of
from skmmrec.recommender.training._density import (
    Density,
    choose_batch_size,
    choose_own_negatives,
)
from skmmrec.recommender.training._id_prior import LOW
from skmmrec.recommender.training._loop import Trainer
from skmmrec.recommender.training._memory_trial import (
    GIVEN_POWER,
    can_remember,
    choose_memory,
)
from skmmrec.recommender.training._plan import (
    Epoch,
    MemoryWeight,
    Plan,
    Source,
    Trained,
    Watch,
)
from skmmrec.recommender.training._problem import Examples, Problem, make_network
from skmmrec.recommender.training._processes import (
    agree,
    own_device,
    warn_of_strangers,
    world,
)
from skmmrec.recommender.training._recency_trial import choose_half_life
from skmmrec.recommender.training._split_tables import (
    choose_split,
    choose_tables,
    join_tables,
    split_tables,
)
from skmmrec.recommender.training._transfer import adopt, adopt_ids
from skmmrec.recommender.training._trial import try_out
from skmmrec.recommender.training._validation import (
    LikesMonitor,
    LossMonitor,
    Monitor,
    hide_examples,
    hide_likes,
    without,
)
from skmmrec.runtime import Generators, resolve_device

# Of the learning rate: at the full one, few rows undo what was learned from many
# (benchmarks/recommender.py transfer).
PARTIAL_FIT_RATE = TRANSFER_RATE = 0.1


def train_networks(
    problem: Problem,
    plan: Plan,
    ids: tuple[pd.Index, pd.Index],
    source: Source | None,
    watch: Watch,
) -> Trained:
    """Train the networks of a plan, one after the other.

    Parameters
    ----------
    problem : Problem
        What there is to learn from.
    plan : Plan
        How.
    ids : tuple of Index
        Of the problem's items and users.
    source : Source or None
        What to start from; None: from random numbers.
    watch : callable
        Runs the epochs of each network.
    """
    warn_of_strangers()
    check_agreement(problem, plan, ids, () if source is None else source.networks)
    device = own_device(resolve_device(plan.device))
    design, split = plan.design, choose_split(problem, plan)
    n_networks = plan.n_members if design.is_trained else 1
    networks, curves, id_l2, averaging = [], [], LOW, 0.0
    memory, half_life = None, None
    choices = choose_ahead(problem, plan)
    plan, seed = _seeded(problem, plan, source)
    generators = Generators(seed, device)
    for number in range(n_networks):
        if world()[1] > 1:  # after the last training each process has its own state
            generators.seed(agree(generators.integer()))
        with generators.lent():
            network = make_network(design, problem, plan.credit)
        if source is not None:
            _start_from(network, source, number, ids)
        split_tables(network, split)
        network = network.to(device)
        if number == 0 and design.is_trained:
            tried = _choose_by_trial(network, problem, plan, generators, choices)
            id_l2, memory, half_life = tried
            averaging = _averaging(problem, plan, id_l2, choices)
        if number == 0 and hides_by_itself(problem, plan):
            choices.note("modality_dropout", choose_modality_dropout(id_l2))
        if design.is_trained:
            epochs = _train(
                network, problem, plan, generators, source, number, id_l2, averaging
            )
            curves.append(watch(epochs, plan.training.max_epochs))
        networks.append(_whole(network, split))
    _forget_checkpoints(problem, plan, source)
    if len(problem.tasks) > 1 and plan.training.task_weights is None:
        choices.note("task_weights", weigh_tasks(networks, problem.tasks))
    return Trained(
        networks,
        _mean_curve([[e.loss for e in curve] for curve in curves]),
        _mean_curve([[e.score for e in c if e.score is not None] for c in curves]),
        id_l2,
        choices,
        memory,
        half_life,
    )


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


def hides_by_itself(problem: Problem, plan: Plan) -> bool:
    """Tell whether training chooses how often it hides a modality."""
    is_auto = plan.regularization.modality_dropout == "auto"
    return is_auto and plan.design.is_trained and bool(problem.content.values)


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


def fit_accelerator(plan: Plan) -> torch.device | None:
    """Tell where a fit does its linear algebra beside the training; None: in NumPy."""
    return accelerator(own_device(resolve_device(plan.device)))


def train_further(
    networks: Sequence[FusionNetwork],
    problem: Problem,
    plan: Plan,
    id_l2: float,
    new_pairs: tuple[NDArray, NDArray],
    watch: Watch,
) -> list[float]:
    """Train on new pairs, given by users and items, and as many old ones.

    Returns
    -------
    list of float
        The last network's loss in each epoch.
    """
    check_agreement(problem, plan, new_pairs, networks)
    device, split = own_device(resolve_device(plan.device)), choose_split(problem, plan)
    epochs: list[Epoch] = []
    generators = Generators(agree(_seed_of(plan)), device)
    for network in networks:
        split_tables(network, split)
        network.to(device)
        trainer = _further_trainer(network, problem, plan, generators, id_l2, new_pairs)
        epochs = watch(trainer.run(), plan.training.partial_fit_epochs)
        _whole(network, split)
    return [epoch.loss for epoch in epochs]


def _further_trainer(
    network: FusionNetwork,
    problem: Problem,
    plan: Plan,
    generators: Generators,
    id_l2: float,
    new_pairs: tuple[NDArray, NDArray],
) -> Trainer:
    examples, n_items = problem.examples, problem.seen.n_items
    users, items = new_pairs
    new = np.isin(examples.users * n_items + examples.items, users * n_items + items)
    old = np.flatnonzero(~new)
    drawn = make_rng(generators).permutation(len(old))[: np.count_nonzero(new)]
    chosen = examples.take(np.concatenate([np.flatnonzero(new), old[drawn]]))
    decay = id_l2 / max(1, len(examples))
    options = replace(
        make_options(network, problem, plan, len(problem.history.items), decay),
        epochs=plan.training.partial_fit_epochs,
        learning_rate=plan.training.learning_rate * PARTIAL_FIT_RATE,
        max_time=None,
        patience=None,
    )
    batcher = make_batcher(problem, plan, generators, problem.history, chosen)
    loss = make_loss(network, problem, plan, generators, id_l2)
    return Trainer(loss, batcher, options)


def _start_from(
    network: FusionNetwork,
    source: Source,
    number: int,
    ids: tuple[pd.Index, pd.Index],
) -> None:
    theirs = source.networks[number % len(source.networks)]
    adopt(network, theirs)
    if source.knows_ids:
        items, users = ids
        adopt_ids(network, theirs, (items, source.items), (users, source.users))


def _whole(network: FusionNetwork, split: Mapping[str, int]) -> FusionNetwork:
    """Bring a trained network to the host, with all rows of its tables."""
    # Gradients take as much memory as what they are of, and nobody needs them again.
    network.zero_grad(set_to_none=True)
    join_tables(network, split, torch.device("cpu"))
    # What a fusion of one's own has frozen stays so.
    for table in (*network.item_tables, *network.user_tables):
        table.requires_grad_()
    return network.cpu()


def _mean_curve(curves: list[list[float]]) -> list[float]:
    """Mean, epoch by epoch, of the networks that were still learning."""
    epochs = zip_longest(*curves, fillvalue=np.nan)
    return [float(np.nanmean(epoch)) for epoch in epochs]


def _train(
    network: FusionNetwork,
    problem: Problem,
    plan: Plan,
    generators: Generators,
    source: Source | None,
    number: int,
    id_l2: float,
    averaging: float,
) -> Iterator[Epoch]:
    """Train one network, on the device that it is on; yields the epochs."""
    examples, history, monitor = _hold_out(problem, plan, generators)
    decay = id_l2 / max(1, len(examples))
    options = make_options(network, problem, plan, len(problem.history.items), decay)
    options = replace(options, averaging=averaging)
    if source is not None and not source.knows_ids:
        options = replace(options, shared_rate=TRANSFER_RATE)
    batcher = make_batcher(problem, plan, generators, history, examples)
    loss = make_loss(network, problem, plan, generators, id_l2)
    folder, checkpoint = plan.training.checkpoint_dir, None
    if folder is not None:
        checkpoint = checkpoint_of(folder, problem, plan, source, number)
    trainer = Trainer(loss, batcher, options, monitor, checkpoint)
    if isinstance(monitor, LossMonitor):
        trainer.monitor = replace(monitor, loss=loss, read=trainer.read)
    return trainer.run()


class _Tried(NamedTuple):
    """What a trial has chosen, or was given, as `Trained` has it."""

    id_l2: float
    memory: MemoryWeight | None
    half_life: Choice | None = None


def _choose_by_trial(
    network: FusionNetwork,
    problem: Problem,
    plan: Plan,
    generators: Generators,
    choices: Choices,
) -> _Tried:
    """Choose by a trial what is left to the fit: see `_Tried`."""
    ordered = plan.half_life is not None and network.tower.weighs_recency
    given, memory = plan.regularization.id_l2, _given_memory(plan, ordered)
    asks_memory = _asks_memory(problem, plan, choices)
    asks_half_life = _asks_half_life(network, problem, plan)
    if given != "auto" and not asks_memory and not asks_half_life:
        return _Tried(float(given), memory)
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
        return _Tried(id_l2, memory)
    where = accelerator(network.item_bias.device)
    if asks_half_life:
        # One of what comes next would forget by itself.
        seen = MemoryOfLikes.learn(trial.left, where=where)
        half_life = agree(choose_half_life(*trial, problem, seen))
    if asks_memory:
        seen = MemoryOfLikes.learn(trial.left, ordered, where)
        half = half_life.value if half_life is not None else plan.half_life
        half = None if half == "auto" else half
        memory, choice = agree(choose_memory(*trial, problem, seen, ordered, half))
        choices.note("memory", choice)
    return _Tried(id_l2, memory, half_life)


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


def _hold_out(
    problem: Problem, plan: Plan, generators: Generators
) -> tuple[Examples, History, Monitor | None]:
    """Split off what early stopping holds out, and make its monitor."""
    examples, history, stopping = problem.examples, problem.history, plan.early_stopping
    if stopping is None:
        return examples, history, None
    rng, metric = make_rng(generators), stopping.metric
    if metric == "auto":
        metric = "ndcg@10" if problem.tasks[0].sampled else "loss"
    if metric == "loss":
        share = stopping.validation_fraction
        rest, aside, left = hide_examples(examples, history, share, rng)
        batcher = make_batcher(problem, plan, generators, left, aside)
        return rest, left, LossMonitor(batcher)
    hidden, held_out = hide_likes(history, stopping.validation_fraction, rng)
    is_hidden = examples.held & hidden[examples.places_in(history)]
    monitor = LikesMonitor(
        metric,
        held_out,
        problem.content,
        problem.graph,
        problem.propagation,
        problem.user_content,
        np.flatnonzero(history.popularity == 0),
    )
    return (
        without(examples, history, hidden, is_hidden),
        history.where(~hidden),
        monitor,
    )


def _forget_checkpoints(problem: Problem, plan: Plan, source: Source | None) -> None:
    """Delete the checkpoints of a fit that is complete."""
    folder = plan.training.checkpoint_dir
    if folder is None or (world()[0] and not choose_split(problem, plan)):
        return
    for number in range(plan.n_members):
        checkpoint_of(folder, problem, plan, source, number).remove()


def _seed_of(plan: Plan) -> int:
    drawn = check_random_state(plan.random_state).randint(np.iinfo(np.int32).max)
    return int(drawn)


def _seeded(problem: Problem, plan: Plan, source: Source | None) -> tuple[Plan, int]:
    """Agree on the seed of a fit; its plan has it, or None where none was given.

    A fit that was given none takes that of the killed one that it goes on with: else it
    would judge epochs by rows that were learned from, as they were not held out.
    """
    seed, folder = _seed_of(plan), plan.training.checkpoint_dir
    given = agree(None if plan.random_state is None else seed)
    plan = replace(plan, random_state=given)
    if given is None and folder is not None and world()[0] == 0:
        state = checkpoint_of(folder, problem, plan, source, 0).load() or {}
        seed = state.get("seed", seed)
    return plan, agree(seed)
