"""The question about one user's list."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skmmrec.interactions import (
    ITEM,
    USER,
    check_ids,
    check_same_kind,
    id_table,
    plain,
)
from skmmrec.llm._prompts import Prompt
from skmmrec.llm._safety import fence
from skmmrec.runtime import digest


class Query(NamedTuple):
    """One user's taste, and the candidates that have a text.

    Parameters
    ----------
    taste : str
        One or more cleaned lines.
    texts : list of str
        Texts of the candidates in their old order, cleaned and without brackets.
    places : list of int
        Their positions in the user's list.
    """

    taste: str
    texts: list[str]
    places: list[int]

    def shuffled(self, random_state: int) -> list[int]:
        """Return a random but reproducible order in which to show the candidates.

        It depends on the texts shown, not on the user's id or the old order.
        """
        by_text = sorted(range(len(self.texts)), key=lambda n: self.texts[n])
        content = repr((random_state, self.taste, sorted(self.texts)))
        seed = int.from_bytes(digest(content.encode())[:8], "little")
        order = np.random.default_rng(seed).permutation(len(by_text))
        return [by_text[n] for n in order]

    def write(self, prompt: Prompt, order: list[int]) -> str:
        """Fill a prompt with the candidates, numbered in the given order."""
        lines = [f"[{n}] {self.texts[place]}" for n, place in enumerate(order, start=1)]
        return prompt.fill(
            taste=fence(self.taste, "taste"),
            candidates=fence("\n".join(lines), "candidates"),
            n=str(len(lines)),
        )


def texts_by_id(texts: Any, name: str, ids: np.ndarray, role: str) -> pd.Series:
    """Return texts by ids of the package's own types.

    `ids` are those of which texts are wanted, in the column `role`. A TypeError says
    that `texts` are not a Series, a ValueError that an id is there twice or that ids
    are of another kind than `ids`, so that none would be found.
    """
    if not isinstance(texts, pd.Series):
        raise TypeError(
            f"{name} must be a Series of texts by id, got {type(texts).__name__}"
        )
    known = pd.Index(check_ids(texts.index, f"the index of {name}"))
    if not known.is_unique:
        twice = plain(known[known.duplicated()][0])
        raise ValueError(f"{name} has the id {twice!r} twice")
    check_same_kind(ids, known, role)
    return texts.set_axis(known)


def refuse_strangers(texts: pd.Series, ids: np.ndarray) -> None:
    """Raise ValueError if there are texts, but none of the items with these ids."""
    if len(ids) and not (texts.empty or texts.index.isin(ids).any()):
        raise ValueError(
            "items has none of the recommended items in its index: it is indexed by "
            "item id, as items.set_index(key)[column] is"
        )


def liked_table(history: Any, users: np.ndarray, items: np.ndarray) -> pd.DataFrame:
    """Return the rows of a history that belong to these users, with checked ids.

    A ValueError says that a column is missing, or that ids are of another kind than
    those of `users` and `items`.
    """
    table = id_table(history, "history")
    for name, known in ((USER, users), (ITEM, items)):
        if name not in table.columns:
            raise ValueError(f"history has no column {name!r}: {list(table)}")
        check_same_kind(table[name].to_numpy(), pd.Index(known), f"history[{name!r}]")
    return table[table[USER].isin(users)]
