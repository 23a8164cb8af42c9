"""Users or items of one model version, on their way into a store."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
from ._types import Id

# Kind of a column of vectors.
VECTOR = "float32_list"
# Kind of a column of lists of numbers, each of a length of its own.
NUMBERS = "ragged_float32_list"

_PACKERS: dict[str, Callable[[Any], bytes]] = {
    "int64": pack_int,
    "float64": pack_float,
    "bool": pack_bool,
    "string": pack_text,
    "int64_list": lambda ids: pack_ids(ids, "int64"),
    "string_list": lambda ids: pack_ids(ids, "string"),
    VECTOR: lambda vector: pack_vectors(vector[None])[0],
    NUMBERS: lambda numbers: pack_vectors(numbers[None])[0],
}


class Column(NamedTuple):
    """One more feature of users or items.

    Attributes
    ----------
    name : str
    kind : {"int64", "float64", "bool", "string", "int64_list", "string_list", \
            "float32_list", "ragged_float32_list"}
    values : list
        None where there is nothing to say. Of "float32_list", arrays of shape (dim,),
        and of "ragged_float32_list", of any length.
    """

    name: str
    kind: str
    values: list[Any]

    def take(self, rows: Sequence[int]) -> Column:
        """Choose rows."""
        return self._replace(values=[self.values[row] for row in rows])

    def packed(self) -> list[bytes]:
        """Serialize the values; nothing for None."""
        pack = _PACKERS[self.kind]
        return [b"" if value is None else pack(value) for value in self.values]

    def content(self) -> bytes:
        """Return all that it says, for a hash."""
        head = repr((self.name, self.kind)).encode("utf-8", "surrogatepass")
        if self.kind not in (VECTOR, NUMBERS):
            return head + repr(self.values).encode("utf-8", "surrogatepass")
        present = [value for value in self.values if value is not None]
        missing = bytes(value is None for value in self.values)
        lengths = [len(v) for v in present] if self.kind == NUMBERS else []
        head += np.array(lengths, "<u4").tobytes()
        return b"".join([head, missing, *(value.tobytes() for value in present)])


class Slice(NamedTuple):
    """Some users or items of a batch.

    Attributes
    ----------
    ids : list of int or str
    matrix : float32 ndarray of shape (n, dim)
    columns : tuple of Column
    """

    ids: Sequence[Id]
    matrix: np.ndarray
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Rows(ABC):
    """Users or items of one model version, wherever they lie.

    Attributes
    ----------
    view, join_key, vector_name, version_name : str
        Names in Feast.
    id_type : {"int64", "string"}
    version : str
    exponent : float or None
        How users follow from their items, where the model says so; users only.
    half_life : float or None
        The same for the weights of the items.
    memory_exponent : float or None
        What the number of a user's likes is raised to, by which the memory of items
        divides; None: there is none. Items only.
    """

    view: str
    join_key: str
    vector_name: str
    version_name: str
    id_type: str
    version: str
    exponent: float | None = field(default=None, kw_only=True)
    half_life: float | None = field(default=None, kw_only=True)
    memory_exponent: float | None = field(default=None, kw_only=True)

    @abstractmethod
    def __len__(self) -> int:
        """Count them."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of the vectors."""

    @property
    @abstractmethod
    def kinds(self) -> dict[str, str]:
        """Kinds of the columns beside the vector, by name, in their order."""

    @property
    @abstractmethod
    def lengths(self) -> dict[str, int]:
        """Lengths of further vectors, by the name of their column; where there are."""

    @abstractmethod
    def fingerprint(self) -> bytes:
        """Hash of everything in it."""

    @abstractmethod
    def slices(self, size: int) -> Iterator[Slice]:
        """Return them by at most so many at a time, in any order that is the same."""

    @abstractmethod
    def sorted_slices(self, size: int, first: int = 0) -> Iterator[Slice]:
        """Return them in the order of their keys: see `serialized_chunks`."""

    @property
    def feature_names(self) -> list[str]:
        """Names of all features."""
        return [self.vector_name, self.version_name, *self.kinds]

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
        version = pack_text(self.version)
        for ids, matrix, columns in self.sorted_slices(size, first):
            yield (
                entity_keys(self.join_key, ids),
                [
                    (self.vector_name, pack_vectors(matrix)),
                    (self.version_name, [version] * len(ids)),
                    *((column.name, column.packed()) for column in columns),
                ],
            )


@dataclass(frozen=True)
class Batch(Rows):
    """Users or items in memory, sorted by id.

    Attributes
    ----------
    ids : list of int or str
    matrix : float32 ndarray of shape (n, dim)
    columns : tuple of Column
        What else there is to say about each.
    seen : list of lists, or None
        Ids, users only.
    """

    ids: list[Id]
    matrix: np.ndarray
    columns: tuple[Column, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Columns of the matrix."""
        return int(self.matrix.shape[1])

    @property
    def kinds(self) -> dict[str, str]:
        """What the columns say of themselves."""
        return {column.name: column.kind for column in self.columns}

    @property
    def lengths(self) -> dict[str, int]:
        """Look at the vectors that there are."""
        present = {
            column.name: [len(v) for v in column.values if v is not None]
            for column in self.columns
            if column.kind == VECTOR
        }
        return {name: max(found) for name, found in present.items() if found}

    def fingerprint(self) -> bytes:
        """Hash of everything in the batch."""
        digest = hashlib.blake2b(digest_size=16)  # 128 bits: never equal by chance
        told = (self.exponent, self.half_life, self.memory_exponent)
        for text in (self.version, self.ids, self.matrix.shape, *told):
            digest.update(repr(text).encode("utf-8", "surrogatepass"))
        for column in self.columns:
            digest.update(column.content())
        digest.update(self.matrix.data)
        return digest.digest()

    def slices(self, size: int) -> Iterator[Slice]:
        """Cut in the order of the ids."""
        for start, stop in cuts(len(self), size):
            yield Slice(
                self.ids[start:stop],
                self.matrix[start:stop],
                tuple(c._replace(values=c.values[start:stop]) for c in self.columns),
            )

    def sorted_slices(self, size: int, first: int = 0) -> Iterator[Slice]:
        """Sort by key."""
        keys = entity_keys(self.join_key, self.ids)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for start, stop in cuts(len(keys), size, first):
            rows = order[start:stop]
            yield Slice(
                [self.ids[row] for row in rows],
                self.matrix[rows],
                tuple(column.take(rows) for column in self.columns),
            )


def cuts(n: int, size: int, first: int = 0) -> Iterator[tuple[int, int]]:
    """Cut ``[0, n)`` into slices of at most `size`, with a cut at `first`."""
    for start, stop in ((0, min(first, n)), (min(first, n), n)):
        for begin in range(start, stop, size):
            yield begin, min(begin + size, stop)
