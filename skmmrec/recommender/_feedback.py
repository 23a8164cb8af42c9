"""From a fitted model and feedback to a model that has taken it in."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.interactions import ITEM, USER, Interactions, check_same_kind, positions
from skmmrec.recommender._base import check_known_items
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._preparation import liked_rows, with_signals
from skmmrec.recommender._rows import Rows
from skmmrec.recommender.network import check_ratings, teaches


def take_in(model: FittedModel, rows: Rows) -> FittedModel:
    """Return a copy of a model with interactions folded in."""
    data, ids = model.data, rows.ids
    n_columns = 1 if rows.answers is None else rows.answers.shape[1]
    check_ratings(model.tasks[0].objective, rows.answers)
    if n_columns != len(model.tasks):
        raise ValueError(f"y has {n_columns} columns, but fit had {len(model.tasks)}")
    if rows.content is None:
        advice = ": add it by add_items first"
        check_known_items(ids.items, data.items, advice)
    check_same_kind(ids.users, data.users, USER)
    check_same_kind(ids.items, data.items, ITEM)
    new, content = new_items(model, ids, rows.content)
    model = model.copy()
    if len(new):
        model.add_items(new, model.in_space(content))
    liked = liked_rows(model.tasks, rows)
    data = model.data.extend(ids, liked, rows.answers, rows.weights)
    model.meet(_newly_met(model, rows))
    model.take_in(with_signals(data, model.tasks), ids.users)
    model.facts = model.facts.with_rows(len(ids), ids.times)
    return model


def new_items(
    model: FittedModel, ids: Interactions, content: Blocks | None
) -> tuple[NDArray, Blocks]:
    """Ids and content of the items that a flat table brings along."""
    if content is None:
        return ids.items[:0], Blocks.without_content(0)
    is_new = positions(model.data.items, ids.items) < 0
    first = is_new & ~pd.Index(ids.items).duplicated()
    return ids.items[first], content.take(first)


def _newly_met(model: FittedModel, rows: Rows) -> NDArray:
    """Items in rows that some task learns from, and that were not met before."""
    items = rows.ids.items
    if rows.answers is not None:
        items = items[teaches(model.tasks, rows.answers)]
    places = np.unique(positions(model.data.items, items))
    return places[~model.met[places]]
