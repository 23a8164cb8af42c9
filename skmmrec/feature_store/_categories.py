"""Categories of items: as they are published, and as they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from feast import FeatureView
from pandas.api.types import is_list_like

from skmmrec.feature_store.backends.base import (
    CATEGORY,
    Backend,
    Id,
    Snapshot,
    VectorTable,
    unpack,
)

from ._types import CategoriesByItem, Category, WantedCategories


class Categories:
    """One category an item, read from the store once for each table of items."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._read: tuple[VectorTable | None, np.ndarray] = None, np.empty(0, object)

    def of(
        self, view: FeatureView, table: VectorTable, snapshot: Snapshot
    ) -> np.ndarray:
        """Return the category of each item, None for items without one.

        Raises
        ------
        ValueError
            When no item has a category.
        """
        with self._lock:
            if self._read[0] is not table:
                self._read = table, self._load(view, table, snapshot)
            categories = self._read[1]
        if all(category is None for category in categories):
            raise ValueError(
                f"model version {table.version!r} was published without categories"
            )
        return categories

    def mask(
        self,
        view: FeatureView,
        table: VectorTable,
        snapshot: Snapshot,
        wanted: WantedCategories,
    ) -> np.ndarray:
        """Mark the items of some categories; a ValueError when no item has one."""
        categories = self.of(view, table, snapshot)
        listed: Any = wanted if is_list_like(wanted) else [wanted]
        chosen = np.isin(categories.astype(str), [_text(name) for name in listed])
        mask: np.ndarray = chosen & (categories != None)  # noqa: E711
        return mask

    def _load(
        self, view: FeatureView, table: VectorTable, snapshot: Snapshot
    ) -> np.ndarray:
        column = self._backend.read_column(view, table.keys, CATEGORY, snapshot)
        values = [unpack(column.get(key, b"")) for key in table.keys]
        return np.array([*values, None], dtype=object)[:-1]


def category_texts(
    categories: CategoriesByItem | None, item_ids: Sequence[Id]
) -> list[str | None]:
    """Return the category of each item as text, None for items without one.

    Parameters
    ----------
    categories : mapping, Series or None
        Category by item id.
    item_ids : sequence of int or str

    Raises
    ------
    TypeError
        When `categories` is something else, or a category is a list.
    ValueError
        For an item that comes twice or is not among `item_ids`.
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
    return [texts.get(item) for item in item_ids]


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
    return None if category is None or pd.isna(category) else _text(category)


def _text(category: Category) -> str:
    """Write whole floats as integers, which pandas turns into floats beside NaN."""
    if isinstance(category, float | np.floating) and category.is_integer():
        category = int(category)
    return str(category)
