"""Who likes what: the ground truth behind generated interactions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import ITEM, USER

Factors = dict[str, NDArray[np.float32]]


class TrueAffinity:
    """How much users like items, in truth.

    Parameters
    ----------
    leans : DataFrame of shape (n_users, n_modalities)
        Weight of each modality in each user's taste, indexed by user id.
    items : Index of length n_items
        Item ids.
    user_factors, item_factors : dict of str to ndarray
        Per modality, what each user likes, ``(n_users, n_values)``, and what each item
        is, ``(n_items, n_values)``.
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
        """Affinity of every given user to every given item.

        Parameters
        ----------
        users, items : array-like of ids, optional
            All of them by default.

        Returns
        -------
        ndarray of shape (n_users, n_items)
            float32; over the items, mean 0 and variance about 1 for a user who leans
            on one modality alone.
        """
        return np.sum(list(self.by_modality(users, items).values()), axis=0)

    def by_modality(
        self, users: ArrayLike | None = None, items: ArrayLike | None = None
    ) -> Factors:
        """Affinity that each modality adds; the parts sum to the whole.

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
    """Give every item one value of each attribute, all equally likely.

    Parameters
    ----------
    values : mapping of str to tuple of str
        Attribute to its possible values.
    n_items : int
        Number of rows.
    rng : numpy Generator
        Source of chance.

    Returns
    -------
    DataFrame of shape (n_items, n_attributes)
        Categorical columns.
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

    A user likes few values of an attribute much; over the values the mean is 0, and
    over items the variance is 1 for all attributes together.

    Parameters
    ----------
    values : mapping of str to tuple of str
        Attribute to its possible values.
    n_users : int
        Number of rows.
    rng : numpy Generator
        Source of chance.

    Returns
    -------
    ndarray of shape (n_users, n_values)
        One column per value, attribute after attribute.
    """
    liked = [rng.dirichlet(np.full(len(v), 0.5), size=n_users) for v in values.values()]
    scaled = [_standardise(block) / np.sqrt(len(liked)) for block in liked]
    return np.concatenate(scaled, axis=1).astype(np.float32)


def one_hot(attributes: pd.DataFrame) -> NDArray[np.float32]:
    """Turn categorical columns into one column per value, in their order.

    Parameters
    ----------
    attributes : DataFrame of shape (n_items, n_attributes)
        Categorical columns.

    Returns
    -------
    ndarray of shape (n_items, n_values)
    """
    return pd.get_dummies(attributes).to_numpy(np.float32)


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
