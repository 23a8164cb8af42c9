"""The question about one user's list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skmmrec.interactions import (
    ITEM,
    USER,
    check_has_ids,
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


def texts_by_id(texts: Any, name: str, ids: Iterable[Any], role: str) -> pd.Series:
    """Return the texts of these ids, by ids of the package's own types.

    `role` is the column of the ids. A TypeError says that `texts` are not a Series, a
    ValueError that an id is there twice or that all are of another kind than `ids`.
    """
    if not isinstance(texts, pd.Series):
        raise TypeError(
            f"{name} must be a Series of texts by id, got {type(texts).__name__}"
        )
    check_has_ids(texts, name)
    if not texts.index.is_unique:
        twice = texts.index[texts.index.duplicated()][0]
        raise ValueError(f"{name} has the id {plain(twice)!r} twice")
    wanted = list(ids)
    found = texts[texts.index.isin(wanted)]
    # To check all ids takes longer than to find a few, so it waits for a reason.
    checked = check_ids(found.index if len(found) else texts.index, f"index of {name}")
    if len(found) == 0:
        check_same_kind(np.asarray(wanted), pd.Index(checked), role)
        return found
    return found.set_axis(checked)


def refuse_strangers(items: pd.Series, texts: pd.Series, ids: np.ndarray) -> None:
    """Raise ValueError if no item with these ids is among the `texts` of `items`."""
    if len(ids) and len(items) and not texts.index.isin(ids).any():
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
