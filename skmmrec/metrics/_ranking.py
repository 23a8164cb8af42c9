"""Metrics of ranked lists, one row per user."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def recall_at_k(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int = 20
) -> NDArray[np.float64]:
    """Share of each user's relevant items among the first `k` recommended.

    Parameters
    ----------
    relevance : array-like of shape (n_users, n_ranked)
        1 where the item at that rank (best first) is relevant, else 0.
    n_relevant : array-like of shape (n_users,)
        How many relevant items each user has, ranked or not.
    k : int, default=20
        Length of the list that is judged.

    Returns
    -------
    ndarray of shape (n_users,)
        Recall per user; NaN for a user without any relevant item.

    Examples
    --------
    >>> from skmmrec.metrics import recall_at_k
    >>> recall_at_k([[1, 0, 1], [0, 0, 0]], n_relevant=[4, 1], k=3)
    array([0.5, 0. ])
    """
    hits, totals = _ranked(relevance, n_relevant, k)
    return _ratio(hits.sum(axis=1), totals)


def ndcg_at_k(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int = 10
) -> NDArray[np.float64]:
    """Normalised discounted cumulative gain of each user's first `k` items.

    The gain of a hit at rank r is 1 / log2(r + 1); the ideal list has the user's
    min(k, `n_relevant`) relevant items first.

    Parameters
    ----------
    relevance : array-like of shape (n_users, n_ranked)
        1 where the item at that rank (best first) is relevant, else 0.
    n_relevant : array-like of shape (n_users,)
        How many relevant items each user has, ranked or not.
    k : int, default=10
        Length of the list that is judged.

    Returns
    -------
    ndarray of shape (n_users,)
        NDCG per user, from 0 to 1; NaN for a user without any relevant item.

    References
    ----------
    K. Järvelin and J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques",
    ACM Transactions on Information Systems 20(4), 2002.

    Examples
    --------
    >>> from skmmrec.metrics import ndcg_at_k
    >>> ndcg_at_k([[1, 0, 0], [0, 1, 0]], n_relevant=[1, 1], k=3).round(4)
    array([1.    , 0.6309])
    """
    hits, totals = _ranked(relevance, n_relevant, k)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], discounts.cumsum()])[np.minimum(totals, k)]
    return _ratio(hits @ discounts[: hits.shape[1]], ideal)


def _ranked(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    hits = np.asarray(relevance, dtype=np.float64)
    totals = np.asarray(n_relevant, dtype=np.int64)
    if hits.ndim != 2:
        raise ValueError(f"relevance must have 2 dimensions, got {hits.ndim}")
    if totals.shape != hits.shape[:1]:
        raise ValueError(
            f"n_relevant must have one entry per row of relevance ({len(hits)}), "
            f"got shape {totals.shape}"
        )
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return hits[:, :k], totals


def _ratio(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    return np.divide(
        part, whole, out=np.full(len(part), np.nan), where=np.asarray(whole) > 0
    )
