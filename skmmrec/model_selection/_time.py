"""Splitters that test on later interactions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import (
    TIME,
    has_times,
    item_codes,
    item_ids,
    time_codes,
    time_order,
    user_codes,
    warn_caller,
    warn_of_sorted_rows,
)
from skmmrec.model_selection._base import (
    COLUMN,
    COUNT,
    SHARE,
    InteractionSplitter,
    how_many,
    ranks_within,
)

_BY_ID = (
    "LeaveLastOut tests on the last by id, not on the latest (RandomHoldoutPerUser "
    "needs no times)"
)


class _TimedSplitter(InteractionSplitter):
    """Takes times as groups, also with metadata routing."""

    __metadata_request__split: ClassVar[dict[str, bool | None]] = {"groups": True}


class LeaveLastOut(_TimedSplitter):
    """Test on the last interactions of every user, and train on those before.

    Parameters
    ----------
    n_last : int, default=1
        Interactions of each user to test on.
    n_splits : int, default=1
        Number of folds. The last fold tests on the last `n_last` interactions, the fold
        before it on the `n_last` before those, and so on. A user's interactions after
        the tested ones are in neither part.
    min_train : int, default=1
        The least interactions of a user to train on. If a user has fewer in a fold, all
        their interactions up to that fold are for training, and none for testing.
    user_key, item_key, time_key : str or int, default=None
        Names or positions of columns. None for the columns named user_id, item_id and
        timestamp. Without these names, users and items are in the first two columns,
        and the order of the rows replaces time.
    drop_cold_users, drop_cold_items : bool, default=False
        Whether to drop test rows with users or items that are not in the training rows
        of the fold.

    Warns
    -----
    UserWarning
        Where test rows repeat a user and an item of the training rows: `recommend`
        leaves those out unless told otherwise. Where rows without times are sorted by
        item, so that the last ones are not the latest.

    See Also
    --------
    TimeSplit : Cuts all users at the same time, so that no training row is later than
        a test row.

    Notes
    -----
    Rows of one user with the same time keep their order. If all such rows are sorted by
    item, as those of MovieLens are, they are mixed: the last ones would be those with
    the largest ids.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.model_selection import LeaveLastOut
    >>> X = pd.DataFrame(
    ...     {
    ...         "user_id": ["ann", "bob", "ann", "bob", "ann", "cem"],
    ...         "item_id": [1, 1, 2, 3, 3, 2],
    ...         "timestamp": [10, 20, 30, 15, 40, 50],
    ...     }
    ... )
    >>> for train, test in LeaveLastOut().split(X):
    ...     print(train, test)
    [0 2 3 5] [1 4]
    >>> for train, test in LeaveLastOut(n_splits=2).split(X):
    ...     print(train, test)
    [0 3] [2]
    [0 2 3 5] [1 4]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **InteractionSplitter._parameter_constraints,
        "n_last": COUNT,
        "min_train": COUNT,
        "time_key": COLUMN,
    }

    def __init__(
        self,
        n_last: int = 1,
        n_splits: int = 1,
        *,
        min_train: int = 1,
        user_key: str | int | None = None,
        item_key: str | int | None = None,
        time_key: str | int | None = None,
        drop_cold_users: bool = False,
        drop_cold_items: bool = False,
    ) -> None:
        self.n_last = n_last
        self.n_splits = n_splits
        self.min_train = min_train
        self.user_key = user_key
        self.item_key = item_key
        self.time_key = time_key
        self.drop_cold_users = drop_cold_users
        self.drop_cold_items = drop_cold_items

    def _folds(
        self, X: Any, groups: Any
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        times = time_codes(X, self.time_key, groups)
        users = user_codes(X, self.user_key)
        items, ids = pd.factorize(pd.Index(item_ids(X, self.item_key)), sort=True)
        if not has_times(X, self.time_key, groups):
            warn_of_sorted_rows(users, items, ids, _BY_ID)
        places = np.empty(len(times), np.int64)
        places[time_order(users, items, times, ids)] = np.arange(len(times))
        from_end, counts = ranks_within(users, places)
        longest = int(counts.max(initial=0)) + 1  # with what beyond nobody is tested
        n_last = min(self.n_last, longest)
        for later in reversed(range(0, self.n_splits * n_last, n_last)):
            known = from_end >= later
            last = known & (from_end < later + n_last)
            tested = counts - later - n_last >= self.min_train
            train, test = known & ~(last & tested), last & tested
            self._warn_of_repeated(X, train, test)
            yield train, test

    def _warn_of_repeated(
        self, X: Any, train: NDArray[np.bool_], test: NDArray[np.bool_]
    ) -> None:
        """Warn of test rows that no list can have: lists leave out training items."""
        users, items = user_codes(X, self.user_key), item_codes(X, self.item_key)
        pairs = users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items
        n_repeated = int(np.isin(pairs[test], pairs[train]).sum())
        if n_repeated:
            warn_caller(
                f"LeaveLastOut: {n_repeated} of {int(test.sum())} test rows repeat a "
                "user and an item of the training rows. Lists leave out items that the "
                "user has already, so these rows count as missed. To test on new items "
                "only, drop the repeated rows of X before the split. To count repeated "
                "items, evaluate the lists of recommend(..., exclude_seen=False)"
            )


class TimeSplit(_TimedSplitter):
    """Train on interactions before a point in time, and test on the later ones.

    Parameters
    ----------
    test_size : float or int, default=0.2
        Share (float) or number (int) of the rows to test on in each fold. Rows with the
        same time stay together, so the number of test rows is the nearest possible one.
    n_splits : int, default=1
        Number of folds. The last fold tests on the last rows, the fold before it on
        those before, and so on; each trains on everything before its test rows.
    user_key, item_key, time_key : str or int, default=None
        Names or positions of columns. None for the columns named user_id, item_id and
        timestamp. Without these names, users and items are in the first two columns,
        and the order of the rows replaces time.
    drop_cold_users, drop_cold_items : bool, default=False
        Whether to drop test rows with users or items that are not in the training rows
        of the fold.

    Warns
    -----
    UserWarning
        If so many rows have the same time that a fold tests on more than twice
        `test_size`. If rows without times come user by user: then a fold tests on users
        of whom nothing is known.

    See Also
    --------
    LeaveLastOut : Cuts every user at their own last interactions.
    sklearn.model_selection.TimeSeriesSplit : The same for sorted rows.

    Notes
    -----
    All rows with the same time, such as a day, are in one part, so the folds do not
    depend on the order of the rows. To divide them as well, give `split` other times as
    `groups`, such as ``groups=np.arange(len(X))`` for rows in their order.

    Of these splits, only this one keeps everything about the future out of training,
    since it splits all users at one time: Y. Ji, A. Sun, J. Zhang and C. Li, "A
    Critical Study on Data Leakage in Recommender System Offline Evaluation", ACM TOIS
    41(3), 2023.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.model_selection import TimeSplit
    >>> X = pd.DataFrame(
    ...     {
    ...         "user_id": ["ann", "bob", "ann", "bob", "ann", "cem"],
    ...         "item_id": [1, 1, 2, 3, 3, 2],
    ...         "timestamp": [10, 20, 30, 15, 40, 50],
    ...     }
    ... )
    >>> for train, test in TimeSplit(test_size=2, n_splits=2).split(X):
    ...     print(train, test)
    [0 3] [1 2]
    [0 1 2 3] [4 5]
    >>> for train, test in TimeSplit(test_size=2, drop_cold_users=True).split(X):
    ...     print(train, test)
    [0 1 2 3] [4]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **InteractionSplitter._parameter_constraints,
        "test_size": SHARE,
        "time_key": COLUMN,
    }

    def __init__(
        self,
        test_size: float | int = 0.2,
        n_splits: int = 1,
        *,
        user_key: str | int | None = None,
        item_key: str | int | None = None,
        time_key: str | int | None = None,
        drop_cold_users: bool = False,
        drop_cold_items: bool = False,
    ) -> None:
        self.test_size = test_size
        self.n_splits = n_splits
        self.user_key = user_key
        self.item_key = item_key
        self.time_key = time_key
        self.drop_cold_users = drop_cold_users
        self.drop_cold_items = drop_cold_items

    def _folds(
        self, X: Any, groups: Any
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        times = time_codes(X, self.time_key, groups)
        if not has_times(X, self.time_key, groups):
            _warn_of_users_in_turn(user_codes(X, self.user_key))
        n_rows = len(times)
        n_earlier = np.append(0, np.bincount(times).cumsum())
        size = max(1, int(how_many(self.test_size, n_rows)))
        if self.n_splits * size >= n_rows:
            raise ValueError(
                f"TimeSplit: no row to train on in fold 0 of X with {n_rows} rows"
            )
        for first, end in pairwise(_cuts(n_earlier, size, self.n_splits)):
            n_tested = int(n_earlier[end] - n_earlier[first])
            if n_tested > 2 * size:
                warn_caller(
                    f"TimeSplit: a fold tests on {n_tested} of {n_rows} rows, not on "
                    f"{size}, as {n_earlier[first + 1] - n_earlier[first]} are of one "
                    "time and stay together"
                )
            yield times < first, (times >= first) & (times < end)


def _warn_of_users_in_turn(users: NDArray[np.int64]) -> None:
    n_runs = np.count_nonzero(np.diff(users)) + 1
    n_users = int(users.max(initial=0)) + 1
    # Of fewer rows that follow one of their user, all may do so by chance.
    if n_runs == n_users and len(users) - n_users >= 20:
        warn_caller(
            "X has no times, and its rows come user by user: TimeSplit tests on all "
            f"rows of the last users. Give the column {TIME!r}, or rows in the order "
            "of time (ColdUserSplit tests on new users)"
        )


def _cuts(n_earlier: NDArray[np.int64], size: int, n_splits: int) -> list[int]:
    """Choose the times at which folds begin, and the end of the last one.

    Each fold has about `size` rows, and at least one time; so have the rows before all
    folds. `n_earlier` counts the rows before each time, and all of them at its end.
    """
    n_times = len(n_earlier) - 1
    if n_times <= n_splits:
        raise ValueError(
            f"TimeSplit: n_splits={n_splits} needs rows of {n_splits + 1} times, but "
            f"the {n_earlier[-1]} rows of X are of {n_times}, and rows of one time "
            "stay together. Other times can be given as groups"
        )
    cuts = [n_times]
    for n_folds_before in reversed(range(n_splits)):
        later = cuts[0]
        candidates = np.arange(n_folds_before + 1, later)
        off = np.abs(n_earlier[later] - n_earlier[candidates] - size)
        cuts.insert(0, int(candidates[off.argmin()]))
    return cuts
