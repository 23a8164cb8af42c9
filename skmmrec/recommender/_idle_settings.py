"""Settings that would change nothing, which are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._settings import Settings
from skmmrec.recommender._user_towers import SequenceTower
from skmmrec.recommender.training import (
    LEAST_CREDIT,
    Plan,
    can_remember,
    n_processes,
)
from skmmrec.runtime import resolve_device


def refuse_idle(plan: Plan, model: FittedModel) -> None:
    """Refuse settings that would change nothing.

    The model is prepared: its tasks and its content are known. A ValueError for the
    first of them says why.
    """
    _refuse(_idle(plan, model))


def refuse_idle_further(plan: Plan, model: FittedModel) -> None:
    """Refuse settings that would change nothing where a model is trained further.

    A ValueError for the first of them says why.
    """
    _refuse((*_idle_weights(plan, model), *_idle_content(plan, model)))


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
