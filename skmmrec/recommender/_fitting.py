"""From the estimator's parameters and data to a trained network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skmmrec.recommender._checkpoint import Checkpoint, fingerprint
from skmmrec.recommender._distributed import agree, own_device, world
from skmmrec.recommender._examples import Batcher, Examples
from skmmrec.recommender._history import History
from skmmrec.recommender._id_prior import LOW, learn_precision
from skmmrec.recommender._inference import to_tensors
from skmmrec.recommender._network import FusionNetwork
from skmmrec.recommender._problem import Problem
from skmmrec.recommender._step import LossOfBatch, LossOptions, Neighbours
from skmmrec.recommender._training import Epoch, Trainer, TrainingOptions
from skmmrec.recommender._validation import (
    LikesMonitor,
    LossMonitor,
    Monitor,
    hide_examples,
    hide_likes,
    some_users,
    without,
)

if TYPE_CHECKING:
    from skmmrec.recommender._estimator import MultimodalFusionRecommender

DENSE_PER_ITEM, DENSE_PER_USER = 12, 20
MIN_BATCHES, MAX_BATCHES = 30, 500
PARTIAL_FIT_RATE = TRANSFER_RATE = 0.1
MIN_TRIED, MAX_TRIED, HIDDEN_SHARE = 2000, 100_000, 0.1
TRIAL_LENGTH, MIN_TRIAL_EPOCHS, MAX_TRIAL_EPOCHS = 40_000, 2, 4


def choose_batch_size(history: History) -> int:
    """Batch size for ``batch_size="auto"``.

    Many steps are wanted where there is much to learn about each item or user, some
    steps in any case, and no more than enough of them where there is very much data.
    """
    n_pairs = len(history.items)
    size = np.clip(n_pairs // MIN_BATCHES, 32, 512 if _is_dense(history) else 2048)
    return int(max(size, n_pairs // MAX_BATCHES))


def _is_dense(history: History) -> bool:
    """Whether items or users have many interactions."""
    n_pairs = len(history.items)
    per_item = n_pairs / max(1, int(np.count_nonzero(history.popularity)))
    per_user = n_pairs / max(1, int(np.count_nonzero(history.lengths)))
    return per_item >= DENSE_PER_ITEM or per_user >= DENSE_PER_USER


def train(
    rec: MultimodalFusionRecommender,
    network: FusionNetwork,
    problem: Problem,
    number: int,
) -> Iterator[Epoch]:
    """Train a network of a fit, on the device that it is on; yields the epochs."""
    examples, history, monitor = _hold_out(rec, problem)
    decay = rec.id_l2_ / max(1, len(examples))
    options = _options(rec, network, problem, history, decay)
    batcher = _batcher(rec, problem, history, examples)
    loss = _loss(rec, network, problem, batcher)
    if isinstance(monitor, LossMonitor):
        monitor = replace(monitor, loss=loss)
    checkpoint = _checkpoint(rec, problem, number)
    return Trainer(loss, batcher, options, monitor, checkpoint).run()


def choose_id_l2(
    rec: MultimodalFusionRecommender, network: FusionNetwork, problem: Problem
) -> float:
    """Choose the precision of the embeddings' prior, by training a copy."""
    if rec.id_l2 != "auto":
        return float(rec.id_l2)
    if rec.mode == "content" or rec.max_time is not None:
        return LOW
    examples, history = some_users(problem.examples, problem.history, MAX_TRIED, _rng())
    if len(examples) < MIN_TRIED or rec.max_epochs <= MIN_TRIAL_EPOCHS:
        return LOW
    n_epochs = math.ceil(TRIAL_LENGTH / len(examples))
    n_epochs = min(max(n_epochs, MIN_TRIAL_EPOCHS), MAX_TRIAL_EPOCHS, rec.max_epochs)
    rest, hidden, left = hide_examples(examples, history, HIDDEN_SHARE, _rng())
    batcher = _batcher(rec, problem, left, rest)
    loss = _loss(rec, deepcopy(network), problem, batcher)
    options = _options(rec, network, problem, left, LOW / len(rest))
    trainer = Trainer(loss, batcher, replace(options, patience=None))
    held_out = _batcher(rec, problem, left, hidden)
    return learn_precision(trainer, held_out, n_epochs)


def train_further(
    rec: MultimodalFusionRecommender,
    network: FusionNetwork,
    problem: Problem,
    new_pairs: tuple[NDArray, NDArray],
) -> Iterator[Epoch]:
    """Train on new pairs, given by users and items, and as many old ones."""
    examples, n_items = problem.examples, problem.seen.n_items
    users, items = new_pairs
    new = np.isin(examples.users * n_items + examples.items, users * n_items + items)
    old = np.flatnonzero(~new)
    drawn = _rng().permutation(len(old))[: np.count_nonzero(new)]
    chosen = examples.take(np.concatenate([np.flatnonzero(new), old[drawn]]))
    decay = rec.id_l2_ / max(1, len(examples))
    options = replace(
        _options(rec, network, problem, problem.history, decay),
        epochs=rec.partial_fit_epochs,
        learning_rate=rec.learning_rate * PARTIAL_FIT_RATE,
        max_time=None,
        patience=None,
    )
    batcher = _batcher(rec, problem, problem.history, chosen)
    return Trainer(_loss(rec, network, problem, batcher), batcher, options).run()


