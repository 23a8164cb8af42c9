"""From rows to a model without networks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.interactions import (
    ITEM,
    TIME,
    USER,
    History,
    InteractionData,
    check_same_kind,
    plain,
    positions,
    sorted_index,
    warn_of_sorted_rows,
)
from skmmrec.recommender._base import (
    BaseRecommender,
    check_known_items,
    warn_of_odd_answers,
)
from skmmrec.recommender._choices import Choices
from skmmrec.recommender._content_space import ContentSpace
from skmmrec.recommender._facts import Facts
from skmmrec.recommender._fusing import fuse
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._rows import Rows
from skmmrec.recommender._settings import Propagation
from skmmrec.recommender._user_towers import SequenceTower
from skmmrec.recommender.cold_start import choose_credit, find_noise, item_graph
from skmmrec.recommender.network import Task, make_tasks
from skmmrec.recommender.training import Plan, fit_accelerator, weights_and_answers

if TYPE_CHECKING:
    from skmmrec.llm import SoftTokenFuser


logger = logging.getLogger("skmmrec.recommender")


def prepare(
    rows: Rows,
    plan: Plan,
    catalog: ItemCatalog | None,
    objective: str | Sequence[str],
    *,
    fuser: SoftTokenFuser | None = None,
    user_catalog: ItemCatalog | None = None,
    propagation: Propagation | None = None,
    source: FittedModel | None = None,
) -> FittedModel:
    """Index ids, group histories and bring content into one space.

    Parameters
    ----------
    rows : Rows
        What the caller gave.
    plan : Plan
        The caller's settings.
    catalog, user_catalog : ItemCatalog or None
        Content of items and users; without the first, the rows bring it along.
    objective : str or sequence of str
        What is predicted of each column of the answers.
    fuser : SoftTokenFuser or None
        What fuses content before anything else; not fitted.
    propagation : Propagation or None
        Graph of items.
    source : FittedModel or None
        A model whose content spaces this one shares.

    Returns
    -------
    FittedModel
        Without networks.
    """
    catalog, user_catalog = _as_of_now(rows, catalog, user_catalog)
    items, blocks = _collect_items(rows, catalog)
    tasks = make_tasks(objective, rows.answers, rows.weights)
    users, liked = _index_users(rows, user_catalog), liked_rows(tasks, rows)
    data = InteractionData.collect(
        rows.ids, users, items, liked, rows.answers, rows.weights
    )
    warn_of_odd_answers(data, _ranked_answers(tasks, rows.answers))
    if rows.ids.times is None and _reads_order(plan):
        warn_of_sorted_rows(data.seen.users, data.seen.items, items, _BY_ID)
    data = with_signals(data, tasks)
    if fuser is not None:
        known = None if source is None else source.fuser
        fuser, blocks = fuse(fuser, known, data, catalog, blocks)
    choices = Choices()
    space, content = _share_space(blocks, plan, data, tasks, source, choices)
    user_space, user_content = _user_content(users, user_catalog, plan, source)
    model = FittedModel(
        data=data,
        tasks=tasks,
        design=plan.design,
        networks=[],
        content=content,
        space=space,
        met=np.zeros(len(items), bool),
        is_flat=catalog is None,
        keys=rows.keys,
        cold_popularity=_credit(rows, plan, data, tasks, liked, choices),
        user_content=user_content,
        user_space=user_space,
        fuser=fuser,
        facts=Facts.of_fit(len(rows.ids), rows.ids.times, plan.random_state),
        choices=choices,
    )
    if propagation is not None:
        model.propagation = propagation.share
        model.n_neighbors = propagation.n_neighbors
        model.graph = item_graph(data.history, content, model.n_neighbors)
    return model


_BY_ID = "users would be learned as if they had liked items in this order"


def _reads_order(plan: Plan) -> bool:
    """Tell whether users depend on the order of their likes, also without times."""
    tower = plan.design.tower
    if isinstance(tower, SequenceTower):
        return True
    return tower is not None and isinstance(plan.half_life, int | float)


def _credit(
    rows: Rows,
    plan: Plan,
    data: InteractionData,
    tasks: Sequence[Task],
    liked: NDArray[np.bool_] | None,
    choices: Choices,
) -> float:
    """Choose what new items are credited with, or take what is given."""
    has_effect = plan.design.is_trained and any(task.sampled for task in tasks)
    if plan.cold_popularity != "auto" or not has_effect:
        return plan.credit
    n_users = int(np.count_nonzero(data.history.lengths))
    likes = _first_likes(rows, data, liked)
    choice = choose_credit(*likes, len(data.items), n_users)
    choices.note("cold_popularity", choice)
    return float(choice.value)


def _first_likes(
    rows: Rows, data: InteractionData, liked: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray | None]:
    """Items that were liked, and when; of a like that is repeated, its first time."""
    ids = rows.ids
    if ids.times is None:
        return np.empty(0, np.int64), None
    users, items = positions(data.users, ids.users), positions(data.items, ids.items)
    likes = pd.DataFrame({USER: users, ITEM: items, TIME: ids.times})
    if liked is not None:
        likes = likes[liked]
    likes = likes.sort_values(TIME, kind="stable").drop_duplicates([USER, ITEM])
    return likes[ITEM].to_numpy(), likes[TIME].to_numpy()


def _as_of_now(
    rows: Rows, catalog: ItemCatalog | None, user_catalog: ItemCatalog | None
) -> tuple[ItemCatalog | None, ItemCatalog | None]:
    """Return the catalogues as they are now, encoded, once the ids are checked."""
    if catalog is not None:
        advice = (
            f", whose ids are such as {plain(catalog.ids[0])!r}: put all items into "
            "it, or leave such rows out"
        )
        check_known_items(rows.ids.items, catalog.ids, advice)
        catalog = catalog.snapshot()
    if user_catalog is not None:
        check_same_kind(rows.ids.users, user_catalog.ids, USER)
        user_catalog = user_catalog.snapshot()
    return catalog, user_catalog


def _collect_items(rows: Rows, catalog: ItemCatalog | None) -> tuple[pd.Index, Blocks]:
    """Index of all items, sorted, and their content in that order."""
    if catalog is None:
        ids = pd.Index(rows.ids.items)
        items = sorted_index(rows.ids.items)
        first = np.flatnonzero(~ids.duplicated())
        order = first[ids[first].get_indexer(items)]
        content = rows.content
        if content is None:
            return items, Blocks.without_content(len(items))
        return items, content.take(order)
    items = sorted_index(catalog.ids.to_numpy())
    if items.equals(catalog.ids):
        return items, catalog.blocks
    return items, catalog.blocks.view(catalog.ids.get_indexer(items))


def _index_users(rows: Rows, user_catalog: ItemCatalog | None) -> pd.Index:
    users = rows.ids.users
    if user_catalog is None:
        return sorted_index(users)
    check_same_kind(users, user_catalog.ids, USER)
    if len(user_catalog) and not user_catalog.ids.isin(users).any():
        raise ValueError(
            "user_catalog has none of the users of X: its first is "
            f"{plain(user_catalog.ids[0])!r}, that of X is {plain(users[0])!r}"
        )
    return sorted_index(np.concatenate([user_catalog.ids.to_numpy(), users]))


def _share_space(
    blocks: Blocks,
    plan: Plan,
    data: InteractionData,
    tasks: Sequence[Task],
    source: FittedModel | None,
    choices: Choices,
) -> tuple[ContentSpace, Blocks]:
    """Space of the content, that of `source` if there is one, and content in it."""
    if source is not None:
        check_modalities(source.space, blocks.widths)
        source.space.check_n_components(plan.regularization.n_components)
        source.space.check_mute_noise(plan.regularization.mute_noise)
        return source.space, source.space.transform(blocks, fit_accelerator(plan))
    settings, where = plan.regularization, fit_accelerator(plan)
    space = ContentSpace.fit(blocks, settings.n_components, where)
    content = space.transform(blocks, where)
    logger.info("modalities and their widths, reduced: %s", content.widths)
    if not settings.mute_noise or len(content.values) < 2:
        return space, content
    answers = _mean_answers(data.seen, tasks)
    found = find_noise(content, data.history, where, answers)
    choices.note("muted_modalities", found)
    if not found.value:
        return space, content
    space = replace(space, muted=tuple(found.value))
    return space, content.select(space.modalities)


def _mean_answers(seen: History, tasks: Sequence[Task]) -> list[NDArray[np.float64]]:
    """Mean answers about each item that are to be predicted; NaN for none."""
    weights, answers = weights_and_answers(seen, len(tasks))
    means = []
    for task, column in zip(tasks, answers.T, strict=True):
        if not task.sampled:
            known = np.bincount(seen.items[~np.isnan(column)], minlength=seen.n_items)
            start = task.start_biases(known, 1.0, seen.items, column, weights)
            means.append(np.where(known, start, np.nan))
    return means


def check_modalities(
    space: ContentSpace, widths: dict[str, int], name: str = ""
) -> None:
    """Refuse content of another kind than an earlier fit had.

    Raises ValueError if the names or widths of the modalities differ; `name` is that of
    the catalogue, if it is not that of the items.
    """
    theirs = space.raw_widths
    if theirs != widths:
        place = f" in {name}" if name else ""
        raise ValueError(
            f"the earlier fit had the modalities {theirs} (name: width){place}, this "
            f"one has {widths}: they must agree"
        )


def _user_content(
    users: pd.Index,
    user_catalog: ItemCatalog | None,
    plan: Plan,
    source: FittedModel | None,
) -> tuple[ContentSpace | None, Blocks | None]:
    if user_catalog is None:
        return None, None
    user_catalog.check_not_empty("user")
    blocks = user_catalog.blocks
    where = fit_accelerator(plan)
    space = None if source is None else source.user_space
    if space is None:
        space = ContentSpace.fit(blocks, plan.regularization.n_components, where)
    else:
        space.check_n_components(plan.regularization.n_components)
    check_modalities(space, blocks.widths, "user_catalog")
    rows: NDArray = user_catalog.ids.get_indexer(users)
    # Users whom the catalogue lacks are at -1, the last: nothing is known of that one.
    known_and_nobody = blocks.append(blocks.missing(1))
    return space, space.transform(known_and_nobody, where).take(rows)


def liked_rows(tasks: Sequence[Task], rows: Rows) -> NDArray[np.bool_] | None:
    """Rows that make up histories: likes, or all with an answer that is predicted."""
    return None if rows.answers is None else tasks[0].learns_from(rows.answers[:, 0])


def _ranked_answers(tasks: Sequence[Task], answers: NDArray | None) -> list[NDArray]:
    """Columns of answers that say no more than what is liked."""
    if answers is None:
        return []
    return [answers[:, n] for n, task in enumerate(tasks) if task.sampled]


def with_signals(data: InteractionData, tasks: Sequence[Task]) -> InteractionData:
    """Weigh the items of histories by their answers, where these are predicted."""
    answers = weights_and_answers(data.history, len(tasks))[1]
    return data.with_signals(tasks[0].signals(answers[:, 0]))


def check_catalogs(recommender: BaseRecommender) -> None:
    """Refuse what is no catalogue, and `modalities` beside one.

    The ValueError names the parameter.
    """
    params = recommender.get_params(deep=False)
    for name in ("catalog", "user_catalog"):
        value = params.get(name)
        if not isinstance(value, ItemCatalog | None):
            kind = name.removesuffix("catalog").strip("_") or "item"
            raise InvalidParameterError(
                f"The {name!r} parameter of {type(recommender).__name__} must be an "
                f"ItemCatalog or None, got {type(value).__name__}; a table of {kind}s "
                f"becomes a catalogue by ItemCatalog({kind}s, encoder)."
            )
    users, items = params.get("user_catalog"), params.get("catalog")
    if users is not None and users.key == (ITEM if items is None else items.key):
        raise ValueError(
            f"user_catalog has the key {users.key!r}, which is that of items: give the "
            "column of users, ItemCatalog(users, key=...)"
        )
    if params.get("modalities") is not None and params.get("catalog") is not None:
        raise ValueError(
            "modalities has no effect with a catalog: give it to "
            "ItemCatalog(items, encoder, modalities=...)"
        )
