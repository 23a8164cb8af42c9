"""A hash of the rows of one feature view, whatever the engine and the chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


class Checksum:
    """Hash entities in the order of their keys.

    Lengths and contents are hashed apart, so that the result does not depend on how
    the rows are cut into chunks.
    """

    def __init__(self) -> None:
        self._hashes: dict[str, tuple[hashlib.blake2b, hashlib.blake2b]] = {}

    def update(
        self, keys: Sequence[bytes], columns: Sequence[tuple[str, list[bytes]]]
    ) -> None:
        """Take in some entities: their keys, and each feature's serialized values.

        A value that is missing is empty.
        """
        self._column("", keys)
        for name, values in columns:
            self._column(name, values)

    def hexdigest(self) -> str:
        """Return 32 hexadecimal digits."""
        total = hashlib.blake2b(digest_size=16)  # 128 bits: never equal by chance
        for name, hashes in sorted(self._hashes.items()):
            total.update(name.encode())
            for part in hashes:
                total.update(part.digest())
        return total.hexdigest()

    def _column(self, name: str, values: Sequence[bytes]) -> None:
        if name not in self._hashes:
            self._hashes[name] = hashlib.blake2b(), hashlib.blake2b()
        lengths, contents = self._hashes[name]
        lengths.update(np.array([len(value) for value in values], "<u4").tobytes())
        contents.update(b"".join(values))
