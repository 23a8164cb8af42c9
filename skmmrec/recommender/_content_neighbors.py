"""A ranker by content alone, without training."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval

from skmmrec._ids import sorted_index
from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.recommender._base import BaseRanker
from skmmrec.recommender._baselines import inner_products
from skmmrec.recommender._content import ContentSpace
from skmmrec.recommender._interactions import (
    Interactions,
    read_interactions,
    read_strengths,
)


class ContentKNNRecommender(BaseRanker):
    """Recommend what is most like a user's items, by content alone.

    Each modality is centred, scaled to length 1 and reduced; a user's profile is the
    mean of the items that he or she liked. The score is the cosine of profile and item,
    averaged over the modalities that the item has. Nothing is trained, and items that
    nobody has met are ranked like any others.

    Parameters
    ----------
    catalog : ItemCatalog or None, default=None
        The items and their content. None: `X` is one flat table that brings the
        content of each row's item along.
    n_components : int or None, default=64
        Principal components to which wider modalities are reduced; None keeps all.
    modalities : mapping of str to slice, positions or column names, or None
        In the flat form: which columns of `X` form which modality. By default the
        prefix before ``__`` tells.

    Attributes
    ----------
    content_ : ndarray of shape (n_items, d), float32
        Modalities side by side, each of length 1, or 0 where it is missing.
    n_modalities_ : ndarray of shape (n_items,)
        How many modalities each item has.
    user_index_, item_index_ : Index
        Ids met in `fit`, and all items of the catalogue.

    Notes
    -----
    Users without any content in their history get the items by popularity.

    References
    ----------
    M. J. Pazzani and D. Billsus, "Content-based recommendation systems", The Adaptive
    Web, Springer, 2007.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec import ItemCatalog
    >>> from skmmrec.recommender import ContentKNNRecommender
    >>> items = pd.DataFrame(
    ...     {"item_id": list("abcd"), "image__0": [1.0, 0.9, 0.1, 0.0],
    ...      "image__1": [0.1, 0.0, 1.0, 0.9]}
    ... )
    >>> X = pd.DataFrame({"user_id": [1, 2], "item_id": ["a", "d"]})
    >>> rec = ContentKNNRecommender(ItemCatalog(items)).fit(X)
    >>> rec.recommend(k=1)[["user_id", "item_id"]]
       user_id item_id
    0        1       b
    1        2       c
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "catalog": [ItemCatalog, None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "modalities": [HasMethods("items"), None],
    }

    def __init__(
        self,
        catalog: ItemCatalog | None = None,
        *,
        n_components: int | None = 64,
        modalities: Mapping[str, Any] | None = None,
    ) -> None:
        self.catalog = catalog
        self.n_components = n_components
        self.modalities = modalities

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Bring the content into one space and collect the users' histories.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_columns)
            The columns ``user_id`` and ``item_id``, or else the first two, are the ids;
            a ``timestamp`` may follow. Without a catalog the other columns are numeric
            content of the row's item; where rows of one item differ, the first counts.
        y : array-like of shape (n,) or None
            Strengths; rows at or below 0 do not count as liked.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For missing ids, unknown columns, or an item that the catalogue lacks.
        """
        data = self._read(X, reset=True)
        y = read_strengths(y, data)
        items, blocks = self._collect_items(data)
        self._fit_histories(data, y, items)
        content = ContentSpace.fit(blocks, self.n_components).transform(blocks)
        parts = [unit_rows(block) for block in content.values.values()]
        self.content_ = np.hstack([*parts, np.empty((len(items), 0), np.float32)])
        self.widths_ = [part.shape[1] for part in parts]
        self.n_modalities_ = content.mask.sum(axis=1)
        return self

    def _read(self, X: Any, *, reset: bool = False) -> Interactions:
        self._check_columns(X, reset)
        content: Any = "read" if self.catalog is None else "refuse"
        return read_interactions(X, content=content, modalities=self.modalities)

    def _collect_items(self, data: Interactions) -> tuple[pd.Index, Blocks]:
        """Index of all items, sorted, and their content in that order."""
        if self.catalog is not None:
            self._check_known(data.items, self.catalog.ids)
            items = sorted_index(self.catalog.ids.to_numpy())
            order = self.catalog.ids.get_indexer(items)
            return items, self.catalog.blocks.take(order)
        assert data.content is not None
        items = sorted_index(data.items)
        first = np.flatnonzero(~pd.Index(data.items).duplicated())
        order = pd.Index(data.items[first]).get_indexer(items)
        return items, data.content.take(first[order])

    def _score_users(self, users: NDArray) -> NDArray[np.float32]:
        profiles = self._profiles(self.history_.take(users).to_csr())
        weights = (1 / np.maximum(self.n_modalities_, 1)).astype(np.float32)
        scores = inner_products(profiles, self.content_)
        scores *= weights
        scores[~profiles.any(axis=1)] = self.history_.popularity.astype(np.float32)
        return scores

    def _profiles(self, met: csr_array) -> NDArray[np.float32]:
        """Mean content of histories: each modality of length 1, or 0 without any."""
        sums = met @ self.content_
        parts = np.split(sums, np.cumsum(self.widths_)[:-1], axis=1)
        return np.hstack([unit_rows(part) for part in parts]) if parts else sums


def unit_rows(vectors: NDArray) -> NDArray[np.float32]:
    """Scale rows to length 1; rows of zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = vectors / np.where(norms > 0, norms, 1)
    return np.asarray(scaled, dtype=np.float32)
