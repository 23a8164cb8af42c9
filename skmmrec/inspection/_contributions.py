"""What each modality adds to a score."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skmmrec.inspection._sources import content_sources
from skmmrec.interactions import (
    ITEM,
    USER,
    Ids,
    as_list,
    check_ids,
    check_same_kind,
    plain,
)
from skmmrec.metrics import find_recommender

if TYPE_CHECKING:
    from skmmrec.recommender import FittedModel, MultimodalFusionRecommender

BASE = "interactions"


def modality_contributions(
    recommender: MultimodalFusionRecommender, users: Ids, items: Ids
) -> pd.DataFrame:
    """Shapley values of an item's modalities in the scores of (user, item) pairs.

    Every coalition of modalities is scored, with the others taken away from the item;
    a modality's value is its average marginal contribution. They are exact: at most
    2^m coalitions of m modalities.

    Parameters
    ----------
    recommender : MultimodalFusionRecommender
        Fitted, or a Pipeline or a search that ends in such a one.
    users, items : array-like of shape (n,), or one id
        The pairs; an unknown user counts as new. One id goes with all of the others.

    Returns
    -------
    DataFrame of shape (n, 3 + m)
        Columns ``user_id``, ``item_id``, ``interactions`` (what the score would be
        without any content: id embedding, popularity and memory) and one per modality;
        of an item that nobody met, the popularity expected is the modalities'. All but
        the ids add up to the score, in float64; under the objective "bce", to its
        log-odds, and of several tasks to the first. A missing modality has 0.

    Raises
    ------
    ValueError
        For an unknown item, or `users` and `items` of different lengths.

    Notes
    -----
    With a `SoftTokenFuser` the language model reads each item again without some of its
    modalities. The item's words go with a modality ``text`` or ``words`` or, where
    there is neither, are one of their own, ``words``. Where the modalities are no
    longer at hand, in the flat form and in a model loaded without its catalogue, the
    whole content is one modality, ``llm``.

    References
    ----------
    L. S. Shapley, "A value for n-person games", Contributions to the Theory of Games
    II, 1953.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec import ItemCatalog, MultimodalFusionRecommender
    >>> from skmmrec.inspection import modality_contributions
    >>> items = pd.DataFrame(
    ...     {"item_id": ["a", "b", "c", "d"],
    ...      "image__0": [1.0, 0.9, 0.1, 0.0], "text__0": [0.3, 0.4, 0.9, 0.8]}
    ... )
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("abcda")})
    >>> rec = MultimodalFusionRecommender(ItemCatalog(items), random_state=0).fit(X)
    >>> parts = modality_contributions(rec, users=3, items=["b", "c"])
    >>> list(parts.columns)
    ['user_id', 'item_id', 'interactions', 'image', 'text']
    >>> scores = rec.predict(parts[["user_id", "item_id"]])
    >>> bool(abs(parts.iloc[:, 2:].sum(axis=1) - scores).max() < 1e-5)
    True
    """
    recommender = fitted_model(recommender)
    pairs = Pairs.read(recommender, users, items)
    worth = _Worth(recommender, pairs)
    names = worth.sources.blocks.modalities
    values = {name: worth.shapley(m, len(names)) for m, name in enumerate(names)}
    return pd.DataFrame(
        {USER: pairs.users, ITEM: pairs.items, BASE: worth.of(()), **values}
    )


def modality_shares(contributions: pd.DataFrame) -> pd.DataFrame:
    """Share of each modality in what speaks for the items.

    Parameters
    ----------
    contributions : DataFrame
        As from `modality_contributions`.

    Returns
    -------
    DataFrame of shape (n, m)
        Each positive contribution of a modality over the sum of the positive ones; 0
        for what speaks against the item. What the interactions add is left out.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.inspection import modality_shares
    >>> modality_shares(pd.DataFrame({"user_id": [1], "item_id": [2],
    ...     "interactions": [0.5], "text": [0.3], "image": [0.1], "audio": [-0.2]}))
       text  image  audio
    0  0.75   0.25    0.0
    """
    for_it = contributions.drop(columns=[USER, ITEM, BASE]).clip(lower=0)
    return for_it.div(for_it.sum(axis=1), axis=0).fillna(0.0)


@dataclass(frozen=True)
class Pairs:
    """Pairs of users and items, and what belongs to them in a recommender.

    Attributes
    ----------
    users, items : ndarray of shape (n,)
        Ids.
    user_rows, item_rows : ndarray of shape (n,), int64
        Their positions; -1 for an unknown user.
    vectors : ndarray of shape (n, n_factors), float64
        Vectors of the users.
    biases, offsets : ndarray of shape (n,), float64
        Of the items and of the users: what is added to the inner product.
    remembered : ndarray of shape (n,), float64
        What the memory of items adds.
    """

    users: NDArray
    items: NDArray
    user_rows: NDArray[np.int64]
    item_rows: NDArray[np.int64]
    vectors: NDArray[np.float64]
    biases: NDArray[np.float64]
    offsets: NDArray[np.float64]
    remembered: NDArray[np.float64]

    @classmethod
    def read(
        cls, recommender: MultimodalFusionRecommender, users: Any, items: Any
    ) -> Pairs:
        """Check ids and look them up."""
        users, items = read_ids_of_pairs(recommender, users, items)
        item_rows = recommender.item_index_.get_indexer(items)
        user_rows = recommender.user_index_.get_indexer(users)
        return cls(
            users,
            items,
            user_rows,
            item_rows,
            recommender.model_.users_at(user_rows).astype(np.float64),
            recommender.item_biases_.to_numpy()[item_rows].astype(np.float64),
            recommender.model_.offsets_at(user_rows),
            _remembered(recommender.model_, user_rows, item_rows),
        )

    def scores(
        self, vectors: NDArray[np.float64], biases: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Scores of the network, given the items' vectors and perhaps other biases."""
        added = (
            self.offsets + self.remembered + (self.biases if biases is None else biases)
        )
        return np.einsum("nd,nd->n", self.vectors, vectors) + added


