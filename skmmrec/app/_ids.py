"""Find ids and titles among many, and read ids, as they are typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class TextSearch:
    """Finds ids by a part of what they are called.

    A million ids are searched in 0.1 to 0.2 s, and in 0.4 s with as many titles, so
    that a page need not send all of them.

    Parameters
    ----------
    ids : sequence of length n
        Ids of users or items.
    labels : sequence of str, of length n, default=None
        What they are called; None: the ids as they are written.
    """

    def __init__(self, ids: Sequence[Any], labels: Sequence[str] | None = None) -> None:
        self._ids = ids
        self._names = pa.array([str(i) for i in ids], pa.large_string())
        self._labels = self._names
        if labels is not None:
            self._labels = pa.array(list(labels), pa.large_string())

    def __len__(self) -> int:
        return len(self._ids)

    def at(self, row: int) -> Any:
        """Return the id at a position."""
        return self._ids[row]

    def label(self, row: int) -> str:
        """Return what the id at a position is called."""
        return str(self._labels[row].as_py())

    def exact(self, text: str) -> int | None:
        """Return the position of the id that is written like this."""
        row = pc.index(self._names, pa.scalar(text, pa.large_string())).as_py()
        return None if row < 0 else int(row)

    def find(self, text: str, limit: int) -> list[int]:
        """Return positions of ids and labels with a text in them, whatever its case.

        Parameters
        ----------
        text : str
            Blank: the first ones.
        limit : int
            The most to return. The id that is written like `text` is the first, then
            those that begin with it.
        """
        text = text.strip()
        if not text:
            return list(range(min(limit, len(self))))
        exact = self.exact(text)
        first = [] if exact is None else [exact]
        rows = [*first, *self._rows(pc.starts_with, text), *self._rows(_contains, text)]
        return list(dict.fromkeys(rows))[:limit]

    def _rows(self, matches: Any, text: str) -> list[int]:
        both = {id(column): column for column in (self._names, self._labels)}
        masks = [matches(c, text, ignore_case=True) for c in both.values()]
        mask = np.any([m.to_numpy(zero_copy_only=False) for m in masks], axis=0)
        # Beyond a thousand nobody looks; the list is cut by the caller.
        return [int(row) for row in np.flatnonzero(mask)[:1000]]


def _contains(column: pa.Array, text: str, ignore_case: bool) -> pa.Array:
    return pc.match_substring(column, text, ignore_case=ignore_case)


def read_user(text: str, are_numbers: bool) -> Any:
    """Read the id of a user that was typed, as the other ids are.

    Raises ValueError if they are numbers and this is none.
    """
    if not are_numbers:
        return text
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"ids of users are whole numbers, not {text!r}") from error
