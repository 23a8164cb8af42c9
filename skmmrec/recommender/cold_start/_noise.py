"""Whether content says anything about who likes what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skmmrec.catalog import Blocks
from skmmrec.interactions import History
from skmmrec.recommender._choices import Choice
from skmmrec.recommender.cold_start._kernels import Directions, kernels
from skmmrec.recommender.network import Array, namespace, place

# Matrices of 1,000 items take 8 MB each and some 0.1 s; the likes of 20,000 users tell
# their lifts well enough. Fewer than 10 items cannot tell noise from anything.
MAX_LIKED, MAX_USERS, MIN_ITEMS = 1000, 20_000, 10
# With two standard errors, the sound of TikTok was muted on 3 of 15 splits, which cost
# cold items 12 % (benchmarks/recommender.py noise).
N_ERRORS = 3.0
# A modality that says a fifth of what the best one says is worth keeping.
SHARE = 0.2


def find_noise(
    content: Blocks,
    history: History,
    where: torch.device | None = None,
    answers: Sequence[NDArray] = (),
) -> Choice:
    """Name the modalities that say nothing about who likes what.

    In such a modality, similar items are liked together no more often than by chance,
    while similar items of another modality clearly are. In terms of Mantel's test:
    within three standard errors, its correlation may be 0 and is below a fifth of the
    best one. With too little data to tell, no modality is named.

    Nor is one that tells the answers to be predicted, such as ratings: items similar in
    it have similar mean answers, by more than three standard errors.

    Parameters
    ----------
    content : Blocks of n items
        In the space of the network.
    history : History
        Values, if any, are above 0 for likes.
    where : torch.device or None
        Accelerator to compute on; None: NumPy computes, on the host.
    answers : sequence of ndarray of shape (n,)
        Mean answers about each item that are to be predicted; NaN where there are none.

    Returns
    -------
    Choice
        Of a list of names, in the order of the modalities. Its figures are the upper
        bound of each modality's correlation, by three standard errors, and the lower
        bound of the strongest one.
    """
    if len(content.values) < 2:
        return Choice([], "there are no two modalities to compare")
    low, high = _bounds(content, *liked_together(history, where), where)
    best = low.max(initial=0.0)
    silent = (low <= 0) & (high < SHARE * best)
    if silent.any():
        for means in answers:
            silent &= _bounds(content, *_alike(means, where), where)[0] <= 0
    noise = [
        n for n, is_silent in zip(content.values, silent, strict=True) if is_silent
    ]
    finds = "no relation" if noise else "that each may be related"
    figures = {
        name: float(most) for name, most in zip(content.values, high, strict=True)
    }
    return Choice(
        noise,
        f"Mantel's test finds {finds} to who likes what, by bounds of correlation",
        figures | {"lower bound of the strongest": float(best)},
    )


def _bounds(
    content: Blocks,
    items: NDArray[np.int64],
    likeness: Array,
    where: torch.device | None,
) -> NDArray[np.float64]:
    """Bound the correlation of each modality with a likeness of items: (2, m)."""
    content = content.take(items)
    directions = Directions.of(content, where)
    bounds = []
    for matrix, present in zip(
        kernels(directions, directions), content.mask.T, strict=True
    ):
        both = place(np.flatnonzero(present), where)
        correlation, error = 0.0, np.inf
        if len(both) >= MIN_ITEMS:
            correlation, error = mantel(matrix[both][:, both], likeness[both][:, both])
        bounds.append(correlation + N_ERRORS * error * np.array([-1, 1]))
    return np.array(bounds).T


def _alike(
    means: NDArray, where: torch.device | None
) -> tuple[NDArray[np.int64], Array]:
    """Measure how alike the mean answers are of items that have one, as Moran's I does.

    Returns the positions of a thousand items at most, and the products of what each is
    above the mean, of shape (n, n).
    """
    items = np.flatnonzero(np.isfinite(means))
    if len(items) > MAX_LIKED:
        items = np.sort(np.random.RandomState(0).permutation(items)[:MAX_LIKED])
    above = place(means[items], where)
    above = above - above.sum() / max(len(items), 1)
    return items, above[:, None] * above


def liked_together(
    history: History, where: torch.device | None = None
) -> tuple[NDArray[np.int64], Array]:
    """Measure how much more often than by chance the most liked items are co-liked.

    Returns their positions and, of shape (n, n), (observed - expected) / sqrt(expected
    + 1), where these are the numbers of users who like both, and who would if only
    popularity mattered.
    """
    history = history.where(history.liked)
    n_users = len(history.lengths)
    if n_users > MAX_USERS:
        drawn = np.random.RandomState(0).permutation(n_users)[:MAX_USERS]
        history = history.take(np.sort(drawn))
    popularity = history.popularity
    items = np.argsort(-popularity, kind="stable")[:MAX_LIKED]
    items = np.sort(items[popularity[items] > 0])
    together = _together(history.to_csr()[:, items], where)
    counts = place(popularity[items].astype(np.float64), where)
    expected = counts[:, None] * counts / len(history.lengths)
    return items, (together - expected) / (expected + 1) ** 0.5


def _together(likes: csr_array, where: torch.device | None) -> Array:
    """Count the users who like both, of each pair of items."""
    if where is None:
        return (likes.T @ likes).toarray().astype(np.float64)
    dense = torch.zeros(likes.shape, dtype=torch.float64, device=where)
    users, items = (place(rows.astype(np.int64), where) for rows in likes.nonzero())
    dense[users, items] = 1.0
    return dense.T @ dense


def mantel(one: Array, other: Array) -> tuple[float, float]:
    """Correlation of two symmetric matrices, without their diagonals [1]_.

    Both are of the same items, at least four. Returns the correlation, and its standard
    deviation under permutations of the items; both are 0 if a matrix is constant.

    References
    ----------
    .. [1] N. Mantel, "The detection of disease clustering and a generalized regression
       approach", Cancer Research 27(2), 1967.
    """
    n, xp = len(one), namespace(one)
    outside = xp.ones_like(one, dtype=bool)
    outside[list(range(n)), list(range(n))] = False
    pairs = [matrix[outside] for matrix in (one, other)]
    if any(
        float(part.max() - part.min()) <= 1e-9 * float(xp.abs(matrix).max())
        for part, matrix in zip(pairs, (one, other), strict=True)
    ):
        return 0.0, 0.0
    x, y = (
        xp.where(outside, matrix - part.mean(), 0.0)
        for part, matrix in zip(pairs, (one, other), strict=True)
    )
    squares = [float(xp.square(m).sum()) for m in (x, y)]
    rows = [float(xp.square(m.sum(axis=1)).sum()) for m in (x, y)]
    n_pairs = n * (n - 1)
    triples, quadruples = n_pairs * (n - 2), n_pairs * (n - 2) * (n - 3)
    same = squares[0] * squares[1]
    linked = (rows[0] - squares[0]) * (rows[1] - squares[1])
    apart = (squares[0] - 2 * rows[0]) * (squares[1] - 2 * rows[1])
    variance = 2 * same / n_pairs + 4 * linked / triples + 4 * apart / quadruples
    scale = same**0.5
    return float((x * y).sum()) / scale, max(variance, 0.0) ** 0.5 / scale
