"""Long sequences, one piece after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def chunks(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into slices of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
