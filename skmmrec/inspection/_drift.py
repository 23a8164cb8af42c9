"""Whether two windows of lists, of interactions or of vectors are alike."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.spatial.distance import cdist
from sklearn.utils import check_array, check_random_state

from skmmrec.interactions import (
    ITEM,
    TIME,
    USER,
    RandomState,
    as_frame,
    check_count,
    check_same_kind,
    id_table,
)

# Labels of so many permutations are in memory at once.
_AT_ONCE = 64
# Rows of each sample of vectors that are compared: their distances take 32 MB.
_MOST_VECTORS = 1000
# Users of each window that are compared: labels of 999 permutations take 20 MB or so.
_MOST_USERS = 10_000
_COLUMNS = ["statistic", "p_value", "n_reference", "n_current"]

# From labels of permutations, (n_permutations, n), to a statistic for each.
Statistic = Callable[[NDArray[np.bool_]], NDArray[np.float64]]


def measure_drift(
    reference: pd.DataFrame | ArrayLike,
    current: pd.DataFrame | ArrayLike,
    *,
    n_permutations: int = 999,
    random_state: RandomState = None,
) -> pd.DataFrame:
    """Test whether what comes now differs from what came before.

    Parameters
    ----------
    reference, current : DataFrame, or array-like of shape (n, dim)
        Two windows of lists or interactions: ``user_id``, ``item_id`` and columns of
        numbers, such as the score. Or two samples of vectors, one in each row.
    n_permutations : int, default=999
        Permutations that give the p-values: the least is 1 / (n_permutations + 1).
    random_state : int, RandomState or None, default=None
        Draws the permutations, and 1,000 rows of a larger sample of vectors, or
        10,000 users of a window of more.

    Returns
    -------
    DataFrame
        A row for ``item_id`` and for each column of numbers that both have, or one row
        ``vectors``. Columns statistic, p_value, and n_reference and n_current: the
        users or vectors that were compared. The statistic of ``item_id`` is the total
        variation between the items of the mean user, from 0, the same, to 1, none in
        common; that of numbers is the largest difference of the distributions of users'
        means, as of Kolmogorov and Smirnov; that of vectors the energy distance.

    Raises
    ------
    ValueError
        For a table without one of the ids, ids that are missing or of another kind in
        one window, a window without rows, vectors of two lengths, or numbers that are
        missing or infinite.

    Notes
    -----
    Rows of one user are not independent of each other. So users are permuted, and not
    rows: each is in one window or the other as a whole, and one who is in both has the
    two windows exchanged. A small p-value says that windows differ, and not that lists
    got worse; with many users, small differences have small p-values.

    References
    ----------
    G. J. Szekely and M. L. Rizzo, "Energy statistics: A class of statistics based on
    distances", Journal of Statistical Planning and Inference 143, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.inspection import measure_drift
    >>> rng = np.random.default_rng(0)
    >>> before, after = rng.normal(size=(60, 4)), rng.normal(1, size=(60, 4))
    >>> measure_drift(before, after, random_state=0)["p_value"].round(3).tolist()
    [0.001]
    """
    check_count(n_permutations, "n_permutations")
    rng = check_random_state(random_state)
    tables = as_frame(reference), as_frame(current)
    if tables[0] is None or tables[1] is None:
        return _of_vectors(reference, current, n_permutations, rng)
    return _of_tables(tables[0], tables[1], n_permutations, rng)


def _of_vectors(
    reference: Any, current: Any, n_permutations: int, rng: np.random.RandomState
) -> pd.DataFrame:
    _refuse_one_table(reference=reference, current=current)
    samples = [check_array(each, dtype=np.float64) for each in (reference, current)]
    if samples[0].shape[1] != samples[1].shape[1]:
        raise ValueError(
            f"reference has vectors of {samples[0].shape[1]} numbers, current of "
            f"{samples[1].shape[1]}"
        )
    some = [each[rng.permutation(len(each))[:_MOST_VECTORS]] for each in samples]
    rows = np.concatenate(some)
    labels = np.arange(len(rows)) >= len(some[0])
    drawn = (rng.permutation(labels) for _ in range(n_permutations))
    found = _tested({"vectors": _energy(cdist(rows, rows))}, labels, [*drawn])
    return _told(found, labels)


def _refuse_one_table(**samples: Any) -> None:
    """Refuse ids as if they were numbers of a vector."""
    for name, sample in samples.items():
        table = as_frame(sample)
        if table is not None and {USER, ITEM} & {*table.columns}:
            raise ValueError(
                f"{name} has ids of users or items, but the other is no table: give "
                "two tables, or two samples of vectors"
            )


def _energy(distances: NDArray[np.float64]) -> Statistic:
    def statistic(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        one = labels / labels.sum(axis=1, keepdims=True)
        weights = one - ~labels / (~labels).sum(axis=1, keepdims=True)
        return -((weights @ distances) * weights).sum(axis=1)

    return statistic


def _of_tables(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    n_permutations: int,
    rng: np.random.RandomState,
) -> pd.DataFrame:
    tables = {
        name: _read_table(table, name)
        for name, table in (("reference", reference), ("current", current))
    }
    for key in (USER, ITEM):  # 7 and "7" would be two, and all of both drifted
        known, new = (table[key].to_numpy() for table in tables.values())
        check_same_kind(new, pd.Index(known), f"current[{key!r}]")
    rows = pd.concat(tables.values(), ignore_index=True)
    is_current = np.repeat([False, True], [len(table) for table in tables.values()])
    users = rows[USER].to_numpy()
    drawn_users = [
        rng.permutation(pd.unique(users[window]))[:_MOST_USERS]
        for window in (~is_current, is_current)
    ]
    is_drawn = np.isin(users, np.concatenate(drawn_users))
    rows, users, is_current = rows[is_drawn], users[is_drawn], is_current[is_drawn]
    units = pd.MultiIndex.from_arrays([users, is_current])
    codes, found = units.factorize()
    owners, labels = found.get_level_values(0), np.asarray(found.get_level_values(1))
    statistics: dict[str, Statistic] = {ITEM: _variation(codes, rows[ITEM])}
    for name in _numbers(reference, current):
        numbers = rows[name].astype(float)
        if not np.isfinite(numbers).all():
            raise ValueError(f"the column {name!r} has numbers missing, or infinite")
        means = numbers.groupby(codes).mean().to_numpy()
        statistics[str(name)] = _kolmogorov(means)
    exchanged = _exchanged(pd.Index(owners), labels, n_permutations, rng)
    return _told(_tested(statistics, labels, [*exchanged]), labels)


def _read_table(table: pd.DataFrame, name: str) -> pd.DataFrame:
    for key in (USER, ITEM):
        if key not in table:
            raise ValueError(f"{name} has no column {key!r}: {list(table)}")
    if not len(table):
        raise ValueError(f"{name} has no rows")
    return id_table(table, name)


def _numbers(reference: pd.DataFrame, current: pd.DataFrame) -> list[Hashable]:
    common = [name for name in reference if name in current]
    return [
        name
        for name in common
        if name not in (USER, ITEM, TIME)
        and all(pd.api.types.is_numeric_dtype(t[name]) for t in (reference, current))
    ]


def _exchanged(
    owners: pd.Index,
    labels: NDArray[np.bool_],
    n_permutations: int,
    rng: np.random.RandomState,
) -> Iterator[NDArray[np.bool_]]:
    """Permute the windows of users who are in one, and swap those of the others."""
    is_paired = owners.duplicated(keep=False)
    pairs = pd.factorize(owners)[0]
    for _ in range(n_permutations):
        swapped = rng.randint(2, size=len(owners)).astype(bool)[pairs]
        drawn = labels ^ swapped
        drawn[~is_paired] = rng.permutation(labels[~is_paired])
        yield drawn


def _variation(units: NDArray[np.intp], items: pd.Series) -> Statistic:
    places, known = pd.factorize(items)
    shares = 1 / np.bincount(units)[units]
    of_units = coo_array(
        (shares, (units, places)), shape=(units.max() + 1, len(known))
    ).tocsr()

    def statistic(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        one, other = (
            (each @ of_units) / each.sum(axis=1, keepdims=True)
            for each in (labels.astype(float), (~labels).astype(float))
        )
        return np.abs(one - other).sum(axis=1) / 2

    return statistic


def _kolmogorov(values: NDArray[np.float64]) -> Statistic:
    order = np.argsort(values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)

    def statistic(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        one, other = (
            each[:, order].cumsum(axis=1)[:, ends] / each.sum(axis=1, keepdims=True)
            for each in (labels, ~labels)
        )
        return np.abs(one - other).max(axis=1)

    return statistic


def _tested(
    statistics: dict[str, Statistic],
    labels: NDArray[np.bool_],
    drawn: list[NDArray[np.bool_]],
) -> dict[str, tuple[float, float]]:
    """Return each statistic, and its p-value among those of permutations."""
    found: dict[str, tuple[float, float]] = {}
    for name, statistic in statistics.items():
        value = float(statistic(labels[None])[0])
        parts = (drawn[n : n + _AT_ONCE] for n in range(0, len(drawn), _AT_ONCE))
        others = np.concatenate([statistic(np.stack(part)) for part in parts])
        # Equal ones differ by rounding.
        n_above = int((others >= value - 1e-12 * max(1.0, abs(value))).sum())
        found[name] = value, (1 + n_above) / (1 + len(drawn))
    return found


def _told(
    found: dict[str, tuple[float, float]], labels: NDArray[np.bool_]
) -> pd.DataFrame:
    counts = int((~labels).sum()), int(labels.sum())
    rows = {name: (*values, *counts) for name, values in found.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=_COLUMNS)
    return table.astype(dict.fromkeys(_COLUMNS[2:], int))
