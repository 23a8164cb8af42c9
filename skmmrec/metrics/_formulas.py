"""Ranking metrics as functions of the hits; one value per user."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skmmrec.metrics._hits import Hits, discounts

Values = NDArray[np.float64]


def judge(metric: str, hits: Hits) -> Values:
    """Compute a metric.

    It is a key of `FORMULAS`. Returns a value for each user, NaN for one without any
    relevant item.
    """
    return np.where(hits.n_relevant > 0, FORMULAS[metric](hits), np.nan)


def _precision(hits: Hits) -> Values:
    return hits.count / float(hits.k)


def _recall(hits: Hits) -> Values:
    return hits.per_relevant(hits.count)


def _f1(hits: Hits) -> Values:
    return 2 * hits.count / (float(hits.k) + hits.n_relevant)


def _hit_rate(hits: Hits) -> Values:
    return (hits.count > 0).astype(np.float64)


def _ndcg(hits: Hits) -> Values:
    places = np.minimum(hits.n_relevant, min(hits.k, np.iinfo(np.int64).max))
    best = np.concatenate([[1.0], discounts(np.arange(places.max(initial=0))).cumsum()])
    return hits.per_user(discounts(hits.rank)) / best[places]


def _graded_ndcg(hits: Hits) -> Values:
    if hits.gain is None or hits.ideal is None:
        return _ndcg(hits)
    gained = hits.per_user(hits.gain * discounts(hits.rank))
    return gained / np.where(hits.ideal > 0, hits.ideal, 1.0)


def _average_precision(hits: Hits) -> Values:
    return hits.per_relevant(hits.per_user((hits.ordinal + 1) / (hits.rank + 1)))


def _reciprocal_rank(hits: Hits) -> Values:
    return hits.per_user((hits.ordinal == 0) / (hits.rank + 1))


def _auc(hits: Hits) -> Values:
    irrelevant = (hits.n_ranked - hits.count)[hits.user]
    above = hits.rank - hits.ordinal
    below = np.where(irrelevant > 0, irrelevant - above, 1)
    return hits.per_relevant(hits.per_user(below / np.maximum(irrelevant, 1)))


FORMULAS: dict[str, Callable[[Hits], Values]] = {
    "auc": _auc,
    "f1": _f1,
    "graded_ndcg": _graded_ndcg,
    "hit_rate": _hit_rate,
    "map": _average_precision,
    "mrr": _reciprocal_rank,
    "ndcg": _ndcg,
    "precision": _precision,
    "recall": _recall,
}
