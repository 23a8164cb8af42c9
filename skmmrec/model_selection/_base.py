"""The base of all splitters of interactions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from skmmrec.interactions import item_codes, nearest_count, user_codes

Indices = NDArray[np.int64]

COLUMN = [str, Integral, None]
COUNT = [Interval(Integral, 1, None, closed="left")]
SHARE = [
    Interval(Real, 0, 1, closed="neither"),
    Interval(Integral, 1, None, closed="left"),
]


class InteractionSplitter(BaseCrossValidator):
    """Base of the splitters: checks, columns, and dropping of cold rows.

    Subclasses implement `_folds`, which yields pairs of boolean masks over the rows.
    """

    # None: with metadata routing, groups are asked for by `set_split_request` only.
    __metadata_request__split: ClassVar[dict[str, bool | None]] = {"groups": None}

    n_splits: int
    user_key: str | int | None
    item_key: str | int | None
    drop_cold_users = False
    drop_cold_items = False

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_splits": COUNT,
        "user_key": COLUMN,
        "item_key": COLUMN,
        "drop_cold_users": ["boolean"],
        "drop_cold_items": ["boolean"],
    }

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[Indices, Indices]]:
        """Generate the rows to train and to test on.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_columns)
            Interactions, one per row.
        y : object, default=None
            Ignored.
        groups : array-like of shape (n_rows,), default=None
            Times of the rows instead of a time column, for splitters by time; others
            ignore them.

        Yields
        ------
        train, test : ndarray of int64
            Positions of rows, ascending.

        Raises
        ------
        ValueError
            If a column is missing or holds NaN, or a fold would be empty.
        """
        name = type(self).__name__
        validate_parameter_constraints(self._parameter_constraints, vars(self), name)
        for fold, (train, test) in enumerate(self._folds(X, groups)):
            test = test & self._warm(X, train)
            for kind, mask in (("train", train), ("test", test)):
                if not mask.any():
                    raise ValueError(
                        f"{name}: no row to {kind} on in fold {fold} of X with "
                        f"{len(X)} rows"
                    )
            yield np.flatnonzero(train), np.flatnonzero(test)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Count the folds.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored.

        Returns
        -------
        int
        """
        return self.n_splits

    @abstractmethod
    def _folds(
        self, X: Any, groups: Any
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Yield masks of the rows to train and to test on."""

    def _warm(self, X: Any, train: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the rows that are not dropped as cold."""
        warm = np.ones(len(train), dtype=bool)
        if self.drop_cold_users:
            warm &= _occurs(user_codes(X, self.user_key), train)
        if self.drop_cold_items:
            warm &= _occurs(item_codes(X, self.item_key), train)
        return warm


def _occurs(codes: NDArray[np.int64], train: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.isin(codes, codes[train])


def how_many(size: float, n: Any) -> Any:
    """Turn a share of `n`, or a count, into a count.

    Parameters
    ----------
    size : float or int
        Share (float) or count (int).
    n : int or ndarray of int
        The total.

    Returns
    -------
    int or ndarray of int
        A share is rounded to the nearest count, halves up.
    """
    if isinstance(size, Integral):
        return np.full_like(n, size)
    return nearest_count(size, n)


def ranks_within(
    codes: NDArray[np.int64], *keys: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank the rows of each code from the end; the last row has rank 0.

    Parameters
    ----------
    codes : ndarray of shape (n_rows,)
        Groups of rows that are ranked separately.
    *keys : ndarray of shape (n_rows,)
        Sort keys, the most important last; ties keep the order of the rows.

    Returns
    -------
    from_end, counts : ndarray of shape (n_rows,)
        Rank of each row, and how many rows its code has.
    """
    order = np.lexsort((*keys, codes))
    counts = np.bincount(codes)
    ends = counts.cumsum()[codes[order]]
    from_end = np.empty(len(codes), dtype=np.int64)
    from_end[order] = ends - 1 - np.arange(len(codes))
    return from_end, counts[codes]
