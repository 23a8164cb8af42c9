"""Categories of items, as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like

from skmmrec.feature_store.backends.base import (
    Id,
)

from ._ids import check_encodable, plain_text
from ._types import CategoriesByItem, Category


def category_texts(
    categories: CategoriesByItem | None, item_ids: Sequence[Id]
) -> list[str | None]:
    """Return the category of each item as text, None for items without one.

    A TypeError says that `categories` is neither a mapping nor a Series, by item id, or
    that a category is a list. A ValueError tells of an item that comes twice or is not
    among `item_ids`, or a category that cannot be encoded in UTF-8.
    """
    if categories is None:
        return [None] * len(item_ids)
    pairs, known = _pairs(categories), set(item_ids)
    unknown = [item for item, _ in pairs if item not in known]
    if unknown:
        raise ValueError(
            f"categories has item {unknown[0]!r:.100}, which is none of the "
            f"{len(item_ids)} items ({len(unknown)} such ids); give them by item id"
        )
    texts = {item: _checked_text(item, category) for item, category in pairs}
    check_encodable(texts.values(), "categories: the category")
    return [texts.get(item) for item in item_ids]


def given_categories(
    categories: CategoriesByItem,
) -> tuple[list[Id], list[str | None]]:
    """Return item ids and the category of each as text; errors as there."""
    ids = [item for item, _ in _pairs(categories)]
    return ids, category_texts(categories, ids)


def _pairs(categories: CategoriesByItem) -> list[tuple[Id, Category | None]]:
    """Return item ids and categories."""
    if isinstance(categories, Mapping):
        return list(categories.items())
    if not isinstance(categories, pd.Series):
        raise TypeError(
            "categories must be a mapping or a Series by item id, "
            f"got {type(categories).__name__}"
        )
    index = categories.index
    if not index.is_unique:
        [repeated, *_] = index[index.duplicated()].tolist()
        raise ValueError(f"categories has item {repeated!r:.100} more than once")
    return list(zip(index.tolist(), categories.tolist(), strict=True))


def _checked_text(item: Id, category: Category | None) -> str | None:
    if is_list_like(category):
        raise TypeError(
            "categories must have one string or number for each item, "
            f"got {type(category).__name__} for item {item!r:.100}"
        )
    return None if category is None or pd.isna(category) else category_text(category)


def category_text(category: Category) -> str:
    """Write whole floats as integers, which pandas turns into floats beside NaN."""
    if isinstance(category, float | np.floating) and category.is_integer():
        category = int(category)
    return plain_text(category)
