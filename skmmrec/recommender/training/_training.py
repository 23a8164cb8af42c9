"""From a problem and the caller's settings to trained networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skmmrec.interactions import History
from skmmrec.recommender.network import FusionNetwork, accelerator
from skmmrec.recommender.training._agreement import check_agreement
from skmmrec.recommender.training._assembly import (
    make_batcher,
    make_loss,
    make_options,
    make_rng,
)
from skmmrec.recommender.training._checkpoints import checkpoint_of
from skmmrec.recommender.training._choosing import (
    Chosen,
    choose_ahead,
    choose_by_trial,
    weigh_tasks,
)
from skmmrec.recommender.training._loop import Trainer
from skmmrec.recommender.training._plan import Epoch, Plan, Source, Trained, Watch
from skmmrec.recommender.training._problem import Examples, Problem, make_network
from skmmrec.recommender.training._processes import (
    agree,
    own_device,
    warn_of_strangers,
    world,
)
from skmmrec.recommender.training._split_tables import (
    choose_split,
    join_tables,
    split_tables,
)
from skmmrec.recommender.training._transfer import adopt, adopt_ids
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
    networks, curves, chosen = [], [], Chosen()
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
            chosen = choose_by_trial(network, problem, plan, generators, choices)
        if design.is_trained:
            epochs = _train(network, problem, plan, generators, source, number, chosen)
            curves.append(watch(epochs, plan.training.max_epochs))
        networks.append(_whole(network, split))
    _forget_checkpoints(problem, plan, source)
    if len(problem.tasks) > 1 and plan.training.task_weights is None:
        choices.note("task_weights", weigh_tasks(networks, problem.tasks))
    return Trained(
        networks,
        _mean_curve([[e.loss for e in curve] for curve in curves]),
        _mean_curve([[e.score for e in c if e.score is not None] for c in curves]),
        chosen.id_l2,
        choices,
        chosen.memory,
        chosen.half_life,
    )


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
    chosen: Chosen,
) -> Iterator[Epoch]:
    """Train one network, on the device that it is on; yields the epochs."""
    examples, history, monitor = _hold_out(problem, plan, generators)
    decay = chosen.id_l2 / max(1, len(examples))
    options = make_options(network, problem, plan, len(problem.history.items), decay)
    options = replace(options, averaging=chosen.averaging)
    if source is not None and not source.knows_ids:
        options = replace(options, shared_rate=TRANSFER_RATE)
    batcher = make_batcher(problem, plan, generators, history, examples)
    loss = make_loss(network, problem, plan, generators, chosen.id_l2)
    folder, checkpoint = plan.training.checkpoint_dir, None
    if folder is not None:
        checkpoint = checkpoint_of(folder, problem, plan, source, number)
    trainer = Trainer(loss, batcher, options, monitor, checkpoint)
    if isinstance(monitor, LossMonitor):
        trainer.monitor = replace(monitor, loss=loss, read=trainer.read)
    return trainer.run()


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
