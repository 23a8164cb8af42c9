"""Whether a second stage puts lists into a better order than the first one did."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec._sklearn import clone
from skmmrec.interactions import USER
from skmmrec.metrics import ndcg_at_k
from skmmrec.ranking._candidates import RANK, REQUEST, in_order
from skmmrec.ranking._judging import LENGTH
from skmmrec.ranking._out_of_fold import Examples
from skmmrec.ranking._rankers import fit_ranker, ranker_scores

# Parts of the users, each judged by a ranker that has learned from the others. Not
# tuned: two would judge a ranker of half the lists.
PARTS = 3
# Known users below which a gain tells nothing, as for the half-life of a recommender.
MIN_USERS = 20


class Gain(NamedTuple):
    """What the second stage adds to the NDCG@10 of held-out lists.

    Attributes
    ----------
    mean, error : float
        Mean over users, and its standard error; NaN where there are too few users.
    """

    mean: float
    error: float

    @property
    def pays(self) -> bool:
        """Whether it is more than one standard error above 0."""
        return self.mean > self.error


def measure_gain(
    ranker: Any, matrix: NDArray, examples: Examples, rng: np.random.RandomState
) -> Gain:
    """Compare a second stage with the first on users that it has not learned from.

    Judged are those of whom the first stage had rows, as those have for whom lists are
    made by default. A newcomer gets what is popular, which any feature improves; a
    ranker that learned that harms lists by taste, and does not notice it on newcomers.

    `matrix` has the numbers of the candidates in `examples`; chance decides which users
    are judged together. The gain is NaN where fewer than 20 of the users are known.
    """
    codes, users = pd.factorize(examples.candidates[USER])
    if len(np.unique(codes[examples.known])) < MIN_USERS:
        return Gain(np.nan, np.nan)
    part = (rng.permutation(len(users)) % PARTS)[codes]
    scores = np.empty(len(matrix))
    for number in range(PARTS):
        rest, judged = part != number, part == number
        learned = examples.where(rest)
        sizes, labels = learned.sizes, learned.labels
        fitted = fit_ranker(clone(ranker), matrix[rest], labels, sizes, learned.weights)
        scores[judged] = ranker_scores(fitted, matrix[judged])
    known = examples.known
    return _mean_gain(examples.where(known), codes[known], scores[known])


def _mean_gain(examples: Examples, codes: NDArray, scores: NDArray) -> Gain:
    lists = np.unique(examples.candidates[REQUEST], return_inverse=True)[1]
    ranks = examples.candidates[RANK].to_numpy()
    first = _ndcg(lists, ranks, -ranks, examples.labels)
    gains = _ndcg(lists, ranks, scores, examples.labels) - first
    owners = codes[np.unique(lists, return_index=True)[1]]
    of_users = pd.Series(gains).groupby(owners).mean()
    return Gain(float(of_users.mean()), float(of_users.sem()))


def _ndcg(
    lists: NDArray, ranks: NDArray, scores: NDArray, labels: NDArray
) -> NDArray[np.float64]:
    """NDCG@10 of each list, ties as the first stage has them."""
    order, places = in_order(lists, scores, ranks)
    is_top = places < LENGTH
    hits = np.zeros((lists.max() + 1, LENGTH), dtype=bool)
    hits[lists[order][is_top], places[is_top]] = labels[order][is_top] > 0
    return ndcg_at_k(hits, np.bincount(lists, labels), LENGTH)
