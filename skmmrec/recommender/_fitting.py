"""The steps that every trained recommender takes in `fit`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skmmrec.interactions import positions
from skmmrec.recommender._choices import Choice
from skmmrec.recommender._feedback import take_in
from skmmrec.recommender._idle_settings import refuse_idle_further
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._rows import Rows
from skmmrec.recommender.cold_start import Expectation, learn_half_life
from skmmrec.recommender.memory import MemoryOfLikes, in_units, spread_users
from skmmrec.recommender.network import Array, VectorMaker, place
from skmmrec.recommender.training import (
    Epoch,
    HeldOut,
    MemoryWeight,
    Plan,
    Source,
    Trained,
    fit_accelerator,
    forget_unmet,
    met_items,
    train_further,
    train_networks,
)
from skmmrec.runtime import bar

if TYPE_CHECKING:
    import torch

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
    half_life = plan.half_life if rows.ids.ordered else None
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
        learn_expectation(model, fit_accelerator(plan))
    return trained


def finish(model: FittedModel, rows: Rows, plan: Plan, found: Trained) -> FittedModel:
    """Compute the vectors, with the half-life that is given or learned, and memory."""
    where, half_life = fit_accelerator(plan), plan.half_life
    model.update_items(where)
    if not model.networks[0].tower.weighs_recency:
        model.half_life = None
    elif half_life != "auto":
        model.half_life = half_life
    elif not rows.ids.ordered:
        model.choices.note("half_life", Choice(None, "no times tell the order of rows"))
    elif found.half_life is not None and found.half_life.value is not None:
        model.half_life = found.half_life.value
        model.choices.note("half_life", found.half_life)
    else:
        choose_half_life(model, where)
    model.update_users(where)
    if found.memory is not None:
        learn_memory(model, found.memory, where)
    return model


def learn_expectation(model: FittedModel, where: torch.device | None = None) -> None:
    """Learn to predict embeddings and biases from content.

    `where` is an accelerator to compute on, here and below; None: the CPU.
    """
    met = Expectation.sample(np.flatnonzero(model.met))
    if not model.content.values or len(met) == 0:
        return
    content, maker = model.content.take(met), VectorMaker(model.networks, where)
    model.expectation = Expectation.fit(
        content,
        maker.embeddings(met),
        maker.fused(content),
        model.learned_biases(met),
        evidence(model)[met],
        where,
    )


def evidence(model: FittedModel) -> NDArray[np.int64]:
    """How many users each item was learned from, at least 1."""
    by_likes = len(model.tasks) == 1 and model.tasks[0].sampled
    met = model.data.history if by_likes else model.data.seen
    return np.maximum(met.popularity, 1)


def choose_half_life(model: FittedModel, where: torch.device | None) -> None:
    """Choose the half-life that lets earlier likes predict the latest best."""
    maker, content = VectorMaker(model.networks, where), model.user_content
    items = place(model.item_vectors, where)

    def users_of(held: HeldOut, half_life: float | None) -> Array:
        made = held.user_tensor(maker, items, content, half_life)
        return made if where else made.numpy()

    biases = place(_biases_of_liked(model), where)
    chosen = learn_half_life(model.data.history, users_of, items, biases)
    model.half_life = chosen.value
    model.choices.note("half_life", chosen)


def learn_memory(
    model: FittedModel, counted: MemoryWeight, where: torch.device | None
) -> None:
    """Learn from the likes what items say of others.

    Its spread over a user's scores, over that of the vectors' scores, is the weight
    that is given.
    """
    history, most = model.data.history, spread_users(len(model.data.items))
    users = np.flatnonzero(history.lengths)
    users = np.sort(np.random.RandomState(0).permutation(users)[:most])
    known, vectors = history.take(users), model.user_vectors[users]
    learned = MemoryOfLikes.learn(history, counted.ordered, where)
    memory = learned.weighed(counted.power, model.half_life)
    items, biases = model.item_vectors, _biases_of_liked(model)
    memory = in_units(memory, known, vectors, items, biases).times(counted.weight)
    model.memory = memory if memory.weights.any() else None


def _biases_of_liked(model: FittedModel) -> NDArray[np.float32]:
    """Biases of the items; -inf for those that nobody likes."""
    liked = model.data.history.popularity > 0
    return np.where(liked, model.item_biases[:, 0], np.float32(-np.inf))


def feed(model: FittedModel, rows: Rows, plan: Plan) -> FittedModel:
    """Take rows in and, where that is wanted, train on them.

    Returns a copy, which has parameters of its own where it is trained.
    """
    model = take_in(model, rows)
    if not plan.training.partial_fit_epochs:
        return model
    # Networks are what they were fitted as, whatever was set since.
    plan = replace(plan, design=model.design)
    refuse_idle_further(plan, model)
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
