"""From rows to a model without networks, and from feedback to a model that has it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec._sklearn import clone
from skmmrec.catalog import Blocks, ItemCatalog, check_not_empty, read_columns
from skmmrec.interactions import (
    ITEM,
    USER,
    History,
    InteractionData,
    Interactions,
    Numbers,
    Table,
    check_same_kind,
    plain,
    read_answers,
    read_interactions,
    read_weights,
    refuse_columns,
    sorted_index,
)
from skmmrec.recommender._base import BaseRecommender, warn_of_odd_answers
from skmmrec.recommender._content_space import ContentSpace
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._settings import Propagation
from skmmrec.recommender.cold_start import find_noise, item_graph
from skmmrec.recommender.network import Task, check_ratings, make_tasks, teaches
from skmmrec.recommender.training import Plan, weights_and_answers

if TYPE_CHECKING:
    from skmmrec.llm import SoftTokenFuser


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
        A model whose content space this one shares.

    Returns
    -------
    FittedModel
        Without networks.
    """
    items, blocks = _collect_items(rows, catalog)
    tasks = make_tasks(objective, rows.answers, rows.weights)
    users, liked = _index_users(rows, user_catalog), liked_rows(tasks, rows)
    data = InteractionData.collect(
        rows.ids, users, items, liked, rows.answers, rows.weights
    )
    warn_of_odd_answers(data, _ranked_answers(tasks, rows.answers))
    data = with_signals(data, tasks)
    if fuser is not None:
        known = None if source is None else source.fuser
        fuser = known or _fit_fuser(fuser, data, catalog, blocks)
        blocks = fuser.transform(blocks, words=_words_of(catalog, items))
    space, content = _share_space(blocks, plan, data.history, source)
    user_space, user_content = _user_content(users, user_catalog, plan)
    model = FittedModel(
        data=data,
        tasks=tasks,
        design=plan.design,
        networks=[],
        content=content,
        space=space,
        met=np.zeros(len(items), bool),
        is_flat=catalog is None,
        cold_popularity=plan.cold_popularity,
        user_content=user_content,
        user_space=user_space,
        fuser=fuser,
    )
    if propagation is not None:
        model.propagation = propagation.share
        model.n_neighbors = propagation.n_neighbors
        model.graph = item_graph(data.history, content, model.n_neighbors)
    return model


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
    BaseRecommender._check_known(rows.ids.items, catalog.ids)
    items = sorted_index(catalog.ids.to_numpy())
    return items, catalog.blocks.take(catalog.ids.get_indexer(items))


def _index_users(rows: Rows, user_catalog: ItemCatalog | None) -> pd.Index:
    users = rows.ids.users
    if user_catalog is None:
        return sorted_index(users)
    check_same_kind(users, user_catalog.ids, USER)
    return sorted_index(np.concatenate([user_catalog.ids.to_numpy(), users]))


def _fit_fuser(
    fuser: SoftTokenFuser,
    data: InteractionData,
    catalog: ItemCatalog | None,
    blocks: Blocks,
) -> SoftTokenFuser:
    """Fit a fuser to these items and likes."""
    from skmmrec.llm import CoLikes

    fuser = clone(fuser)
    if catalog is not None:
        fuser.remember_in(catalog.derived)
    history = data.history
    likes = CoLikes(history.users[history.liked], history.items[history.liked])
    return fuser.fit(blocks, words=_words_of(catalog, data.items), likes=likes)


def _words_of(catalog: ItemCatalog | None, items: pd.Index) -> pd.DataFrame | None:
    """Raw content of items of the catalogue; a flat table brings none."""
    if catalog is None:
        return None
    table = catalog.items.iloc[catalog.ids.get_indexer(items)]
    return table.drop(columns=catalog.key)


