"""Versions of fitted models: hashes of what they answer with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.recommender._serving import SLICE
from skmmrec.recommender.memory import ItemMemory


class Answering(NamedTuple):
    """What a model answers with.

    Attributes
    ----------
    items, users : Index
        Ids.
    item_vectors, user_vectors : ndarray of shape (n, dim), float32
        In the order of the ids.
    item_biases : ndarray of shape (n_items, n_tasks), float32
        For each task.
    memory : ItemMemory or None
        What items add to the scores of others.
    """

    items: pd.Index
    users: pd.Index
    item_vectors: NDArray[np.float32]
    user_vectors: NDArray[np.float32]
    item_biases: NDArray[np.float32]
    memory: ItemMemory | None

    def fingerprint(self) -> str:
        """Hash ids, vectors, memory and the biases of the first task: 16 hex digits."""
        digest = hashlib.sha256()
        for ids, values in (
            (self.items, self.item_vectors),
            (self.users, self.user_vectors),
            (self.items, self.item_biases[:, 0]),
        ):
            for text in _json(ids):
                digest.update(text.encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        if self.memory is not None:
            digest.update(self.memory.neighbors.tobytes())
            digest.update(self.memory.weights.tobytes())
        return digest.hexdigest()[:16]


def _json(ids: pd.Index) -> Iterator[str]:
    """Write ids as a JSON list, in parts: not all of them as Python's objects."""
    yield "["
    for start in range(0, len(ids), SLICE):
        text = json.dumps(ids[start : start + SLICE].tolist())
        yield (", " if start else "") + text[1:-1]
    yield "]"
