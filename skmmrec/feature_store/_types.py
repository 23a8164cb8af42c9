"""Types that the public names of the feature store share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import pandas as pd
from feast import FeatureStore
from numpy.typing import ArrayLike, NDArray

from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.recommender import StoredVectors

Repo: TypeAlias = FeatureStore | str | Path
SingleId: TypeAlias = int | str | np.integer
Ids: TypeAlias = ArrayLike | Sequence[SingleId]  # one id, or a column of them
Category: TypeAlias = str | float
CategoriesByItem: TypeAlias = (
    Mapping[int, Category | None] | Mapping[str, Category | None] | pd.Series
)
WantedCategories: TypeAlias = Category | Collection[Category]
Content: TypeAlias = ArrayLike | pd.DataFrame  # vectors, (n, dim)
Contents: TypeAlias = Mapping[str, Content] | Blocks
FurtherVectors: TypeAlias = Mapping[str, pd.DataFrame] | ItemCatalog


class ForgottenUsers(Protocol):
    """Users whom a model has forgotten: see `skmmrec.recommender.ServingVectors`."""

    def __len__(self) -> int:
        """Count them."""

    def mark(self, ids: NDArray) -> NDArray[np.bool_]:
        """Tell which of n ids are among them."""


class Vectors(Protocol):
    """What is published of a recommender: see `skmmrec.recommender.ServingVectors`.

    Its ``history_exponent``, ``history_sizes``, ``history_half_life``, ``forgotten``,
    ``memory`` and ``disliked`` are read where there are any.
    """

    @property
    def users(self) -> pd.DataFrame:
        """Vectors by user id."""

    @property
    def items(self) -> pd.DataFrame:
        """Vectors by item id."""

    @property
    def seen(self) -> pd.Series:
        """Lists of item ids by user id."""

    @property
    def version(self) -> str:
        """Name of the fitted model."""


class Servable(Protocol):
    """A fitted recommender that can be published."""

    def serving_vectors(self) -> Vectors | StoredVectors:
        """Return the vectors to publish."""
