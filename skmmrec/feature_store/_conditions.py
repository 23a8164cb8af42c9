"""Which items meet a condition, by the features that were published of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from feast import FeatureView
from pandas.api.types import is_list_like

from skmmrec.feature_store.backends.base import (
    CATEGORY,
    POPULARITY,
    Backend,
    Filter,
    FilterColumn,
    Snapshot,
    VectorTable,
    column_of,
    condition_mask,
)

from ._categories import category_text
from ._types import WantedCategories

_SHORT = {"category": CATEGORY, "popularity": POPULARITY}


@dataclass(frozen=True)
class Conditions:
    """Conditions on the items of one publication.

    Parameters
    ----------
    backend : Backend
    view : feast.FeatureView
        The items' view.
    table : VectorTable
        All items, with which their features are kept.
    snapshot : Snapshot
    """

    backend: Backend
    view: FeatureView
    table: VectorTable
    snapshot: Snapshot

    def mask(self, where: Filter) -> np.ndarray:
        """Mark the items that meet a condition.

        Raises ValueError when it asks for a feature that was not published, or compares
        one with what it cannot be compared with.
        """
        return condition_mask(where, self.view, self.of, _SHORT)

    def category_mask(self, wanted: WantedCategories) -> np.ndarray:
        """Mark the items of some categories; a ValueError when no item has one."""
        column = self.of(CATEGORY)
        listed: Any = wanted if is_list_like(wanted) else [wanted]
        # In one pass over the items, however many categories a request names.
        return _are_among(column, set(map(category_text, listed)))

    def of(self, name: str) -> FilterColumn:
        """Return a feature of all items; a ValueError when no item has a value."""
        column = column_of(self.view, self.table, name, self._read)
        if not column.present.any():
            is_category = name == CATEGORY
            what = "category" if is_category else f"value of {name}"
            given = "categories" if is_category else "features"
            raise ValueError(
                f"no item of model version {self.table.version!r} has a {what}: "
                f"publish it again, with {given}=..."
            )
        return column

    def _read(self, name: str) -> dict[bytes, bytes]:
        keys = self.table.keys
        return self.backend.read_column(self.view, keys, name, self.snapshot)


def _are_among(column: FilterColumn, texts: set[str]) -> np.ndarray:
    """Mark the rows with one of some texts."""
    if len(texts) == 1:  # NumPy takes half as long
        [text] = texts
        return np.asarray(column.values == text, dtype=bool) & column.present
    mask, values = np.zeros(len(column.present), bool), column.values[column.present]
    found = map(texts.__contains__, values.tolist())
    mask[column.present] = np.fromiter(found, bool, len(values))
    return mask