def _remembered(
    model: FittedModel, users: NDArray, items: NDArray
) -> NDArray[np.float64]:
    """Compute what the memory of items adds to pairs, given by position."""
    if model.memory is None:
        return np.zeros(len(users))
    return model.memory.pairs(model.data.history, users, items).astype(np.float64)


def fitted_model(estimator: Any) -> MultimodalFusionRecommender:
    """Find the fitted recommender inside whose scores are made of vectors.

    A copy of it, which stays as it is where another thread has it learn meanwhile.
    Raises TypeError if there is none; NotFittedError if it is not fitted.
    """
    recommender = find_recommender(estimator)
    check_is_fitted(recommender)
    if not hasattr(recommender, "model_"):
        raise TypeError(
            f"{type(recommender).__name__} has no vectors of items and users, of which "
            "scores are split: a MultimodalFusionRecommender is expected"
        )
    return copy(recommender)


def read_ids_of_pairs(
    recommender: MultimodalFusionRecommender, users: Any, items: Any
) -> tuple[NDArray, NDArray]:
    """Check the ids of pairs; one id goes with all of the others.

    Raises ValueError for an unknown item, or numbers of ids that do not go together.
    """
    of_users = check_ids(as_list(users, "users"), USER)
    of_items = check_ids(as_list(items, "items"), ITEM)
    n = max(len(of_users), len(of_items))
    of_users = np.repeat(of_users, n) if _is_one(users) else of_users
    of_items = np.repeat(of_items, n) if _is_one(items) else of_items
    if len(of_users) != len(of_items):
        raise ValueError(
            f"users has {len(of_users)} entries, items {len(of_items)}: they are the "
            "two sides of pairs, row by row"
        )
    _refuse_swapped(recommender, of_items)
    check_same_kind(of_users, recommender.user_index_, USER)
    recommender._check_item_ids(of_items)
    return of_users, of_items


def _refuse_swapped(recommender: MultimodalFusionRecommender, items: NDArray) -> None:
    """Refuse users in the place of items, where that can be told."""
    no_item = recommender.item_index_.get_indexer(items) < 0
    is_user = recommender.user_index_.get_indexer(items) >= 0
    if len(items) and np.all(no_item & is_user):
        raise ValueError(
            f"items holds ids of users, such as {plain(items[0])!r}: give users first, "
            "then items"
        )


def _is_one(ids: Any) -> bool:
    return isinstance(ids, str) or np.ndim(ids) == 0


def score_scale(recommender: MultimodalFusionRecommender) -> tuple[float, float]:
    """From scores of the network to ratings, where these are predicted: a line."""
    task = recommender.model_.tasks[0]
    return (task.scale, task.mean) if task.objective == "mse" else (1.0, 0.0)


def liked_by(recommender: MultimodalFusionRecommender, user: int) -> NDArray[np.int64]:
    """Positions of the items that speak for something in the history of a user.

    Where the answers themselves are predicted, histories hold dislikes, too.
    """
    history = recommender.history_.take(np.array([user]))
    return history.items[history.liked]


class _Worth:
    """Scores of pairs when their items keep only some modalities."""

    def __init__(self, recommender: MultimodalFusionRecommender, pairs: Pairs) -> None:
        self.recommender = recommender
        self.pairs = pairs
        self.rows, self.back = np.unique(pairs.item_rows, return_inverse=True)
        self.sources = content_sources(
            recommender.model_, recommender.catalog, self.rows
        )
        self._known: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def of(self, coalition: tuple[int, ...]) -> NDArray[np.float64]:
        """Score of each pair when only these modalities are there."""
        if coalition not in self._known:
            self._known[coalition] = self._score(coalition)
        return self._known[coalition]

    def shapley(self, player: int, n_players: int) -> NDArray[np.float64]:
        """Average marginal contribution of one modality."""
        others = [m for m in range(n_players) if m != player]
        total = np.zeros(len(self.back))
        for size in range(n_players):
            weight = factorial(size) * factorial(n_players - size - 1)
            for coalition in combinations(others, size):
                joined = tuple(sorted((*coalition, player)))
                total += weight * (self.of(joined) - self.of(coalition))
        return total / factorial(n_players)

    def _score(self, coalition: tuple[int, ...]) -> NDArray[np.float64]:
        kept = np.isin(np.arange(self.sources.blocks.mask.shape[1]), coalition)
        content = self.sources.keep(kept)
        recommender, model = self.recommender, self.recommender.model_
        vectors, biases = model.items_of(self.rows, content)
        scores = self.pairs.scores(
            vectors.astype(np.float64)[self.back],
            biases[self.back, 0].astype(np.float64),
        )
        factor, shift = score_scale(recommender)
        return factor * scores + shift
