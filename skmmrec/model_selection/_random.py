"""Splitters that draw rows, users or items at random."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from skmmrec.interactions import item_codes, user_codes
from skmmrec.model_selection._base import (
    COUNT,
    SHARE,
    InteractionSplitter,
    how_many,
    ranks_within,
)

Masks = Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]


class RandomHoldoutPerUser(InteractionSplitter):
    """Test on a random part of every user's interactions.

    Parameters
    ----------
    test_size : float or int, default=0.2
        Share (float, to the nearest count, halves up) or number (int) of each user's
        interactions to test on.
    n_splits : int, default=1
        Number of folds, drawn independently.
    min_train : int, default=1
        The least interactions of each user to train on, whatever `test_size` is.
    user_key, item_key : str or int, default=None
        Names or positions of columns. None for the columns named user_id and item_id
        or, without these names, the first two.
    drop_cold_items : bool, default=False
        Whether to drop test rows with items that are not in the training rows.
    random_state : int, RandomState instance or None, default=None
        An int gives the same folds every time.

    See Also
    --------
    LeaveLastOut : Tests on the last interactions instead.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.model_selection import RandomHoldoutPerUser
    >>> X = np.array([[0, 7], [0, 8], [0, 9], [1, 7], [1, 9], [2, 8]])
    >>> for train, test in RandomHoldoutPerUser(0.4, random_state=0).split(X):
    ...     print(X[test].tolist())
    [[0, 8], [1, 7]]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **InteractionSplitter._parameter_constraints,
        "test_size": SHARE,
        "min_train": COUNT,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        test_size: float | int = 0.2,
        n_splits: int = 1,
        *,
        min_train: int = 1,
        user_key: str | int | None = None,
        item_key: str | int | None = None,
        drop_cold_items: bool = False,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.test_size = test_size
        self.n_splits = n_splits
        self.min_train = min_train
        self.user_key = user_key
        self.item_key = item_key
        self.drop_cold_items = drop_cold_items
        self.random_state = random_state

    def _folds(self, X: Any, groups: Any) -> Masks:
        users = user_codes(X, self.user_key)
        rng = check_random_state(self.random_state)
        for _ in range(self.n_splits):
            from_end, counts = ranks_within(users, rng.random_sample(len(users)))
            held = how_many(self.test_size, counts)
            test = from_end < np.minimum(held, counts - self.min_train)
            yield ~test, test


