"""Categories of the items that are served."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from feast import FeatureView

from ._backend import Backend
from ._definitions import CATEGORY
from ._encoding import unpack
from ._search import VectorTable


class Categories:
    """One category an item, read from the store once for each table of items."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._read: tuple[VectorTable | None, np.ndarray] = None, np.empty(0, object)

    def mask(self, view: FeatureView, table: VectorTable, wanted: Any) -> np.ndarray:
        """Mark the items of some categories.

        Raises
        ------
        ValueError
            When no item has a category.
        """
        with self._lock:
            if self._read[0] is not table:
                self._read = table, self._load(view, table)
            categories = self._read[1]
        if all(category is None for category in categories):
            raise ValueError(
                f"model version {table.version!r} was published without categories"
            )
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        return np.isin(categories.astype(str), names) & (categories != None)  # noqa: E711

    def _load(self, view: FeatureView, table: VectorTable) -> np.ndarray:
        column = self._backend.read_column(view, table.keys, CATEGORY)
        values = [unpack(column.get(key, b"")) for key in table.keys]
        return np.array([*values, None], dtype=object)[:-1]
