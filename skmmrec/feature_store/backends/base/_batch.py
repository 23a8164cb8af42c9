"""Users or items of one model version, on their way into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ._encoding import pack_ids, pack_int, pack_text, pack_vectors
from ._names import SEEN
from ._types import Features, Id

_PACKERS: dict[str, Callable[[Any], bytes]] = {
    "int64": pack_int,
    "string": pack_text,
    "int64_list": lambda ids: pack_ids(ids, "int64"),
    "string_list": lambda ids: pack_ids(ids, "string"),
}


class Column(NamedTuple):
    """One more feature of users or items.

    Attributes
    ----------
    name : str
    kind : {"int64", "string", "int64_list", "string_list"}
    values : list
        None where there is nothing to say.
    """

    name: str
    kind: str
    values: list[Any]

    def packed(self, start: int, stop: int) -> list[bytes]:
        """Serialize some values; nothing for None."""
        pack = _PACKERS[self.kind]
        values = self.values[start:stop]
        return [b"" if value is None else pack(value) for value in values]


@dataclass(frozen=True)
class Batch:
    """Users or items of one model version, sorted by id.

    Attributes
    ----------
    view, join_key, vector_name, version_name : str
        Names in Feast.
    ids : list of int or str
    id_type : {"int64", "string"}
    matrix : float32 ndarray of shape (n, dim)
    version : str
    columns : tuple of Column
        What else there is to say about each.
    seen : list of lists, or None
        Ids, users only.
    exponent : float or None
        How users follow from their items, where the model says so; users only.
    half_life : float or None
        The same for the weights of the items.
    """

    view: str
    join_key: str
    vector_name: str
    version_name: str
    ids: list[Id]
    id_type: str
    matrix: np.ndarray
    version: str
    columns: tuple[Column, ...] = ()
    exponent: float | None = None
    half_life: float | None = None

    @property
    def seen(self) -> list[list[Id]] | None:
        """Lists of seen items, which only users have."""
        return next((c.values for c in self.columns if c.name == SEEN), None)

    @property
    def feature_names(self) -> list[str]:
        """Names of all features."""
        others = [column.name for column in self.columns]
        return [self.vector_name, self.version_name, *others]

    def fingerprint(self) -> bytes:
        """Hash of everything in the batch."""
        digest = hashlib.blake2b(digest_size=16)  # 128 bits: never equal by chance
        for text in (self.version, self.ids, self.columns, self.matrix.shape):
            digest.update(repr(text).encode("utf-8", "surrogatepass"))
        digest.update(self.matrix.data)
        return digest.digest()

    def features(self, start: int, stop: int) -> list[tuple[str, list[bytes]]]:
        """Serialize entities ``[start, stop)``, a list for each feature."""
        n = stop - start
        features = [
            (self.vector_name, pack_vectors(self.matrix[start:stop])),
            (self.version_name, [pack_text(self.version)] * n),
        ]
        return features + [(c.name, c.packed(start, stop)) for c in self.columns]

    def serialized(self, start: int, stop: int) -> list[Features]:
        """Serialize values by feature, one dict a row."""
        names, columns = zip(*self.features(start, stop), strict=True)
        rows = zip(*columns, strict=True)
        return [
            {name: value for name, value in zip(names, row, strict=True) if value}
            for row in rows
        ]