class ColdItemSplit(InteractionSplitter):
    """Test on all rows of randomly drawn items, which training never sees.

    Parameters
    ----------
    test_size : float or int, default=0.2
        Share (float) or number (int) of the distinct items to test on.
    n_splits : int, default=1
        Number of folds, drawn independently.
    user_key, item_key : str or int, default=None
        Names or positions of columns. None for the columns named user_id and item_id
        or, without these names, the first two.
    drop_cold_users : bool, default=False
        Whether to drop test rows with users that are not in the training rows.
    random_state : int, RandomState instance or None, default=None
        An int gives the same folds every time, in any order of the rows.

    See Also
    --------
    ColdUserSplit : The same for users.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.model_selection import ColdItemSplit
    >>> X = np.array([[0, 7], [0, 8], [0, 9], [1, 7], [1, 9], [2, 8]])
    >>> for train, test in ColdItemSplit(1, n_splits=2, random_state=0).split(X):
    ...     print(X[test].tolist())
    [[0, 9], [1, 9]]
    [[0, 9], [1, 9]]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **InteractionSplitter._parameter_constraints,
        "test_size": SHARE,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        test_size: float | int = 0.2,
        n_splits: int = 1,
        *,
        user_key: str | int | None = None,
        item_key: str | int | None = None,
        drop_cold_users: bool = False,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.test_size = test_size
        self.n_splits = n_splits
        self.user_key = user_key
        self.item_key = item_key
        self.drop_cold_users = drop_cold_users
        self.random_state = random_state

    def _folds(self, X: Any, groups: Any) -> Masks:
        rng = check_random_state(self.random_state)
        for _ in range(self.n_splits):
            yield _hold_out(item_codes(X, self.item_key), self.test_size, "item", rng)


class ColdUserSplit(InteractionSplitter):
    """Test on all rows of randomly drawn users, whom training never sees.

    Parameters
    ----------
    test_size : float or int, default=0.2
        Share (float) or number (int) of the distinct users to test on.
    n_splits : int, default=1
        Number of folds, drawn independently.
    user_key, item_key : str or int, default=None
        Names or positions of columns. None for the columns named user_id and item_id
        or, without these names, the first two.
    drop_cold_items : bool, default=False
        Whether to drop test rows with items that are not in the training rows.
    random_state : int, RandomState instance or None, default=None
        An int gives the same folds every time, in any order of the rows.

    See Also
    --------
    UserKFold : Tests on every user once.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.model_selection import ColdUserSplit
    >>> X = np.array([[0, 7], [0, 8], [0, 9], [1, 7], [1, 9], [2, 8]])
    >>> for train, test in ColdUserSplit(1, random_state=0).split(X):
    ...     print(X[test].tolist())
    [[2, 8]]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **InteractionSplitter._parameter_constraints,
        "test_size": SHARE,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        test_size: float | int = 0.2,
        n_splits: int = 1,
        *,
        user_key: str | int | None = None,
        item_key: str | int | None = None,
        drop_cold_items: bool = False,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.test_size = test_size
        self.n_splits = n_splits
        self.user_key = user_key
        self.item_key = item_key
        self.drop_cold_items = drop_cold_items
        self.random_state = random_state

    def _folds(self, X: Any, groups: Any) -> Masks:
        rng = check_random_state(self.random_state)
        for _ in range(self.n_splits):
            yield _hold_out(user_codes(X, self.user_key), self.test_size, "user", rng)


class UserKFold(InteractionSplitter):
    """Test on every user once, in folds with about the same number of users.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds; at least 2.
    shuffle : bool, default=False
        Whether to assign users to folds at random, not in the order of their ids.
    user_key, item_key : str or int, default=None
        Names or positions of columns. None for the columns named user_id and item_id
        or, without these names, the first two.
    drop_cold_items : bool, default=False
        Whether to drop test rows with items that are not in the training rows.
    random_state : int, RandomState instance or None, default=None
        For `shuffle`; an int gives the same folds every time.

    See Also
    --------
    sklearn.model_selection.GroupKFold : Balances rows instead of users.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.model_selection import UserKFold
    >>> X = np.array([[0, 7], [0, 8], [0, 9], [1, 7], [1, 9], [2, 8]])
    >>> for train, test in UserKFold(2).split(X):
    ...     print(X[test].tolist())
    [[0, 7], [0, 8], [0, 9], [1, 7], [1, 9]]
    [[2, 8]]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **InteractionSplitter._parameter_constraints,
        "n_splits": [Interval(Integral, 2, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        user_key: str | int | None = None,
        item_key: str | int | None = None,
        drop_cold_items: bool = False,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.user_key = user_key
        self.item_key = item_key
        self.drop_cold_items = drop_cold_items
        self.random_state = random_state

    def _folds(self, X: Any, groups: Any) -> Masks:
        users = user_codes(X, self.user_key)
        n_users = int(users.max(initial=-1)) + 1
        if n_users < self.n_splits:
            raise ValueError(f"n_splits={self.n_splits} but X has {n_users} users")
        dealt = np.arange(n_users)
        if self.shuffle:
            check_random_state(self.random_state).shuffle(dealt)
        for fold in np.array_split(dealt, self.n_splits):
            test = np.isin(users, fold)
            yield ~test, test


def _hold_out(
    codes: NDArray[np.int64], size: float, kind: str, rng: RandomState
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    n_ids = int(codes.max(initial=-1)) + 1
    held = max(1, int(how_many(size, n_ids)))
    if held >= n_ids:
        raise ValueError(
            f"test_size={size} leaves no {kind} to train on: X has {n_ids} {kind}s"
        )
    test = np.isin(codes, rng.permutation(n_ids)[:held])
    return ~test, test
