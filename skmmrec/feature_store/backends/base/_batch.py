"""Users or items of one model version, on their way into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ._encoding import (
    entity_keys,
    pack_bool,
    pack_float,
    pack_ids,
    pack_int,
    pack_text,
    pack_vectors,
)
from ._names import SEEN
from ._types import Id

# Kind of a column of vectors.
VECTOR = "float32_list"

_PACKERS: dict[str, Callable[[Any], bytes]] = {
    "int64": pack_int,
    "float64": pack_float,
    "bool": pack_bool,
    "string": pack_text,
    "int64_list": lambda ids: pack_ids(ids, "int64"),
    "string_list": lambda ids: pack_ids(ids, "string"),
    VECTOR: lambda vector: pack_vectors(vector[None])[0],
}


class Column(NamedTuple):
    """One more feature of users or items.

    Attributes
    ----------
    name : str
    kind : {"int64", "float64", "bool", "string", "int64_list", "string_list", \
            "float32_list"}
    values : list
        None where there is nothing to say. Of "float32_list", arrays of shape (dim,).
    """

    name: str
    kind: str
    values: list[Any]

    def packed(self, rows: Sequence[int]) -> list[bytes]:
        """Serialize some values; nothing for None."""
        pack = _PACKERS[self.kind]
        values = [self.values[row] for row in rows]
        return [b"" if value is None else pack(value) for value in values]

    def content(self) -> bytes:
        """Return all that it says, for a hash."""
        head = repr((self.name, self.kind)).encode("utf-8", "surrogatepass")
        if self.kind != VECTOR:
            return head + repr(self.values).encode("utf-8", "surrogatepass")
        present = [value for value in self.values if value is not None]
        missing = bytes(value is None for value in self.values)
        return b"".join([head, missing, *(value.tobytes() for value in present)])


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
        for text in (self.version, self.ids, self.matrix.shape):
            digest.update(repr(text).encode("utf-8", "surrogatepass"))
        for column in self.columns:
            digest.update(column.content())
        digest.update(self.matrix.data)
        return digest.digest()

    def serialized_chunks(
        self, size: int, first: int = 0
    ) -> Iterator[tuple[list[bytes], list[tuple[str, list[bytes]]]]]:
        """Serialize entities in the order of their keys.

        Parameters
        ----------
        size : int
            Entities in a chunk.
        first : int, default=0
            Cut here too: no chunk has entities both before and after this many.

        Yields
        ------
        keys : list of bytes
        columns : list of (str, list of bytes)
            Each feature with its values; empty where there is none.
        """
        keys = entity_keys(self.join_key, self.ids)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for start, stop in _cuts(len(keys), size, first):
            rows = order[start:stop]
            yield [keys[row] for row in rows], self._columns(rows)

    def _columns(self, rows: list[int]) -> list[tuple[str, list[bytes]]]:
        """Serialize some entities, a list for each feature."""
        features = [
            (self.vector_name, pack_vectors(self.matrix[rows])),
            (self.version_name, [pack_text(self.version)] * len(rows)),
        ]
        return features + [(c.name, c.packed(rows)) for c in self.columns]


def _cuts(n: int, size: int, first: int) -> Iterator[tuple[int, int]]:
    """Cut ``[0, n)`` into slices of at most `size`, with a cut at `first`."""
    for start, stop in ((0, min(first, n)), (min(first, n), n)):
        for begin in range(start, stop, size):
            yield begin, min(begin + size, stop)
