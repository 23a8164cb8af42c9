"""A hash of the rows of one feature view, whatever the engine and the chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ._types import Features


class Checksum:
    """Hash entities in the order of their keys.

    Lengths and contents are hashed apart, so that the result does not depend on how
    the rows are cut into chunks. A value that is empty is as one that is not there.
    """

    def __init__(self) -> None:
        self.n = 0  # entities that were taken in
        self._columns: dict[str, _Column] = {}

    def update(
        self, keys: Sequence[bytes], columns: Sequence[tuple[str, Sequence[bytes]]]
    ) -> None:
        """Take in some entities: their keys, and each feature's serialized values."""
        given = {"": keys, **dict(columns)}
        for name in given.keys() - self._columns.keys():
            self._columns[name] = _Column(self.n)
        for name, column in self._columns.items():
            column.update(given.get(name) or [b""] * len(keys))
        self.n += len(keys)

    def update_rows(self, keys: Sequence[bytes], rows: Sequence[Features]) -> None:
        """Take in some entities, whose features are given by entity."""
        names = {name for row in rows for name in row}
        self.update(keys, [(n, [row.get(n, b"") for row in rows]) for n in names])

    def has_columns_of(self, other: Checksum) -> bool:
        """Whether keys, and the features that another took in, are the same in both."""
        ours = self._columns
        return all(
            name in ours and ours[name].digest() == column.digest()
            for name, column in other._columns.items()
        )

    def hexdigest(self) -> str:
        """Return 32 hexadecimal digits."""
        total = hashlib.blake2b(digest_size=16)  # 128 bits: never equal by chance
        for name, column in sorted(self._columns.items()):
            if column.filled:
                total.update(name.encode() + b"\0" + column.digest())
        return total.hexdigest()


class _Column:
    """Hash of one feature's values, of which the first `n` are empty."""

    def __init__(self, n: int) -> None:
        self.filled = False
        self._lengths, self._contents = hashlib.blake2b(), hashlib.blake2b()
        self._lengths.update(bytes(4 * n))

    def update(self, values: Sequence[bytes]) -> None:
        lengths = np.fromiter(map(len, values), "<u4", len(values))
        self.filled = self.filled or bool(lengths.any())
        self._lengths.update(lengths.tobytes())
        self._contents.update(b"".join(values))

    def digest(self) -> bytes:
        return self._lengths.digest() + self._contents.digest()
