"""Rows in the order of numbers, sorted faster than NumPy does, and of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# NumPy sorts numbers of 16 bits by counting, in a tenth of the time of a comparison
# sort: a million users in 14 ms instead of 96, times of 27 bits in 45 instead of 114.
DIGIT = 16
# So many rows of equal times come sorted by item once in a million, if by chance.
MIN_TIED = 20


def stable_order(values: NDArray) -> NDArray[np.intp]:
    """Rows in ascending order of their values; equal ones keep their order.

    They are of any type that sorts; whole numbers and times are sorted by their digits.
    """
    if values.dtype.kind not in "iumM" or len(values) == 0:
        return np.argsort(values, kind="stable")
    whole = values.astype(np.uint64 if values.dtype.kind == "u" else np.int64)
    # Differences below 2**64 are right in unsigned numbers, whatever the signs.
    rest = whole.view(np.uint64) - whole.min().astype(np.uint64)
    order = np.argsort(rest.astype(np.uint16), kind="stable")
    for shift in range(DIGIT, int(rest.max()).bit_length(), DIGIT):
        digits = (rest >> np.uint64(shift)).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order


def time_order(users: NDArray, items: NDArray, times: NDArray) -> NDArray[np.intp]:
    """Rows in the order of time; of equal times, in their own order if there is one.

    Tables are often sorted by user, time and item, as those of a `groupby` are. Where
    all rows of one user and time come sorted by item, nobody liked them in this order.
    They are mixed then: else a model would learn that large ids follow small ones.

    Parameters
    ----------
    users, items : ndarray of shape (n,), int
        Positions, in the order of the ids.
    times : ndarray of shape (n,)
        Of any type that sorts.

    Returns
    -------
    ndarray of shape (n,), int
        Repetitions of a user, an item and a time keep their order in any case.
    """
    order = stable_order(times)
    if not sorted_by_item(users[order], items[order], times[order]):
        return order
    pairs = users * (int(items.max()) + 1) + items
    distinct, codes = np.unique(pairs, return_inverse=True)
    # Drawn for each pair, so that a table sorted by user and one by time are the same.
    order = stable_order(np.random.RandomState(0).permutation(len(distinct))[codes])
    return order[stable_order(times[order])]


def sorted_by_item(users: NDArray, items: NDArray, times: NDArray) -> bool:
    """Tell whether rows in the order of time are sorted by item where times are equal.

    Up or down, and only where there are enough of them.
    """
    order = stable_order(users)
    users, items, times = users[order], items[order], times[order]
    steps = np.diff(items)
    tied = (users[1:] == users[:-1]) & (times[1:] == times[:-1]) & (steps != 0)
    signs = np.sign(steps[tied])
    return len(signs) >= MIN_TIED and bool((signs == signs[0]).all())
