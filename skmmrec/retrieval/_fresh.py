"""Places of a list that are kept for new items."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from skmmrec.interactions import check_count, nearest_count
from skmmrec.retrieval._exact import chunks
from skmmrec.retrieval._search import Lists

# Longer lists, such as of all items, are filled like one of this length.
MOST_PLACES = 1_000_000


def check_fresh(fresh: object, fresh_met: object, k: int) -> None:
    """Refuse places for new items that a list of `k` does not have.

    A TypeError tells of a number of users that is no integer, a ValueError of a number
    of places that is not from 0 to `k`, a share that is not from 0 to 1, or a number of
    users below 0.
    """
    is_number = isinstance(fresh, Real) and not isinstance(fresh, bool | np.bool_)
    most = k if isinstance(fresh, Integral) else 1
    if not is_number or not 0 <= fresh <= most:  # type: ignore[operator]
        raise ValueError(
            f"fresh must be a share of the places from 0.0 to 1.0, or a whole number "
            f"of them from 0 to k={k}, got {fresh!r}"
        )
    check_count(fresh_met, "fresh_met", at_least=0)
    if fresh_met and not fresh:
        raise ValueError(
            f"fresh_met={fresh_met!r} has no effect without fresh: say how many places "
            "of a list are kept for new items, such as fresh=0.1"
        )


def fresh_places(fresh: float, k: int) -> NDArray[np.intp]:
    """Say by which place of a list the first new item comes, the second, and so on.

    A share is the nearest whole number of places, a half going up, but at least one
    where it is above 0. Places are from 0, each in the middle of its n-th part of the
    list.

    Examples
    --------
    >>> fresh_places(0.1, 10) + 1, fresh_places(0.2, 10) + 1, fresh_places(2, 5) + 1
    (array([5]), array([3, 8]), array([2, 4]))
    """
    if not fresh:
        return np.empty(0, np.intp)
    k = min(int(k), MOST_PLACES)
    n = int(fresh if isinstance(fresh, Integral) else nearest_count(fresh, k))
    n = max(n, 1)
    # In whole numbers, as no rounding may move a place: ceil((j - 1/2) k / n) - 1.
    middles = (2 * np.arange(1, n + 1) - 1) * k
    return (middles + 2 * n - 1) // (2 * n) - 1


def mix_fresh(lists: Lists, fresh: Lists, places: NDArray[np.intp]) -> Lists:
    """See to it that the j-th new item comes by the j-th of some places.

    New items that a list ranks higher stay where they are. Else the best that are not
    in it yet move in; all others keep their order. These are lists with a least number
    of items of one group among the first r, for each r [1]_.

    `lists` are the best of all items, k of each; `fresh` are the best of the new ones,
    by the same scores, at most as many as there are places; those are from 0,
    increasing.

    References
    ----------
    .. [1] M. Zehlike et al., "FA*IR: a fair top-k ranking algorithm", CIKM 2017.
    """
    n_rows, width = lists.positions.shape
    if width == 0:
        return lists
    # Rows of all, of new and of both compared are in memory at a time.
    parts = chunks(n_rows, width * max(1, fresh.positions.shape[1]))
    mixed = [_mix(_some(lists, part), _some(fresh, part), places) for part in parts]
    positions, scores = zip(*mixed, strict=True)
    return Lists(np.concatenate(positions), np.concatenate(scores))


def _some(lists: Lists, part: slice) -> Lists:
    return Lists(lists.positions[part], lists.scores[part])


def _mix(lists: Lists, fresh: Lists, places: NDArray[np.intp]) -> Lists:
    width, n_fresh = lists.positions.shape[1], fresh.positions.shape[1]
    same = fresh.positions[:, :, None] == lists.positions[:, None, :]
    same &= np.isfinite(fresh.scores)[:, :, None] & np.isfinite(lists.scores)[:, None]
    natural = np.where(same.any(axis=2), same.argmax(axis=2), width)
    count = np.arange(n_fresh)
    at = np.minimum(places[:n_fresh], natural)
    # An approximate list may miss a new item: no two may then get one place.
    at = np.maximum.accumulate(at - count, axis=1) + count
    rows, numbers = np.nonzero(np.isfinite(fresh.scores) & (at < width))
    taken = rows, at[rows, numbers]
    is_free = np.ones(lists.positions.shape, bool)
    is_free[taken] = False
    mixed = _fill(lists, is_free, ~same.any(axis=1))
    mixed.positions[taken] = fresh.positions[rows, numbers]
    mixed.scores[taken] = fresh.scores[rows, numbers]
    return _without_gaps(mixed)


def _fill(lists: Lists, is_free: NDArray[np.bool_], stays: NDArray[np.bool_]) -> Lists:
    """Put the items that stay into the free places, in their order."""
    rank = is_free.cumsum(axis=1) - 1
    order = np.argsort(~stays, axis=1, kind="stable")
    source = np.take_along_axis(order, np.maximum(rank, 0), axis=1)
    there = is_free & (rank < stays.sum(axis=1, keepdims=True))
    scores = np.take_along_axis(lists.scores, source, axis=1)
    return Lists(
        np.take_along_axis(lists.positions, source, axis=1),
        np.where(there, scores, np.float32(-np.inf)),
    )


def _without_gaps(lists: Lists) -> Lists:
    """Move what there is to the front."""
    order = np.argsort(~np.isfinite(lists.scores), axis=1, kind="stable")
    return Lists(
        np.take_along_axis(lists.positions, order, axis=1),
        np.take_along_axis(lists.scores, order, axis=1),
    )
