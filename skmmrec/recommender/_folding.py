"""Single users, made of the vectors of their items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.interactions import History
from skmmrec.recommender.network import VectorMaker


@dataclass(frozen=True)
class Folding:
    """Makes single users of the vectors of their items, as a model does of histories.

    Attributes
    ----------
    maker : VectorMaker
        Of the model's networks.
    users : Index
        Who is known, in the order of the networks and the content.
    content : Blocks or None
        Of these users.
    half_life : float or None
        After how many later items one counts half.
    n_latest : int or None
        How many of the latest items the user tower looks at; None: all.
    """

    maker: VectorMaker
    users: pd.Index
    content: Blocks | None
    half_life: float | None
    n_latest: int | None

    def __call__(self, user: object, vectors: NDArray) -> NDArray[np.float32]:
        """Make a user, of shape (dim,).

        Whoever is known has an embedding and content, if the model has such. The
        vectors of the items, (n, dim), come oldest first.
        """
        n = len(vectors)
        history = History(np.array([0, n]), np.arange(n), n)
        row = self.users.get_indexer(pd.Index([user]))
        content = self.content
        if content is not None:
            content = content.take(row) if row[0] >= 0 else content.missing(1)
        users = self.maker.users(vectors, history, row, content, self.half_life)
        made: NDArray[np.float32] = users[0].astype(np.float32)
        return made