def _hold_out(
    rec: MultimodalFusionRecommender, problem: Problem
) -> tuple[Examples, History, Monitor | None]:
    """Decide what to train on, and what watches it."""
    examples, history = problem.examples, problem.history
    if not rec.early_stopping:
        return examples, history, None
    rng = _rng()
    metric = rec.validation_metric
    if metric == "auto":
        metric = "ndcg@10" if problem.tasks[0].sampled else "loss"
    if metric == "loss":
        share = rec.validation_fraction
        rest, aside, left = hide_examples(examples, history, share, rng)
        return rest, left, LossMonitor(_batcher(rec, problem, left, aside))
    hidden, held_out = hide_likes(history, rec.validation_fraction, rng)
    is_hidden = examples.held & hidden[examples.places_in(history)]
    monitor = LikesMonitor(
        metric,
        held_out,
        problem.content,
        problem.graph,
        rec.propagation,
        problem.user_content,
    )
    return (
        without(examples, history, hidden, is_hidden),
        history.where(~hidden),
        monitor,
    )


def _options(
    rec: MultimodalFusionRecommender,
    network: FusionNetwork,
    problem: Problem,
    history: History,
    id_decay: float,
) -> TrainingOptions:
    size = rec.batch_size
    return TrainingOptions(
        epochs=rec.max_epochs,
        batch_size=choose_batch_size(history) if size == "auto" else int(size),
        learning_rate=rec.learning_rate,
        shared_rate=TRANSFER_RATE if problem.is_transfer else 1.0,
        id_decay=id_decay,
        clip_norm=rec.clip_norm,
        max_time=None if rec.max_time is None else rec.max_time / rec.n_members,
        half=_half(rec.precision, network),
        patience=rec.n_iter_no_change if rec.early_stopping else None,
    )


def _rng() -> np.random.RandomState:
    """Numbers that follow from torch's seed, the same in all processes."""
    return np.random.RandomState(agree(int(torch.randint(2**31, ()))))


def _batcher(
    rec: MultimodalFusionRecommender,
    problem: Problem,
    history: History,
    examples: Examples,
) -> Batcher:
    """Batches of some examples of the problem, by what is left of its histories."""
    by_popularity = any(task.objective == "softmax" for task in problem.tasks)
    in_order = rec.mode == "fusion" and rec.user_tower == "sequence"
    max_history = None if in_order else rec.max_history
    own = rec.own_negatives
    if own == "auto":
        own = not _is_dense(problem.history)
    return Batcher(
        history,
        examples,
        rec.n_negatives,
        own_negatives=bool(own),
        by_popularity=by_popularity,
        max_history=max_history,
    )


def _loss(
    rec: MultimodalFusionRecommender,
    network: FusionNetwork,
    problem: Problem,
    batcher: Batcher,
) -> LossOfBatch:
    device = network.item_bias.device
    weights = rec.task_weights
    options = LossOptions(
        dropout=rec.dropout,
        modality_dropout=rec.modality_dropout,
        id_dropout=rec.id_dropout,
        history_dropout=rec.history_dropout,
        l2=rec.l2,
        alignment=rec.alignment,
        modality_balance=rec.modality_balance,
        propagation=rec.propagation,
        task_weights=None if weights is None else tuple(float(w) for w in weights),
    )
    graph, users = problem.graph, problem.user_content
    return LossOfBatch(
        network,
        to_tensors(problem.content, torch.float32, device),
        batcher.log_q.to(device),
        problem.tasks,
        options,
        None if users is None else to_tensors(users, torch.float32, device),
        None
        if graph is None
        else Neighbours(
            torch.from_numpy(graph.items).to(device),
            torch.from_numpy(graph.weights).to(device),
        ),
    )


def _half(precision: str, network: FusionNetwork) -> bool:
    """Whether products are computed in bfloat16."""
    on_gpu = network.item_bias.device.type == "cuda"
    return precision == "bfloat16" or (precision == "auto" and on_gpu)


def _checkpoint(
    rec: MultimodalFusionRecommender, problem: Problem, number: int
) -> Checkpoint | None:
    """Place of the state of one network's training."""
    if rec.checkpoint_dir is None:
        return None
    params = rec.get_params(deep=False)
    for name in ("catalog", "user_catalog", "checkpoint_dir", "verbose", "max_time"):
        params.pop(name)
    seen = problem.seen
    arrays = [seen.offsets, seen.items, *problem.content.values.values()]
    arrays += [problem.content.mask, *([] if seen.values is None else [seen.values])]
    key = f"{fingerprint(params, arrays)}-{number}"
    return Checkpoint(rec.checkpoint_dir, key)


def forget_checkpoints(rec: MultimodalFusionRecommender, problem: Problem) -> None:
    """Delete what a fit that is complete has kept."""
    for number in range(rec.n_members):
        checkpoint = _checkpoint(rec, problem, number)
        if checkpoint is not None and world()[0] == 0:
            checkpoint.remove()


@contextmanager
def seeded(random_state: Any, device: torch.device) -> Iterator[None]:
    """Seed torch inside the block, and leave its generators as they were."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    device = own_device(device)
    with torch.random.fork_rng(devices=_cuda_devices(device)):
        torch.manual_seed(agree(seed))
        yield


def _cuda_devices(device: torch.device) -> list[int]:
    if device.type != "cuda":
        return []
    return [torch.cuda.current_device() if device.index is None else device.index]
