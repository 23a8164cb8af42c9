"""How many users an item that nobody has met is credited with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmmrec.recommender._choices import Choice
from skmmrec.recommender.training import LEAST_CREDIT

# Items that were new are judged by the latest fifth of the likes, as the half-life is,
# and as the benchmarks split.
PARTS = 5


def choose_credit(
    items: NDArray, times: NDArray | None, n_items: int, n_users: int
) -> Choice:
    """Choose the credit of new items, by what items that were new got lately.

    The latest fifth of the likes is compared with those before. Items that nobody had
    liked by then got so many likes each, and the others so many: their ratio, times the
    mean popularity, is the credit. In a feed, where much is new and what is old is
    passed by, it is above the popularity of most; in a library it is below.

    New items that nobody liked count, too. Where the items do not name them, as in a
    flat table of interactions, Chao's estimate stands in for their number [1]_. One
    standard error is taken off the likes of new items, so that one item alone proves
    nothing.

    Parameters
    ----------
    items : ndarray of shape (n_likes,)
        Positions of the items that were liked, once for each user who likes them.
    times : ndarray of shape (n_likes,) or None
        When they were.
    n_items, n_users : int
        How many items there are, and users who like any.

    Returns
    -------
    Choice
        Of a number of users, from 0.5 to that of all who like any.

    References
    ----------
    .. [1] A. Chao, "Nonparametric estimation of the number of classes in a population",
       Scandinavian Journal of Statistics 11(4), 1984.
    """
    untold = Choice(LEAST_CREDIT, "no times tell which items were new lately")
    if times is None or len(times) == 0:
        return untold
    cut = np.sort(times)[-max(1, len(times) // PARTS)]
    before, after = (
        np.bincount(items[part], minlength=n_items)
        for part in (times < cut, times >= cut)
    )
    was_known = before > 0
    n_known, of_new = np.count_nonzero(was_known), after[~was_known]
    if n_known == 0:
        return untold
    if of_new.sum() == 0:
        return Choice(LEAST_CREDIT, "the latest fifth of the likes has no new item")
    n_new = max(len(of_new), _estimate_all(of_new))
    # The likes of one item are not independent: each item is one observation.
    likes = of_new.sum() - np.sqrt(np.square(of_new, dtype=np.float64).sum())
    # One like more, as perhaps no known item is liked any longer.
    by_known = (after[was_known].sum() + 1) / n_known
    popularity = before + after
    mean = popularity[popularity > 0].mean()
    return Choice(
        float(np.clip(likes / n_new / by_known * mean, LEAST_CREDIT, max(n_users, 1))),
        "by how many of the latest fifth of the likes new items got, and known ones",
        {
            "new items": n_new,
            "likes per new item": of_new.sum() / n_new,
            "per known item": by_known,
            "mean popularity": mean,
        },
    )


def _estimate_all(likes: NDArray[np.int64]) -> float:
    """Estimate how many items there were, by how many were liked once and twice."""
    once, twice = (np.count_nonzero(likes == number) for number in (1, 2))
    return np.count_nonzero(likes) + once * (once - 1) / (2 * (twice + 1))
