"""True tastes: the ground truth behind generated interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import ITEM, USER

Factors = dict[str, NDArray[np.float32]]


class TrueAffinity:
    """The true affinity of users to items.

    Parameters
    ----------
    leans : DataFrame of shape (n_users, n_modalities)
        Weight of each modality in each user's taste, indexed by user id.
    items : Index of length n_items
        Item ids.
    user_factors, item_factors : dict of str to ndarray
        Per modality, how much each user likes each attribute value, ``(n_users,
        n_values)``, and which values each item has, ``(n_items, n_values)``.
    """

    def __init__(
        self,
        leans: pd.DataFrame,
        items: pd.Index,
        user_factors: Factors,
        item_factors: Factors,
    ) -> None:
        self.leans = leans
        self.items = items
        self.user_factors = user_factors
        self.item_factors = item_factors

    def __call__(
        self, users: ArrayLike | None = None, items: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Return the affinity of each given user to each given item.

        Parameters
        ----------
        users, items : array-like of ids, optional
            All of them by default.

        Returns
        -------
        ndarray of shape (n_users, n_items)
            float32; over the items, the mean is 0, and the variance is about 1 for a
            user with a single modality.
        """
        return np.sum(list(self.by_modality(users, items).values()), axis=0)

    def by_modality(
        self, users: ArrayLike | None = None, items: ArrayLike | None = None
    ) -> Factors:
        """Return the part of each modality in the affinity; the parts sum to it.

        Parameters
        ----------
        users, items : array-like of ids, optional
            All of them by default.

        Returns
        -------
        dict of str to ndarray of shape (n_users, n_items)
        """
        u = _positions(self.leans.index, users, USER)
        i = _positions(self.items, items, ITEM)
        return {modality: self._part(modality, u, i) for modality in self.leans}

    def _part(self, modality: str, u: NDArray, i: NDArray) -> NDArray[np.float32]:
        lean = self.leans[modality].to_numpy(np.float32)[u, None]
        return (lean * self.user_factors[modality][u]) @ self.item_factors[modality][
            i
        ].T


def draw_attributes(
    values: Mapping[str, tuple[str, ...]], n_items: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw a value of each attribute for each item, all equally likely.

    `values` maps each attribute to its possible values. Returns a categorical column
    for each.
    """
    return pd.DataFrame(
        {
            name: pd.Categorical.from_codes(
                rng.integers(len(options), size=n_items), categories=list(options)
            )
            for name, options in values.items()
        }
    )


def draw_likings(
    values: Mapping[str, tuple[str, ...]], n_users: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw how much each user likes each value of each attribute.

    A user strongly likes a few values of an attribute. The mean over the values is 0,
    and the variance of all attributes together is 1 over the items.

    `values` maps each attribute to its possible values. Returns a row for each user,
    and a column for each value, attribute by attribute.
    """
    liked = [rng.dirichlet(np.full(len(v), 0.5), size=n_users) for v in values.values()]
    scaled = [_standardise(block) / np.sqrt(len(liked)) for block in liked]
    return np.concatenate(scaled, axis=1).astype(np.float32)


def one_hot(attributes: pd.DataFrame) -> NDArray[np.float32]:
    """Turn categorical columns into one column per value, in their order.

    The shape (n_items, n_attributes) becomes (n_items, n_values).
    """
    return pd.get_dummies(attributes).to_numpy(np.float32)


def draw_affinity(
    values: Mapping[str, Mapping[str, tuple[str, ...]]],
    attributes: Mapping[str, pd.DataFrame],
    leans: pd.DataFrame,
    items: pd.Index,
    rng: np.random.Generator,
) -> TrueAffinity:
    """Draw what users like of the attributes that items have.

    `values` and `attributes`, as from `draw_attributes`, are by modality. `leans`,
    indexed by user id, has the weight of each modality.
    """
    likings = {m: draw_likings(values[m], len(leans), rng) for m in attributes}
    item_factors = {m: one_hot(table) for m, table in attributes.items()}
    return TrueAffinity(leans, items, likings, item_factors)


def draw_leans(
    concentration: ArrayLike,
    modalities: Sequence[str],
    n_users: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw how much users care about each modality, from a Dirichlet distribution.

    With a concentration near 0, each user cares about a single modality; if it is
    large, about all alike. There may be one for each modality. Returns a table, indexed
    by user id, whose rows sum to 1.
    """
    alpha = np.broadcast_to(concentration, len(modalities))
    users = numbered_ids("user", n_users, USER)
    return pd.DataFrame(rng.dirichlet(alpha, n_users), users, list(modalities))


def numbered_ids(kind: str, n: int, name: str, width: int = 4) -> pd.Index:
    """Make ids such as "item-0001".

    `kind` stands before the number, which has `width` digits, or more where `n` has;
    `name` is that of the index.
    """
    width = max(width, len(str(n)))
    return pd.Index([f"{kind}-{row:0{width}d}" for row in range(1, n + 1)], name=name)


def _standardise(block: NDArray) -> NDArray:
    centred = block - block.mean(axis=1, keepdims=True)
    return centred / (centred.std(axis=1, keepdims=True) + 1e-12)


def _positions(index: pd.Index, ids: ArrayLike | None, name: str) -> NDArray[np.int64]:
    if ids is None:
        return np.arange(len(index))
    wanted = np.atleast_1d(np.asarray(ids))
    positions = index.get_indexer(wanted)
    if (positions < 0).any():
        raise ValueError(f"unknown {name}: {wanted[positions < 0].tolist()[0]!r}")
    return positions
