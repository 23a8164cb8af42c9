"""What a fitted recommender hands to a store that serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.types import is_integer_dtype

from skmmrec.interactions import ITEM, USER, History
from skmmrec.recommender._forgotten import Forgotten
from skmmrec.recommender.memory import ItemMemory

TableSource: TypeAlias = str | Path | pa.Table | Iterable[pa.Table | pa.RecordBatch]


@dataclass(frozen=True)
class ServingVectors:
    """User and item vectors whose inner products give the recommender's lists.

    With a `memory`, the score is the inner product plus what the memory adds.

    Attributes
    ----------
    users : DataFrame of shape (n_users, dim)
        float32, indexed by user id.
    items : DataFrame of shape (n_items, dim)
        float32, indexed by item id. ``users.loc[u] @ items.loc[i]``, plus what a
        `memory` adds, is the score that `predict` gives for the pair. With the
        objectives "bce" and "mse" it is not: it grows with the probability or the
        rating.
    seen : Series of length n_users
        By user id: the list of the items that the user interacted with, oldest first.
    version : str
        Hash of the fitted model: the same fit gives the same version.
    history_exponent : float or None
        A user's vector is the sum of the n item vectors of the history, divided by n to
        this power. (Not the last number, which is 1 in a user and the bias in an item.)
        With a half-life, the sum is weighted and n is the sum of the weights. None:
        users are no such sums, or it is not known; then a store does not change users
        by events.
    history_sizes : Series of length n_users or None
        By user id: the number of items in the sum. None: all `seen` items that are not
        `disliked`.
    history_half_life : float or None
        After so many later items, an item has half the weight; None: all have 1.
    forgotten : Forgotten or None
        Users whom the model was told to forget, and the store is to forget too.
    memory : ItemMemory or None
        What the items of a history add to the score beside the inner product, by
        positions in `items`; None: nothing. Its half-life is `history_half_life`.
    disliked : Series or None
        By user id: the list of the `seen` items that are not in the user's history.
        Users without such items may be left out. None: the history is the last `seen`
        items, as many as `history_sizes` has. With a `memory` it must be all of them.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    seen: pd.Series
    version: str
    history_exponent: float | None = None
    history_sizes: pd.Series | None = None
    history_half_life: float | None = None
    forgotten: Forgotten | None = None
    memory: ItemMemory | None = None
    disliked: pd.Series | None = None

    def serving_vectors(self) -> ServingVectors:
        """Return itself, as what a recommender returns."""
        return self


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

        Users may have three more columns: ``seen``, lists of the items that they
        interacted with, oldest first; ``disliked``, lists of the seen items that are
        not in the history; and ``history_size``, the number of items whose vectors were
        summed (by default, all that were seen and not disliked).
    version : str
        Name of the model. Another model needs another name.
    seen : like `users`, optional
        Interactions, in place of a column ``seen``: the columns ``user_id`` and
        ``item_id``, the oldest rows of each user first. A pair that occurs again counts
        once, at its first place. Rows of users without a vector are left out.
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
    memory_exponent : float, optional
        For a memory of items, items have the columns ``memory_items``, lists of the
        ids of the items whose scores they raise, and ``memory_weights``, lists of
        float32 of the same lengths. The weights of all items of a history are summed,
        divided by the length of the history to this power, and added to the score. With
        `history_half_life`, the sum is weighted, and the length is the sum of the
        weights, or 1 where that is less. None: there is no memory, and these columns
        are not read.

    Notes
    -----
    Give it to `skmmrec.feature_store.publish` in place of a recommender, or let the
    ``serving_vectors()`` of a recommender return it. A null is a missing value; ids and
    vectors must not be missing.

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
    memory_exponent: float | None = None

    def serving_vectors(self) -> StoredVectors:
        """Return itself, as what a recommender returns."""
        return self


# Rows in memory at a time: 26 MB of vectors of 64 numbers.
SLICE = 100_000


class _Slices:
    """Arrow tables that are made when they are read, again each time."""

    def __init__(self, n: int, make: Callable[[slice], pa.Table]) -> None:
        self._n, self._make = n, make

    def __iter__(self) -> Iterator[pa.Table]:
        # One without rows, where there are none, still tells the types.
        for start in range(0, max(self._n, 1), SLICE):
            yield self._make(slice(start, min(start + SLICE, self._n)))


def sliced(
    users: tuple[pd.Index, NDArray],
    items: tuple[pd.Index, NDArray, NDArray],
    seen: History,
    sizes: NDArray,
    memory: ItemMemory | None,
    disliked: History,
    **named: Any,
) -> StoredVectors:
    """Return vectors in memory as what is stored, without a copy of them all.

    Parameters
    ----------
    users : Index of shape (n_users,), ndarray of shape (n_users, dim)
    items : Index of shape (n_items,), ndarrays of shape (n_items, dim) and (n_items,)
        Vectors and biases.
    seen : History
        Items that users have met.
    sizes : ndarray of shape (n_users,)
        In how many items each user is a sum of.
    memory : ItemMemory or None
        Lists of the items.
    disliked : History
        Items that users have met and not liked.
    **named
        For `StoredVectors`.
    """
    kind = pa.array(users[0][:1]).type if len(users[0]) else _no_kind(users[0])

    def some_users(rows: slice) -> pa.Table:
        ids, vectors = users[0][rows], users[1][rows]
        ones = np.ones((len(ids), 1), np.float32)
        columns = {
            USER: pa.array(ids, kind),
            "vector": _lists(np.hstack([vectors, ones])),
            "seen": _seen(items[0], seen, rows),
            "history_size": pa.array(sizes[rows]),
            "disliked": _seen(items[0], disliked, rows),
        }
        return pa.table(columns)

    def some_items(rows: slice) -> pa.Table:
        ids, vectors, biases = (each[rows] for each in items)
        matrix = np.hstack([vectors, biases[:, None]])
        columns = {ITEM: pa.array(ids), "vector": _lists(matrix)}
        if memory is not None:
            columns |= _memory(items[0], memory, rows)
        return pa.table(columns)

    parts = (_Slices(len(users[0]), some_users), _Slices(len(items[0]), some_items))
    exponent = None if memory is None else memory.exponent
    return StoredVectors(*parts, memory_exponent=exponent, **named)


def _no_kind(ids: pd.Index) -> pa.DataType:
    """Return the type of the ids of users who are all forgotten."""
    return pa.int64() if is_integer_dtype(ids.dtype) else pa.string()


def _lists(matrix: NDArray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(matrix.ravel(), matrix.shape[1])


def _memory(items: pd.Index, memory: ItemMemory, rows: slice) -> dict[str, pa.Array]:
    """Name what some items speak for, by id."""
    neighbors, weights = memory.neighbors[rows], memory.weights[rows]
    there = neighbors >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]), pa.int32())
    ids = pa.array(items.take(neighbors[there]), pa.array(items[:1]).type)
    return {
        "memory_items": pa.ListArray.from_arrays(offsets, ids),
        "memory_weights": pa.ListArray.from_arrays(offsets, pa.array(weights[there])),
    }


def _seen(items: pd.Index, seen: History, rows: slice) -> pa.Array:
    offsets = seen.offsets[rows.start : rows.stop + 1]
    ids = items.take(seen.items[offsets[0] : offsets[-1]])
    # Where none of them has met anything, no id tells its type.
    values = pa.array(ids, pa.array(items[:1]).type)
    return pa.LargeListArray.from_arrays(offsets - offsets[0], values)
