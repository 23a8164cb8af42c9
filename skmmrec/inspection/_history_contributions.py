"""What each item of a user's history adds to a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.inspection._contributions import (
    Pairs,
    fitted_model,
    score_scale,
)
from skmmrec.interactions import ITEM, USER, Ids
from skmmrec.recommender.network import (
    NoTowerModule,
    SequenceTowerModule,
    VectorMaker,
)

if TYPE_CHECKING:
    from skmmrec.interactions import History
    from skmmrec.recommender import MultimodalFusionRecommender

MET = "met"


def history_contributions(
    recommender: MultimodalFusionRecommender, users: Ids, items: Ids
) -> pd.DataFrame:
    """Split the scores of (user, item) pairs over the items of the users' histories.

    A user's vector is a weighted sum of the vectors of the items in the history, so
    that its inner product with an item's vector is a sum, too, and so is what the
    memory of items adds. The split is exact.

    Parameters
    ----------
    recommender : MultimodalFusionRecommender
        Fitted, or a Pipeline or a search that ends in such a one.
    users, items : array-like of shape (n,), or one id
        The pairs; an unknown user counts as new and has no history. One id goes with
        all of the others.

    Returns
    -------
    DataFrame
        Columns ``user_id``, ``item_id``, ``met`` and ``contribution`` (float64). For
        each pair, one row for each item of the history, oldest first, and a last one
        whose ``met`` is None: what no single item adds, which is the popularity of
        the item, what is known about the user besides the history and, with
        ``user_tower="sequence"``, what the order adds. The contributions of a pair add
        up to its score; under the objective "bce", to its log-odds.

    Raises
    ------
    ValueError
        For an unknown item, or `users` and `items` of different lengths.

    See Also
    --------
    modality_contributions : Splits the scores over the modalities of the item.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec import ItemCatalog, MultimodalFusionRecommender
    >>> from skmmrec.inspection import history_contributions
    >>> items = pd.DataFrame(
    ...     {"item_id": ["a", "b", "c", "d"], "image__0": [1.0, 0.9, 0.1, 0.0],
    ...      "image__1": [0.1, 0.0, 1.0, 0.9]}
    ... )
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("abcda")})
    >>> rec = MultimodalFusionRecommender(ItemCatalog(items), random_state=0).fit(X)
    >>> table = history_contributions(rec, [1], ["c"])
    >>> table.met.tolist()
    ['a', 'b', None]
    >>> score = rec.predict(pd.DataFrame({"user_id": [1], "item_id": ["c"]}))[0]
    >>> bool(abs(table.contribution.sum() - score) < 1e-5)
    True
    """
    recommender = fitted_model(recommender)
    pairs = Pairs.read(recommender, users, items)
    history = recommender.history_.take(pairs.user_rows)
    factor, shift = score_scale(recommender)
    vectors = recommender.item_vectors_.to_numpy().astype(np.float64)
    parts = vectors.reshape(len(vectors), len(recommender.model_.networks), -1)
    products = np.einsum(
        "nmd,nmd->nm", parts[history.items], parts[pairs.item_rows][history.users]
    )
    added = factor * (_weights(recommender, history) * products).sum(axis=1)
    memory = recommender.model_.memory
    if memory is not None:
        added += memory.parts(history, pairs.item_rows)
    wholes = factor * pairs.scores(vectors[pairs.item_rows]) + shift
    rest = wholes - np.bincount(history.users, added, minlength=len(wholes))
    return _long_table(recommender, pairs, history, added, rest)


def _weights(
    recommender: MultimodalFusionRecommender, history: History
) -> NDArray[np.float64]:
    """Weight of each entry of a history in each network's part of the user's vector."""
    tower = recommender.model_.networks[0].tower
    if isinstance(tower, NoTowerModule):
        return np.zeros((len(history.items), 1))
    counted = np.ones((len(history.items), 1))
    if recommender.half_life_ is not None:
        counted = history.recency(recommender.half_life_)[:, None]
    if isinstance(tower, SequenceTowerModule):
        counted[history.n_later >= tower.window] = 0
    counts = _sums(counted, history)
    attention = _attention(recommender, history)
    if attention is not None:
        counted = counted * attention
        counted *= (counts / _sums(counted, history))[history.users]
    signals = 1.0 if history.values is None else history.values.astype(np.float64)
    scale = np.maximum(counts, 1.0) ** -tower.history_exponent
    return counted * scale[history.users] * np.reshape(signals, (-1, 1))


def _attention(
    recommender: MultimodalFusionRecommender, history: History
) -> NDArray[np.float64] | None:
    """Find how much each entry counts in a mean: (n_entries, n_networks)."""
    maker = VectorMaker(recommender.model_.networks)
    by_age = maker.attention_by_age()
    if by_age is not None:
        return by_age[np.minimum(history.n_later, len(by_age) - 1)]
    by_item = maker.attention(recommender.item_vectors_.to_numpy())
    return None if by_item is None else by_item[history.items]


def _sums(weights: NDArray[np.float64], history: History) -> NDArray[np.float64]:
    """Sum the weights of each history: (n_users, n_networks), not 0 if it is empty."""
    totals = np.zeros((len(history.lengths), weights.shape[1]))
    np.add.at(totals, history.users, weights)
    return np.where(history.lengths[:, None] > 0, totals, 1.0)


def _long_table(
    recommender: MultimodalFusionRecommender,
    pairs: Pairs,
    history: History,
    added: NDArray[np.float64],
    rest: NDArray[np.float64],
) -> pd.DataFrame:
    """One row per pair and entry of its history, and one for the rest."""
    rows = np.repeat(np.arange(len(rest)), history.lengths + 1)
    last = history.offsets[1:] + np.arange(len(rest))
    entry = np.ones(len(rows), dtype=bool)
    entry[last] = False
    met, contribution = np.full(len(rows), None, object), np.empty(len(rows))
    ids = recommender.item_index_.to_numpy().astype(object)
    met[entry], contribution[entry] = ids[history.items], added
    contribution[last] = rest
    return pd.DataFrame(
        {
            USER: pairs.users[rows],
            ITEM: pairs.items[rows],
            MET: pd.Series(met, dtype=object),
            "contribution": contribution,
        }
    )
