"""Places of lists for items that few have met, as far as the store tells."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from skmmrec.feature_store.backends.base import POPULARITY, VectorTable
from skmmrec.interactions import ITEM
from skmmrec.retrieval import Lists, fresh_places, mix_fresh

from ._conditions import Conditions
from ._ranking import both, positions, ranked_frame


class FreshItems(NamedTuple):
    """Which items are new, and by which places of a list they come.

    Attributes
    ----------
    places : ndarray of shape (n,)
        From 0; see `fresh_places`.
    is_new : ndarray of shape (n_items,), bool
        New items, of those that may be chosen.
    """

    places: np.ndarray
    is_new: np.ndarray

    @classmethod
    def of(
        cls,
        conditions: Conditions,
        allowed: np.ndarray | None,
        k: int,
        fresh: float,
        fresh_met: int,
    ) -> Self | None:
        """Find the items that at most `fresh_met` users have met; None: none is asked.

        Who met an item was counted when the model was published. Items that were added
        since then have no number yet, and are new.
        """
        places = fresh_places(fresh, k)
        if len(places) == 0:
            return None
        column = conditions.of(POPULARITY)
        is_new = ~column.present | (column.values <= fresh_met)
        allowed = both(is_new, allowed)
        return cls(places, is_new if allowed is None else allowed)

    def mix(
        self, table: pd.DataFrame, new: pd.DataFrame, items: VectorTable
    ) -> pd.DataFrame:
        """Put new items into one user's list, as `mix_fresh` does.

        `table` has the user's best items, as `top_k` makes it; `new` the best of the
        new ones, at most as many as there are places; `items` all.
        """
        mixed = mix_fresh(_lists(table, items), _lists(new, items), self.places)
        rows, scores = mixed.positions[0], mixed.scores[0]
        users = table.iloc[:, 0].tolist()
        return ranked_frame(users[: len(rows)], items, rows, scores)


def _lists(table: pd.DataFrame, items: VectorTable) -> Lists:
    rows = positions(items.ids, table[ITEM].tolist())
    return Lists(rows[None], table["score"].to_numpy(np.float32)[None])
