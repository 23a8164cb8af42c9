"""What a fitted recommender hands to a store that serves it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

import pandas as pd

from skmmrec.recommender._forgotten import Forgotten

if TYPE_CHECKING:
    import pyarrow as pa

TableSource: TypeAlias = Union[
    str, Path, "pa.Table", "Iterable[pa.Table | pa.RecordBatch]"
]


@dataclass(frozen=True)
class ServingVectors:
    """User and item vectors whose inner product ranks as the recommender does.

    Attributes
    ----------
    users : DataFrame of shape (n_users, dim)
        float32, indexed by user id.
    items : DataFrame of shape (n_items, dim)
        float32, indexed by item id. ``users.loc[u] @ items.loc[i]`` is the score that
        `predict` gives for the pair, but for the objectives "bce" and "mse": there it
        grows with the probability or the rating.
    seen : Series of length n_users
        User id to the list of item ids met in training, oldest first.
    version : str
        Hash of the fitted model: the same fit gives the same version.
    history_exponent : float or None
        Users are the sum of n item vectors over n to this power; None: not known.
        With a half-life, the sum is weighted and n is the sum of the weights.
    history_sizes : Series of length n_users or None
        User id to the number of items in the sum; None: as many as were met.
    history_half_life : float or None
        After how many later items one has half the weight; None: all have 1.
    forgotten : Forgotten or None
        Users whom the model was told to forget, and the store is to forget too.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    seen: pd.Series
    version: str
    history_exponent: float | None = None
    history_sizes: pd.Series | None = None
    history_half_life: float | None = None
    forgotten: Forgotten | None = None


@dataclass(frozen=True)
class StoredVectors:
    """User and item vectors that are too many for a DataFrame, to be published.

    Attributes
    ----------
    users, items : path, pyarrow.Table or iterable of pyarrow tables or record batches
        A parquet file, a folder of parquet files (those in its folders too), or tables
        that come one after the other. The columns that are read are the id (``user_id``
        or ``item_id``, whole numbers or strings), the vector (a list of numbers, all of
        one length), and those named below; others are left alone. Each source is read
        once, in any order of its rows.

        Users may have a column ``seen``, lists of the item ids that they have met,
        oldest first, and a column ``history_size``, in how many items the vector is a
        sum of (by default, all that were seen).
    version : str
        Name of the model. Another model needs another one.
    seen : like `users`, optional
        Interactions, with the columns ``user_id`` and ``item_id``, each user's oldest
        first, in the place of a column ``seen``. Those of users who have no vector are
        left out.
    vector : str, default="vector"
        Column of the vectors.
    category : str, optional
        Column of the items' categories, texts or numbers.
    features : sequence of str, default=()
        Columns of the items to filter by: numbers, truth values or texts.
    vectors : sequence of str, default=()
        Columns of further vectors of the items.
    history_exponent, history_half_life, forgotten : optional
        As in `ServingVectors`.

    Notes
    -----
    `skmmrec.feature_store.publish` takes it in the place of a recommender, or from one
    whose ``serving_vectors()`` returns it. A null is a value that is missing, which an
    id or a vector cannot be.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from skmmrec.recommender import StoredVectors
    >>> users = pa.table({"user_id": ["ann"], "vector": [[1.0, 0.0]], "seen": [[7]]})
    >>> items = pa.table({"item_id": [7, 8], "vector": [[0.5, 1.0], [2.0, 0.0]]})
    >>> vectors = StoredVectors(users, items, version="monday")
    >>> publish(vectors, "my_repo")  # doctest: +SKIP
    """

    users: TableSource
    items: TableSource
    version: str
    seen: TableSource | None = None
    vector: str = "vector"
    category: str | None = None
    features: Sequence[str] = ()
    vectors: Sequence[str] = ()
    history_exponent: float | None = None
    history_half_life: float | None = None
    forgotten: Forgotten | None = None

    def serving_vectors(self) -> StoredVectors:
        """Return itself, as what a recommender returns."""
        return self
