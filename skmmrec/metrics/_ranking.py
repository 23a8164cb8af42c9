"""Metrics of ranked lists, one value per user."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import check_count, unmasked
from skmmrec.metrics._formulas import judge
from skmmrec.metrics._hits import discounts, find_hits, ideal_gains


def precision_at_k(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int = 10
) -> NDArray[np.float64]:
    """Share of the first `k` recommended items that are relevant.

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
        Precision per user; NaN for a user without any relevant item.

    Notes
    -----
    A list shorter than `k` is still divided by `k`, as trec_eval does.

    Examples
    --------
    >>> from skmmrec.metrics import precision_at_k
    >>> precision_at_k([[1, 0, 1, 0], [0, 0, 0, 0]], n_relevant=[4, 1], k=4)
    array([0.5, 0. ])
    """
    return judge("precision", find_hits(relevance, n_relevant, k))


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

    Notes
    -----
    The hits are divided by all relevant items, so a user with more than `k` of them
    cannot reach 1.

    Examples
    --------
    >>> from skmmrec.metrics import recall_at_k
    >>> recall_at_k([[1, 0, 1], [0, 0, 0]], n_relevant=[4, 1], k=3)
    array([0.5, 0. ])
    """
    return judge("recall", find_hits(relevance, n_relevant, k))


def f1_at_k(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int = 10
) -> NDArray[np.float64]:
    """Harmonic mean of precision and recall among the first `k` recommended.

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
        F1 per user, 0 without a hit; NaN for a user without any relevant item.

    Examples
    --------
    >>> from skmmrec.metrics import f1_at_k
    >>> f1_at_k([[1, 0, 1, 0], [0, 0, 0, 0]], n_relevant=[4, 1], k=4)
    array([0.5, 0. ])
    """
    return judge("f1", find_hits(relevance, n_relevant, k))


def hit_rate_at_k(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int = 10
) -> NDArray[np.float64]:
    """Whether any of the first `k` recommended items is relevant.

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
        1 or 0 per user; NaN for a user without any relevant item.

    Examples
    --------
    >>> from skmmrec.metrics import hit_rate_at_k
    >>> hit_rate_at_k([[0, 0, 1], [0, 0, 0]], n_relevant=[4, 1], k=3)
    array([1., 0.])
    """
    return judge("hit_rate", find_hits(relevance, n_relevant, k))


def ndcg_at_k(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int = 10
) -> NDArray[np.float64]:
    """Normalised discounted cumulative gain of each user's first `k` items.

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

    Notes
    -----
    The gain of a hit at rank r is 1 / log2(r + 1); the ideal list has the user's
    min(k, `n_relevant`) relevant items first [1]_, so that every user can reach 1. Some
    libraries, such as RecTools by default, assume an ideal list of k relevant items.

    References
    ----------
    .. [1] K. Järvelin and J. Kekäläinen, "Cumulated gain-based evaluation of IR
       techniques", ACM Transactions on Information Systems 20(4), 2002.

    Examples
    --------
    >>> from skmmrec.metrics import ndcg_at_k
    >>> ndcg_at_k([[1, 0, 0], [0, 1, 0]], n_relevant=[1, 1], k=3).round(4)
    array([1.    , 0.6309])
    """
    return judge("ndcg", find_hits(relevance, n_relevant, k))


