"""What changed in a list, and what two lists share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

# Ranks below are not told apart: nobody looks there.
DEEPEST = 100


class Move(NamedTuple):
    """Where an item stood before a like.

    Parameters
    ----------
    before : int or None
        Rank; None: below all that are known.
    now : int
        Rank.
    """

    before: int | None
    now: int

    @property
    def label(self) -> str:
        """Say it in a few characters; "" where nothing moved."""
        if self.before == self.now:
            return ""
        before = f"below {DEEPEST}" if self.before is None else str(self.before)
        return f"{'▲' if self.rose else '▼'} {before} → {self.now}"

    @property
    def rose(self) -> bool:
        """Tell whether the item is nearer to the top than before."""
        return self.before is None or self.now < self.before


def moves(before: Sequence[Any] | None, now: Sequence[Any]) -> list[Move | None]:
    """Compare a list with an earlier one.

    Both are item ids, best first; None: there is no earlier list. There is a Move, or
    None, for each item of `now`.
    """
    if before is None:
        return [None] * len(now)
    ranks = {item: rank for rank, item in enumerate(before, 1)}
    return [Move(ranks.get(item), rank) for rank, item in enumerate(now, 1)]


class Overlap(NamedTuple):
    """What two lists share.

    Parameters
    ----------
    both, left, right : list of item ids
        In both, only in the first and only in the second, in the order of their lists.
    """

    both: list[Any]
    left: list[Any]
    right: list[Any]


def overlap(left: Sequence[Any], right: Sequence[Any]) -> Overlap:
    """Compare two lists; ids are the same if they are written the same."""
    of_left, of_right = {str(i) for i in left}, {str(i) for i in right}
    return Overlap(
        [item for item in left if str(item) in of_right],
        [item for item in left if str(item) not in of_right],
        [item for item in right if str(item) not in of_left],
    )
