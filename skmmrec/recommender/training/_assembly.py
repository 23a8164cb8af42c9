"""What a trainer is made of: batches, a loss and options, by the caller's settings."""

from __future__ import annotations

import numpy as np
import torch

from skmmrec.interactions import History
from skmmrec.recommender._user_towers import MeanTower
from skmmrec.recommender.network import FusionNetwork, Neighbours, place, to_tensors
from skmmrec.recommender.training._batches import Batcher
from skmmrec.recommender.training._by_precision import choose_modality_dropout
from skmmrec.recommender.training._density import (
    Density,
    choose_batch_size,
    choose_own_negatives,
)
from skmmrec.recommender.training._loop import TrainingOptions
from skmmrec.recommender.training._plan import Plan
from skmmrec.recommender.training._problem import Examples, Problem
from skmmrec.recommender.training._processes import agree
from skmmrec.recommender.training._split_tables import choose_split
from skmmrec.recommender.training._step import LossOfBatch, LossOptions
from skmmrec.runtime import Generators


def make_options(
    network: FusionNetwork,
    problem: Problem,
    plan: Plan,
    n_pairs: int,
    id_decay: float,
) -> TrainingOptions:
    """Options of a training on so many pairs, its precision over their number."""
    training, stopping = plan.training, plan.early_stopping
    size, max_time = training.batch_size, training.max_time
    if size == "auto":
        size = choose_batch_size(Density.of(problem.history), n_pairs).value
    return TrainingOptions(
        epochs=training.max_epochs,
        batch_size=int(size),
        learning_rate=training.learning_rate,
        id_decay=id_decay,
        clip_norm=training.clip_norm,
        max_time=None if max_time is None else max_time / plan.n_members,
        half=_half(training.precision, network),
        patience=None if stopping is None else stopping.n_iter_no_change,
        split=choose_split(problem, plan),
        cuda_graphs=training.cuda_graphs,
    )


def make_rng(generators: Generators) -> np.random.RandomState:
    """Numbers that follow from the seed of the fit, the same in all processes."""
    return np.random.RandomState(agree(generators.integer()))


def make_batcher(
    problem: Problem,
    plan: Plan,
    generators: Generators,
    history: History,
    examples: Examples,
) -> Batcher:
    """Batches of some examples of the problem, by what is left of its histories."""
    training, own = plan.training, plan.training.own_negatives
    graph, tower = problem.graph, plan.design.tower or MeanTower()
    if own == "auto":
        own = choose_own_negatives(Density.of(problem.history)).value
    return Batcher(
        history,
        examples,
        training.n_negatives,
        own_negatives=float(own),
        by_popularity=any(task.objective == "softmax" for task in problem.tasks),
        generator=_where_batches_are_made(generators),
        max_history=tower.drawn_history,
        window=tower.window,
        history_exponent=tower.history_exponent,
        device=generators.device.device,
        neighbours=None if graph is None else place(graph.items, torch.device("cpu")),
    )


def _where_batches_are_made(generators: Generators) -> torch.Generator:
    """On the device, unless it may lack some of the operations, as Apple's."""
    on_device = generators.device.device.type in ("cpu", "cuda")
    return generators.device if on_device else generators.host


def make_loss(
    network: FusionNetwork,
    problem: Problem,
    plan: Plan,
    generators: Generators,
    id_l2: float,
) -> LossOfBatch:
    """Make the loss of a network on the device that it is on."""
    device, given = network.item_bias.device, plan.regularization
    weights, hidden = plan.training.task_weights, given.modality_dropout
    if hidden == "auto":
        hidden = choose_modality_dropout(id_l2).value
    options = LossOptions(
        dropout=given.dropout,
        modality_dropout=float(hidden),
        id_dropout=given.id_dropout,
        history_dropout=given.history_dropout,
        l2=given.l2,
        alignment=given.alignment,
        modality_balance=given.modality_balance,
        propagation=problem.propagation,
        task_weights=None if weights is None else tuple(float(w) for w in weights),
    )
    graph, users = problem.graph, problem.user_content
    return LossOfBatch(
        network,
        to_tensors(problem.content, torch.float32, device),
        problem.tasks,
        options,
        generators,
        None if users is None else to_tensors(users, torch.float32, device),
        None
        if graph is None
        else Neighbours(
            place(graph.items, torch.device(device)),
            place(graph.weights, torch.device(device)),
        ),
    )


def _half(precision: str, network: FusionNetwork) -> bool:
    """Whether products are computed in bfloat16."""
    on_gpu = network.item_bias.device.type == "cuda"
    return precision == "bfloat16" or (precision == "auto" and on_gpu)