def graded_ndcg_at_k(
    gains: ArrayLike, relevant_gains: ArrayLike, k: int = 10
) -> NDArray[np.float64]:
    """Normalised discounted cumulative gain for items of different relevance.

    Parameters
    ----------
    gains : array-like of shape (n_users, n_ranked)
        Gain of the item at each rank (best first); 0 if it is not relevant.
    relevant_gains : array-like of shape (n_users, n_relevant)
        Gains of all relevant items of each user, ranked or not, in any order and padded
        with 0.
    k : int, default=10
        Length of the list that is judged.

    Returns
    -------
    ndarray of shape (n_users,)
        NDCG per user, from 0 to 1; NaN for a user without any relevant item.

    Notes
    -----
    A gain g at rank r counts g / log2(r + 1), as in scikit-learn's ``ndcg_score``. The
    other common convention stresses high ratings y; pass 2**y - 1 as the gain for it.

    Examples
    --------
    >>> from skmmrec.metrics import graded_ndcg_at_k
    >>> graded_ndcg_at_k([[1, 0, 3], [0, 2, 0]], [[3, 1], [2, 0]], k=3).round(4)
    array([0.6885, 0.6309])
    """
    check_count(k)
    ranked, wanted = (
        _as_gains(gains, "gains"),
        _as_gains(relevant_gains, "relevant_gains"),
    )
    if len(ranked) != len(wanted):
        raise ValueError(
            f"gains has {len(ranked)} rows, relevant_gains has {len(wanted)}"
        )
    shown = ranked[:, :k]
    gained = (shown * discounts(np.arange(shown.shape[1]))).sum(axis=1)
    user, place = np.nonzero(wanted)
    ideal = ideal_gains(user, wanted[user, place], len(wanted), k)
    too_good = np.flatnonzero(gained > ideal * (1 + 1e-9))
    if len(too_good):
        raise ValueError(
            f"row {too_good[0]} of gains is worth more than any list of relevant_gains"
        )
    return np.divide(gained, ideal, out=np.full(len(ideal), np.nan), where=ideal > 0)


def _as_gains(gains: ArrayLike, name: str) -> NDArray[np.float64]:
    table = np.asarray(unmasked(gains), dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got {table.ndim}")
    bad = np.argwhere(~((table >= 0) & np.isfinite(table)))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must be finite and not below 0, got {table[row, column]} in row "
            f"{row}"
        )
    return table


def average_precision_at_k(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int = 10
) -> NDArray[np.float64]:
    """Precision at the ranks of the hits, averaged over the relevant items.

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
        Average precision per user, whose mean is MAP; NaN for a user without any
        relevant item.

    Notes
    -----
    The sum is divided by all relevant items, as in trec_eval's ``map_cut`` and ranx;
    some libraries divide by min(k, `n_relevant`) instead, which lets a user with more
    than `k` relevant items reach 1.

    Examples
    --------
    >>> from skmmrec.metrics import average_precision_at_k
    >>> average_precision_at_k([[1, 0, 1], [0, 0, 0]], n_relevant=[2, 1], k=3).round(4)
    array([0.8333, 0.    ])
    """
    return judge("map", find_hits(relevance, n_relevant, k))


def reciprocal_rank_at_k(
    relevance: ArrayLike, n_relevant: ArrayLike, k: int = 10
) -> NDArray[np.float64]:
    """One over the rank of the first relevant item among the first `k`.

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
        Reciprocal rank per user, 0 without a hit, whose mean is MRR; NaN for a user
        without any relevant item.

    Examples
    --------
    >>> from skmmrec.metrics import reciprocal_rank_at_k
    >>> reciprocal_rank_at_k([[0, 1, 1], [0, 0, 0]], n_relevant=[2, 1], k=3)
    array([0.5, 0. ])
    """
    return judge("mrr", find_hits(relevance, n_relevant, k))


def auc_at_k(
    relevance: ArrayLike,
    n_relevant: ArrayLike,
    k: int = 10,
    n_ranked: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Chance that a relevant item ranks above an irrelevant one of the first `k`.

    Parameters
    ----------
    relevance : array-like of shape (n_users, n_ranked)
        1 where the item at that rank (best first) is relevant, else 0.
    n_relevant : array-like of shape (n_users,)
        How many relevant items each user has, ranked or not.
    k : int, default=10
        Length of the list that is judged.
    n_ranked : array-like of shape (n_users,), default=None
        Length of each user's list, if shorter than the row of `relevance`.

    Returns
    -------
    ndarray of shape (n_users,)
        AUC per user, from 0 to 1; NaN for a user without any relevant item.

    Notes
    -----
    Only irrelevant items of the list count; a relevant item that is not in the list
    counts as ranked below all of them. For a ranking of the whole catalogue, this is
    the area under the ROC curve. For a list without irrelevant items, it is the recall.

    Examples
    --------
    >>> from skmmrec.metrics import auc_at_k
    >>> auc_at_k([[1, 0, 1, 0], [0, 1, 0, 0]], n_relevant=[2, 2], k=4)
    array([0.75      , 0.33333333])
    """
    return judge("auc", find_hits(relevance, n_relevant, k, n_ranked))