def _share_space(
    blocks: Blocks, plan: Plan, history: History, source: FittedModel | None
) -> tuple[ContentSpace, Blocks]:
    """Space of the content, that of `source` if there is one, and content in it."""
    if source is not None:
        check_modalities(source.space, blocks.widths)
        return source.space, source.space.transform(blocks)
    settings = plan.regularization
    space = ContentSpace.fit(blocks, settings.n_components)
    content = space.transform(blocks)
    noise = find_noise(content, history) if settings.mute_noise else []
    if not noise:
        return space, content
    logger.info("muted: %s", ", ".join(noise))
    space = replace(space, muted=tuple(noise))
    return space, space.transform(blocks)


def check_modalities(space: ContentSpace, widths: dict[str, int]) -> None:
    """Refuse content of another kind than an earlier fit had.

    Raises
    ------
    ValueError
        If the names or widths of the modalities differ.
    """
    theirs = {name: len(mean) for name, mean in space.means.items()}
    if theirs != widths:
        raise ValueError(
            f"the earlier fit had the modalities {theirs} (name: width), this one has "
            f"{widths}: they must agree"
        )


def _user_content(
    users: pd.Index, user_catalog: ItemCatalog | None, plan: Plan
) -> tuple[ContentSpace | None, Blocks | None]:
    if user_catalog is None:
        return None, None
    blocks = user_catalog.blocks
    space = ContentSpace.fit(blocks, plan.regularization.n_components)
    rows: NDArray = user_catalog.ids.get_indexer(users)
    content = space.transform(blocks).take(np.maximum(rows, 0))
    mask = content.mask & (rows >= 0)[:, None]
    return space, Blocks(content.values, mask)


logger = logging.getLogger(__name__)

OtherColumnsAre: TypeAlias = Literal["content", "ignored", "unknown"]
Modalities: TypeAlias = Mapping[str, Any] | None


@dataclass(frozen=True)
class Rows:
    """What the rows given to `fit` or `partial_fit` say; those of weight 0 are gone.

    Attributes
    ----------
    ids : Interactions
        n rows of ids and times.
    content : Blocks or None
        Of each row's item, in the flat form.
    answers : ndarray of shape (n, n_tasks), float64, or None
        y; None: all are likes.
    weights : ndarray of shape (n,), float64, or None
        None: all are 1.
    """

    ids: Interactions
    content: Blocks | None
    answers: NDArray[np.float64] | None
    weights: NDArray[np.float64] | None


def read_rows(
    X: Table,
    y: Numbers | None,
    sample_weight: Numbers | None,
    others_are: OtherColumnsAre,
    modalities: Modalities = None,
) -> Rows:
    """Read and check everything that the caller of `fit` or `partial_fit` gave.

    Parameters
    ----------
    X, y, sample_weight
        As in `MultimodalFusionRecommender.fit`.
    others_are, modalities
        As in `read_columns_of`.
    """
    ids, content = read_columns_of(X, others_are, modalities)
    answers, weights = read_answers(y, ids), read_weights(sample_weight, ids)
    if weights is None or weights.all():
        return Rows(ids, content, answers, weights)
    kept = weights > 0
    return Rows(
        ids.where(kept),
        None if content is None else content.take(kept),
        None if answers is None else answers[kept],
        weights[kept],
    )


def read_columns_of(
    X: Table, others_are: OtherColumnsAre, modalities: Modalities = None
) -> tuple[Interactions, Blocks | None]:
    """Read the columns of X: ids, times and, in the flat form, content.

    Parameters
    ----------
    X : DataFrame or array-like
        Rows of interactions.
    others_are : {"content", "ignored", "unknown"}
        What columns are that are neither ids nor times. Unknown ones are an error.
    modalities : mapping or None
        Which columns of content form which modality.
    """
    ids, others = read_interactions(X)
    if others_are == "content":
        return ids, read_columns(others, modalities)
    if others_are == "ignored":
        return ids, Blocks.without_content(len(ids))
    refuse_columns(others)
    return ids, None


