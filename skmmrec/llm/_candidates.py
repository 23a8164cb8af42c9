"""The question about one user's list."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skmmrec.interactions import ITEM, USER, check_ids
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


def check_texts(texts: Any, name: str) -> None:
    """Raise unless texts are a Series by id without duplicate ids."""
    if not isinstance(texts, pd.Series):
        raise TypeError(
            f"{name} must be a Series of texts by id, got {type(texts).__name__}"
        )
    if not texts.index.is_unique:
        twice = texts.index[texts.index.duplicated()][0]
        raise ValueError(f"{name} has the id {twice!r} twice")


def liked_items(history: pd.DataFrame) -> np.ndarray:
    """Return the items of a history, after checking its columns."""
    for name in (USER, ITEM):
        if name not in history.columns:
            raise ValueError(f"history has no column {name!r}: {list(history)}")
    return check_ids(history[ITEM], ITEM)
