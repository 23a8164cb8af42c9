"""Stored values that cannot be read, each told by its view, id and feature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from feast import FeatureView
from google.protobuf.message import DecodeError

from ._encoding import key_ids, unpack, unpack_vectors
from ._errors import DamagedStoreError
from ._types import Id


class Place(NamedTuple):
    """Where values are of: a feature of a feature view with one join key."""

    view: str
    join_key: str
    feature: str

    @classmethod
    def of(cls, view: FeatureView, feature: str) -> Place:
        """Name a feature of a view."""
        # An on-demand view without entities has no join key.
        return cls(view.name, next(iter(view.join_keys), ""), feature)

    def damaged(self, entity: object, why: object) -> DamagedStoreError:
        """Say that the value of an id is damaged, and what to do."""
        return DamagedStoreError(
            f"{self.feature} of {self.join_key} {entity!r:.100} in {self.view} is "
            f"damaged ({why}): publish the model again, serve another publication, or "
            "restore the online store from a copy"
        )

    def damaged_of_key(self, key: bytes, why: object) -> DamagedStoreError:
        """Do the same of a serialized key."""
        [entity] = key_ids(self.join_key, [key]).tolist()
        return self.damaged(entity, why)


def parsed(
    place: Place, entity: Id, value: bytes, kinds: type | tuple[type, ...] = object
) -> Any:
    """Read a value as `unpack` does, which must be of some type or not set.

    Raises
    ------
    DamagedStoreError
        When it cannot be read, or is of another type.
    """
    try:
        found = unpack(value)
    except DecodeError as error:
        raise place.damaged(entity, error) from error
    if found is not None and not isinstance(found, kinds):
        raise place.damaged(entity, f"it is of type {type(found).__name__}")
    return found


def parsed_vectors(
    values: Sequence[bytes],
    damaged: Callable[[int, object], DamagedStoreError],
    length: int | None = None,
) -> np.ndarray:
    """Read vectors as `unpack_vectors` does.

    Parameters
    ----------
    values : sequence of bytes
    damaged : callable
        Makes the error of a value by its number, and of what is wrong with it.
    length : int, optional
        How many numbers each must have.

    Raises
    ------
    DamagedStoreError
        When one cannot be read, or has another length than it must have.
    ValueError
        When they differ in length, and may have any.
    """
    try:
        found = unpack_vectors(values)
    except (ValueError, DecodeError):
        _refuse_odd(values, damaged, length)
        raise
    if length is not None and len(values) and found.shape[1] != length:
        _refuse_odd(values, damaged, length)
    return found


def _refuse_odd(
    values: Sequence[bytes],
    damaged: Callable[[int, object], DamagedStoreError],
    length: int | None,
) -> None:
    """Look for the vector that cannot be read, or has another length."""
    for row, value in enumerate(values):
        try:
            n = unpack_vectors([value]).shape[1]
        except (ValueError, DecodeError) as error:
            raise damaged(row, "it holds no vector") from error
        if length not in (None, n):
            raise damaged(row, f"it has {n} numbers, not {length}")
