"""Questions about items, by their ids or by raw content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.catalog import ItemCatalog
from skmmrec.interactions import ITEM, History, Keys, find_column, unit_vectors
from skmmrec.recommender._content_space import refuse_empty_rows
from skmmrec.recommender._model import FittedModel
from skmmrec.retrieval import ExactSearch, Lists

if TYPE_CHECKING:
    import torch


def is_content(table: pd.DataFrame, keys: Keys, catalog: ItemCatalog | None) -> bool:
    """Tell raw content of items from rows of interactions."""
    names = [str(column) for column in table.columns]
    item = find_column(names, keys.item)
    if item is None or not names:
        return bool(names)
    # Raw content may bring its key along, unless that has the usual name.
    return (
        catalog is not None
        and find_column([names[item]], [ITEM]) is None
        and set(table.columns) <= set(catalog.columns)
    )


def refuse_content(query: object, catalog: ItemCatalog | None) -> None:
    """Refuse a row of a table, whose numbers would be read as ids, and a dict."""
    if isinstance(query, Mapping):
        raise TypeError(
            "query must be ids or a DataFrame of raw content, got "
            f"{type(query).__name__}: give pd.DataFrame([query]) for one row, or "
            "pd.DataFrame(query) for columns"
        )
    if catalog is None or not isinstance(query, pd.Series):
        return
    columns = {name for name in catalog.columns if isinstance(name, str)}
    column = next((label for label in query.index if label in columns), None)
    if column is not None:
        raise ValueError(
            f"query is a row of content, as it has {column!r}: give a DataFrame, "
            "query.to_frame().T, or ids"
        )


def content_vectors(
    model: FittedModel,
    catalog: ItemCatalog | None,
    content: pd.DataFrame,
    refuse_empty: bool = False,
) -> NDArray[np.float32]:
    """Compute the vectors of items, (n, dim), of n rows of raw content.

    A row without any content is refused if `refuse_empty`, or by the catalogue's
    `on_empty`.
    """
    if catalog is None:
        raise ValueError(
            "raw content needs a catalog, which encodes it: this recommender has "
            "none (after load, give load(..., catalog=...))"
        )
    blocks = model.in_space(catalog.encode(content), content)
    if refuse_empty or catalog.on_empty == "raise":
        refuse_empty_rows(blocks, content.index)
    return model.items_of(np.full(len(blocks), -1), blocks)[0]


def nearest_items(
    model: FittedModel,
    vectors: NDArray[np.float32],
    rows: NDArray[np.intp],
    k: int,
    candidates: NDArray[np.bool_] | None,
    device: torch.device,
) -> Lists:
    """Find the items whose vectors have the greatest cosine.

    Parameters
    ----------
    model : FittedModel
        Has the items.
    vectors : ndarray of shape (n, dim), float32
        Those to be near to.
    rows : ndarray of shape (n,)
        Positions of the items whose vectors they are, which are left out of their own
        lists; -1: none.
    k : int
        Items for each.
    candidates : ndarray of shape (n_items,), bool, or None
        Items to choose from; None: all.
    device : torch.device
        Where to compare.
    """
    items, known = model.item_vectors, rows >= 0
    offsets = np.concatenate([[0], np.cumsum(known)])
    itself = History(offsets, rows[known], len(items))
    if candidates is not None:
        items, itself = items[candidates], itself.among(candidates)
    search = ExactSearch(unit_vectors(items), None, device)
    best, scores = search.search(unit_vectors(vectors), k, hidden=itself)
    return Lists(
        best if candidates is None else np.flatnonzero(candidates)[best], scores
    )
