"""The steps that every trained recommender takes in `fit`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import replace

import numpy as np

from skmmrec.interactions import positions
from skmmrec.recommender._choices import Choice
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._preparation import Rows, take_in
from skmmrec.recommender._settings import Settings
from skmmrec.recommender._user_towers import SequenceTower
from skmmrec.recommender.training import (
    LEAST_CREDIT,
    Epoch,
    Plan,
    Source,
    Trained,
    can_remember,
    fit_accelerator,
    forget_unmet,
    met_items,
    n_processes,
    train_further,
    train_networks,
)
from skmmrec.runtime import bar, resolve_device

logger = logging.getLogger("skmmrec.recommender")


def watch(epochs: Iterable[Epoch], n_epochs: int) -> list[Epoch]:
    """Run the epochs of one network, with a progress bar and a line of the log each."""
    done: list[Epoch] = []
    with bar("fit", n_epochs, unit="epoch") as advance:
        for epoch in epochs:
            done.append(epoch)
            score = "" if epoch.score is None else f", held out {epoch.score:.4f}"
            text = f"loss {epoch.loss:.4f}{score}"
            logger.info("epoch %d/%d: %s", len(done), n_epochs, text)
            advance(1, text)
    return done


def learn(
    model: FittedModel,
    rows: Rows,
    plan: Plan,
    source: FittedModel | None = None,
    is_own: bool = False,
) -> Trained:
    """Train the networks of a model, and learn what content tells of new items.

    The model is prepared, and is completed. `source` is one to start from; `is_own`
    says that it is an earlier fit of the same recommender.
    """
    half_life = plan.half_life if _tell_order(rows) else None
    plan = replace(plan, cold_popularity=model.cold_popularity, half_life=half_life)
    data, problem, start = model.data, model.problem(), None
    if source is not None:
        theirs = source.data
        start = Source(source.networks, theirs.items, theirs.users, knows_ids=is_own)
    trained = train_networks(problem, plan, (data.items, data.users), start, watch)
    model.networks, model.id_l2 = trained.networks, trained.id_l2
    model.loss_curve, model.validation_curve = trained.losses, trained.scores
    model.choices.update(trained.choices)
    model.met = met_items(problem)
    if source is not None and is_own:
        before = data.items.get_indexer(source.data.items[source.met])
        model.met[before[before >= 0]] = True
    forget_unmet(model.networks, model.met)
    if plan.design.is_trained:
        model.learn_expectation(fit_accelerator(plan))
    return trained


def finish(model: FittedModel, rows: Rows, plan: Plan, found: Trained) -> FittedModel:
    """Compute the vectors, with the half-life that is given or learned, and memory."""
    where, half_life = fit_accelerator(plan), plan.half_life
    model.update_items(where)
    if not model.networks[0].tower.weighs_recency:
        model.half_life = None
    elif half_life != "auto":
        model.half_life = half_life
    elif not _tell_order(rows):
        model.choices.note("half_life", Choice(None, "no times tell the order of rows"))
    elif found.half_life is not None and found.half_life.value is not None:
        model.half_life = found.half_life.value
        model.choices.note("half_life", found.half_life)
    else:
        model.learn_half_life(where)
    model.update_users(where)
    if found.memory is not None:
        model.learn_memory(found.memory, where)
    return model


def _tell_order(rows: Rows) -> bool:
    """Tell whether times put rows in an order."""
    times = rows.ids.times
    return times is not None and bool(np.any(times != times[0]))


def feed(model: FittedModel, rows: Rows, plan: Plan) -> FittedModel:
    """Take rows in and, where that is wanted, train on them.

    Returns a copy, which has parameters of its own where it is trained.
    """
    model = take_in(model, rows)
    if not plan.training.partial_fit_epochs:
        return model
    # Networks are what they were fitted as, whatever was set since.
    plan = replace(plan, design=model.design)
    _refuse((*_idle_weights(plan, model), *_idle_content(plan, model)))
    model.networks = deepcopy(model.networks)
    pairs = (
        positions(model.data.users, rows.ids.users),
        positions(model.data.items, rows.ids.items),
    )
    model.loss_curve = model.loss_curve + train_further(
        model.networks, model.problem(), plan, model.id_l2, pairs, watch
    )
    where = fit_accelerator(plan)
    model.update_items(where)
    model.update_users(where)
    return model


def refuse_idle(plan: Plan, model: FittedModel) -> None:
    """Refuse settings that would change nothing.

    The model is prepared: its tasks and its content are known. A ValueError for the
    first of them says why.
    """
    _refuse(_idle(plan, model))


def _refuse(idle: Iterable[tuple[str, str]]) -> None:
    """Name the first of some settings without effect, and the reason."""
    for name, reason in idle:
        raise ValueError(f"{name} has no effect here: {reason}")


def _idle(plan: Plan, model: FittedModel) -> Iterator[tuple[str, str]]:
    yield from _idle_weights(plan, model)
    yield from _idle_tasks(plan, model)
    if plan.early_stopping and plan.training.averaging not in ("auto", 0):
        yield "training.averaging", "early stopping keeps the weights of one epoch"
    yield from _idle_content(plan, model)
    yield from _idle_processes(plan, model)
    yield from _idle_device(plan)
    is_given = isinstance(plan.half_life, int | float)
    if isinstance(plan.design.tower, SequenceTower) and is_given:
        yield "half_life", "a SequenceTower learns the order of a history by itself"


def _idle_weights(plan: Plan, model: FittedModel) -> Iterator[tuple[str, str]]:
    weights, n_tasks = plan.training.task_weights, len(model.tasks)
    if weights is not None and n_tasks == 1:
        yield "training.task_weights", "there is one task only"
    if weights is not None and len(weights) != n_tasks:
        yield "training.task_weights", f"{len(weights)} weights, but {n_tasks} tasks"


def _idle_tasks(plan: Plan, model: FittedModel) -> Iterator[tuple[str, str]]:
    if plan.memory not in (None, "auto", 0) and not can_remember(model.problem()):
        yield "memory", "histories hold ratings or dislikes, and a memory knows likes"
    if any(task.sampled for task in model.tasks):
        return
    reason = "nothing is ranked against drawn items, each row's answer is predicted"
    if plan.cold_popularity not in ("auto", LEAST_CREDIT):
        yield "cold_popularity", reason
    balance = plan.regularization.modality_balance
    if plan.training.own_negatives != "auto" and not balance:
        yield "training.own_negatives", reason


def _idle_content(plan: Plan, model: FittedModel) -> Iterator[tuple[str, str]]:
    n_modalities = len(model.content.modalities)
    changed = plan.regularization.changed()
    if changed.get("alignment") and n_modalities < 2:
        yield (
            "regularization.alignment",
            f"it pulls modalities together, and there are {n_modalities}",
        )
    if n_modalities or model.space.muted:
        return
    for name in ("modality_dropout", "modality_balance", "n_components", "mute_noise"):
        if name in changed:
            yield f"regularization.{name}", "the items have no content"


def _idle_processes(plan: Plan, model: FittedModel) -> Iterator[tuple[str, str]]:
    tables, n_items = plan.training.tables, len(model.content)
    if tables != "auto" and n_processes() == 1:
        yield (
            "training.tables",
            "one process trains alone, and holds all. Start several by torchrun and "
            "torch.distributed.init_process_group()",
        )
    if tables == "sharded" and n_items < n_processes():
        yield "training.tables", f"{n_items} items, but {n_processes()} processes"


def _idle_device(plan: Plan) -> Iterator[tuple[str, str]]:
    device = resolve_device(plan.device).type
    if plan.training.cuda_graphs not in (False, "auto") and device != "cuda":
        yield "training.cuda_graphs", f"the fit runs on {device!r}, which has none"


def refuse_changed(settings: Settings, names: frozenset[str], reason: str) -> None:
    """Refuse values other than the defaults for some names.

    The ValueError names the first of them.
    """
    for name in settings.changed():
        if name in names:
            kind = type(settings).__name__
            raise ValueError(f"{name} of {kind} has no effect here: {reason}")
