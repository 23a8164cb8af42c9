"""What is asked about one user's list."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skmmrec.encoders._files import digest
from skmmrec.llm._prompts import Prompt
from skmmrec.llm._safety import fence


class Query(NamedTuple):
    """One user's candidates that have words, and what is told of the user.

    Parameters
    ----------
    taste : str
        One line or several, cleaned.
    texts : list of str
        Of the candidates, in their old order, cleaned and without brackets.
    places : list of int
        Where they stand in the user's list.
    """

    taste: str
    texts: list[str]
    places: list[int]

    def shuffled(self, random_state: int) -> list[int]:
        """Return the order in which candidates are shown: any, but for ever the same.

        It depends on what is shown, not on who it is for or on the old order.
        """
        by_text = sorted(range(len(self.texts)), key=lambda n: self.texts[n])
        content = repr((random_state, self.taste, sorted(self.texts)))
        seed = int.from_bytes(digest(content.encode())[:8], "little")
        order = np.random.default_rng(seed).permutation(len(by_text))
        return [by_text[n] for n in order]

    def write(self, prompt: Prompt, order: list[int]) -> str:
        """Fill a prompt with numbered candidates in some order."""
        lines = [f"[{n}] {self.texts[place]}" for n, place in enumerate(order, start=1)]
        return prompt.fill(
            taste=fence(self.taste, "taste"),
            candidates=fence("\n".join(lines), "candidates"),
            n=str(len(lines)),
        )
