"""Which modalities have nothing to do with who likes what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.recommender._expectation import kernels
from skmmrec.recommender._history import History

MAX_ITEMS, MAX_USERS, MIN_ITEMS = 1000, 20_000, 10
N_ERRORS = 3.0
SHARE = 0.2


def find_noise(content: Blocks, history: History) -> list[str]:
    """Name the modalities that tell nothing about who likes what.

    Items that are alike in such a modality are liked together no more often than
    chance has it, whereas those alike in another modality clearly are. By three
    standard errors of Mantel's test, its correlation may be 0 and is below a fifth of
    the best one. Where there is little to tell it from, no modality is named.

    Parameters
    ----------
    content : Blocks of n items
        In the space of the network.
    history : History
        Values, if any, are above 0 for likes.

    Returns
    -------
    list of str
        In the order of the modalities.
    """
    if len(content.values) < 2:
        return []
    items, lifts = liked_together(history)
    content = content.take(items)
    likeness = kernels(content, content)
    bounds = []
    for matrix, present in zip(likeness, content.mask.T, strict=True):
        both = np.ix_(present, present)
        correlation, error = 0.0, np.inf
        if np.count_nonzero(present) >= MIN_ITEMS:
            correlation, error = mantel(matrix[both], lifts[both])
        bounds.append(correlation + N_ERRORS * error * np.array([-1, 1]))
    low, high = np.array(bounds).T
    best = low.max(initial=0.0)
    return [
        name
        for name, least, most in zip(content.values, low, high, strict=True)
        if least <= 0 and most < SHARE * best
    ]


def liked_together(history: History) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tell how much more often than by chance the most liked items are liked together.

    Returns
    -------
    items : ndarray of shape (n,), int64
        Their positions.
    lifts : ndarray of shape (n, n)
        Numbers of users of both, less what popularity leads to expect, over the square
        root of that and 1.
    """
    history = history.where(history.liked)
    n_users = len(history.lengths)
    if n_users > MAX_USERS:
        drawn = np.random.RandomState(0).permutation(n_users)[:MAX_USERS]
        history = history.take(np.sort(drawn))
    popularity = history.popularity
    items = np.argsort(-popularity, kind="stable")[:MAX_ITEMS]
    items = np.sort(items[popularity[items] > 0])
    likes = history.to_csr()[:, items]
    together = (likes.T @ likes).toarray().astype(np.float64)
    expected = np.outer(popularity[items], popularity[items]) / len(history.lengths)
    return items, (together - expected) / np.sqrt(expected + 1)


def mantel(one: NDArray, other: NDArray) -> tuple[float, float]:
    """Correlation of two symmetric matrices but for their diagonals [1]_.

    Parameters
    ----------
    one, other : ndarray of shape (n, n)
        Of the same items; at least four.

    Returns
    -------
    correlation : float
        From -1 to 1.
    error : float
        Its standard deviation if the items of one are permuted. Both are 0 where a
        matrix is constant.

    References
    ----------
    .. [1] N. Mantel, "The detection of disease clustering and a generalized regression
       approach", Cancer Research 27(2), 1967.
    """
    n = len(one)
    outside = ~np.eye(n, dtype=bool)
    x, y = (np.where(outside, m - m[outside].mean(), 0.0) for m in (one, other))
    if any(np.ptp(m[outside]) <= 1e-9 * np.abs(m).max() for m in (one, other)):
        return 0.0, 0.0
    squares = np.square(x).sum(), np.square(y).sum()
    rows = np.square(x.sum(axis=1)).sum(), np.square(y.sum(axis=1)).sum()
    pairs = n * (n - 1)
    triples, quadruples = pairs * (n - 2), pairs * (n - 2) * (n - 3)
    same = squares[0] * squares[1]
    linked = (rows[0] - squares[0]) * (rows[1] - squares[1])
    apart = (squares[0] - 2 * rows[0]) * (squares[1] - 2 * rows[1])
    variance = 2 * same / pairs + 4 * linked / triples + 4 * apart / quadruples
    scale = np.sqrt(same)
    return float((x * y).sum() / scale), float(np.sqrt(max(variance, 0.0)) / scale)
