"""Who was forgotten, without saying who."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import plain

# Bytes of a hash: among a billion ids, two share one with a chance of 1 to 10 ** 20.
SIZE = 16


@dataclass(frozen=True)
class Forgotten:
    """Hashes of the ids of users who were forgotten.

    A store needs them to delete what it still holds of these users. Whoever has an id
    can ask whether it is among them. Of ids that can be guessed, such as numbers that
    count up, all can be asked for: then the hashes tell who was forgotten.

    Attributes
    ----------
    hashes : tuple of str
        One for each id, sorted.
    """

    hashes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.hashes)

    def add(self, ids: Iterable[Any]) -> Forgotten:
        """Return these and others."""
        return Forgotten(tuple(sorted({*self.hashes, *map(hash_of, ids)})))

    def mark(self, ids: pd.Index | NDArray) -> NDArray[np.bool_]:
        """Tell which of n ids are among them: shape (n,)."""
        hashes = set(self.hashes)
        return np.fromiter((hash_of(id_) in hashes for id_ in ids), bool, len(ids))


def hash_of(id_: Any) -> str:
    """Hash an id: 1 and 1.0 are the same, a number and its text are not."""
    id_ = plain(id_)
    if isinstance(id_, float) and id_.is_integer():
        id_ = int(id_)
    text = repr(id_).encode(errors="backslashreplace")
    return blake2b(text, digest_size=SIZE).hexdigest()