def take_in(model: FittedModel, rows: Rows) -> None:
    """Fold interactions into a model, which is left alone if something is wrong."""
    data, ids = model.data, rows.ids
    n_columns = 1 if rows.answers is None else rows.answers.shape[1]
    check_ratings(model.tasks[0].objective, rows.answers)
    if n_columns != len(model.tasks):
        raise ValueError(f"y has {n_columns} columns, but fit had {len(model.tasks)}")
    if rows.content is None:
        BaseRecommender._check_known(ids.items, data.items)
    check_same_kind(ids.users, data.users, USER)
    check_same_kind(ids.items, data.items, ITEM)
    new, content = new_items(model, ids, rows.content)
    if len(new):
        model.add_items(new, model.in_space(content))
    liked = liked_rows(model.tasks, rows)
    data = model.data.extend(ids, liked, rows.answers, rows.weights)
    model.meet(_newly_met(model, rows))
    model.take_in(with_signals(data, model.tasks), ids.users)


def liked_rows(tasks: Sequence[Task], rows: Rows) -> NDArray[np.bool_] | None:
    """Rows that make up histories: likes, or all with an answer that is predicted."""
    return None if rows.answers is None else tasks[0].learns_from(rows.answers[:, 0])


def _ranked_answers(tasks: Sequence[Task], answers: NDArray | None) -> list[NDArray]:
    """Columns of answers that say no more than what is liked."""
    if answers is None:
        return []
    return [answers[:, n] for n, task in enumerate(tasks) if task.sampled]


def new_items(
    model: FittedModel, ids: Interactions, content: Blocks | None
) -> tuple[NDArray, Blocks]:
    """Ids and content of the items that a flat table brings along."""
    if content is None:
        return ids.items[:0], Blocks.without_content(0)
    is_new = model.data.items.get_indexer(ids.items) < 0
    first = is_new & ~pd.Index(ids.items).duplicated()
    return ids.items[first], content.take(first)


def _newly_met(model: FittedModel, rows: Rows) -> NDArray:
    """Items in rows that some task learns from, and that were not met before."""
    items = rows.ids.items
    if rows.answers is not None:
        items = items[teaches(model.tasks, rows.answers)]
    positions = np.unique(model.data.items.get_indexer(items))
    return positions[~model.met[positions]]


def with_signals(data: InteractionData, tasks: Sequence[Task]) -> InteractionData:
    """Weigh the items of histories by their answers, where these are predicted."""
    answers = weights_and_answers(data.history, len(tasks))[1]
    return data.with_signals(tasks[0].signals(answers[:, 0]))


def add_items(model: FittedModel, catalog: ItemCatalog, items: pd.DataFrame) -> None:
    """Encode new items of a catalogue, and add them to a model.

    Raises
    ------
    ValueError
        For an item that is known already, comes twice or has no content; the model is
        left alone.
    """
    known_ids = model.data.items
    added = ItemCatalog(items, key=catalog.key)
    known = np.flatnonzero(known_ids.get_indexer(added.ids) >= 0)
    if len(known):
        raise ValueError(
            f"item {plain(added.ids[known[0]])!r} (row {known[0]}) is known already "
            f"({len(known)} such rows)"
        )
    check_same_kind(added.ids.to_numpy(), known_ids, catalog.key)
    content = added.items.drop(columns=catalog.key)
    blocks = catalog.encode(content)
    if catalog.on_empty == "raise":
        check_not_empty(added.ids, blocks)
    model.add_items(added.ids.to_numpy(), model.in_space(blocks, content))


def check_catalogs(recommender: BaseRecommender) -> None:
    """Refuse what is no catalogue, and `modalities` beside one.

    Raises
    ------
    ValueError
        It names the parameter.
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
    if params.get("modalities") is not None and params.get("catalog") is not None:
        raise ValueError(
            "modalities has no effect with a catalog: give it to "
            "ItemCatalog(items, encoder, modalities=...)"
        )
