"""The distinct items of a column, and the rows that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from skmmrec.runtime import Distinct


class DistinctItems:
    """Distinct items of a column, which are put together when they are asked for.

    A hundred thousand objects that exist at the same time cost the garbage collector
    more than all else here: it looks at them again and again.

    Parameters
    ----------
    items : list
        The column.
    rows : list of int
        The first row of each distinct item, in the order in which they are encoded.
    others : dict of int to list of int
        The further rows of an item, by its first row.
    """

    def __init__(
        self, items: list[Any], rows: list[int], others: dict[int, list[int]]
    ) -> None:
        self._items = items
        self._rows = rows
        self._others = others

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Distinct]:
        for row in self._rows:
            yield Distinct(self._items[row], [row, *self._others.get(row, ())])


def fill_rows(out: np.ndarray, groups: Iterable[Distinct], vectors: np.ndarray) -> None:
    """Put the vector of each distinct item into all of its rows."""
    n_rows = [len(group.rows) for group in groups]
    rows = [row for group in groups for row in group.rows]
    out[rows] = vectors if len(rows) == len(n_rows) else vectors.repeat(n_rows, axis=0)
