"""Lists to learn from, made by first stages that have not seen their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import ITEM, USER, Interactions
from skmmrec.metrics import find_recommender
from skmmrec.model_selection import RandomHoldoutPerUser, TimeSplit
from skmmrec.ranking._candidates import REQUEST, candidates_of
from skmmrec.ranking._first_stage import FirstFit
from skmmrec.ranking._requests import requests_in

# Shares of the rows that a fold holds out. By time, little: the first stage of the
# earliest fold has to be like the one that is served. Not tuned.
BY_TIME, BY_USER = 0.1, 0.2
# The fewest rows of a user of which a fifth is one, rounded.
_FEWEST = 3

Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Examples:
    """Candidates with their answers, lists one after the other.

    Attributes
    ----------
    candidates : DataFrame of n rows
        As `candidates_of` gives it.
    labels : ndarray of shape (n,), int64
        1 for what was liked.
    known : ndarray of shape (n,), bool
        Whether the first stage had rows of the list's user.
    weights : ndarray of shape (n,) or None
        How much each candidate counts: what was liked as its rows do, the others as the
        mean of what was liked in their list. They average 1. None: all the same.
    """

    candidates: pd.DataFrame
    labels: NDArray[np.int64]
    known: NDArray[np.bool_]
    weights: NDArray[np.float64] | None = None

    def where(self, kept: NDArray[np.bool_]) -> Examples:
        """Keep some rows."""
        candidates = self.candidates[kept].reset_index(drop=True)
        weights = None if self.weights is None else self.weights[kept]
        return Examples(candidates, self.labels[kept], self.known[kept], weights)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each list."""
        return np.unique(self.candidates[REQUEST], return_counts=True)[1]


def make_folds(cv: Any, X: Any, y: Any, rows: Interactions, seed: int) -> Folds:
    """Split rows into those to fit a first stage on and those to learn a ranking from.

    Parameters
    ----------
    cv : int, splitter or list of (train, test)
        A number of folds, by time where there are times, else a part of each user's
        rows; or what has ``split``; or the positions themselves.
    X, y : object
        What `fit` was given.
    rows : Interactions
        What was read of it.
    seed : int
        Of folds at random.

    Returns
    -------
    list of (train, test)
        Positions of rows; empty where there are too few rows to hold any out.

    Raises
    ------
    ValueError
        For a splitter that gives a row to both parts, or none to train on.
    """
    if hasattr(cv, "split") or isinstance(cv, list):
        pairs = cv.split(X, y) if hasattr(cv, "split") else cv
        return [_checked(train, test, fold) for fold, (train, test) in enumerate(pairs)]
    table = pd.DataFrame({USER: rows.users, ITEM: rows.items})
    if rows.times is not None:
        by_time = TimeSplit(BY_TIME, cv)
        is_enough = len(rows) > cv * max(1, round(BY_TIME * len(rows)) + 1)
        places = _places_by_time(rows.times, seed)
        return [*by_time.split(table, groups=places)] if is_enough else []
    if table[USER].value_counts().max() < _FEWEST:
        return []
    return [*RandomHoldoutPerUser(BY_USER, cv, random_state=seed).split(table)]


def _places_by_time(times: NDArray, seed: int) -> NDArray[np.int64]:
    """Count rows up by time, those of one time at random.

    In the order of the rows, which often is that of users, a fold of such rows would
    hold out a few users as a whole.
    """
    codes = np.unique(times, return_inverse=True)[1]
    drawn = np.random.RandomState(seed).permutation(len(codes))
    places = np.empty(len(codes), np.int64)
    places[np.lexsort((drawn, codes))] = np.arange(len(codes))
    return places


def read_folds(cv: Any, n_rows: int) -> Any:
    """Return a list of folds with positions as arrays; another `cv` stays.

    Raises ValueError for what is no pair of positions of rows.
    """
    if not isinstance(cv, list | tuple):
        return cv
    return [_positions(pair, n_rows, fold) for fold, pair in enumerate(cv)]


def _positions(pair: Any, n_rows: int, fold: int) -> tuple[NDArray[np.int64], ...]:
    parts = [np.asarray(part) for part in pair] if np.iterable(pair) else []
    are_numbers = all(part.ndim == 1 and part.dtype.kind in "iu" for part in parts)
    if len(parts) != 2 or not are_numbers:
        raise ValueError(
            f"cv must be a list of (train, test), each positions of rows: fold {fold} "
            f"is {pair!r:.60}"
        )
    for part in parts:
        if len(part) and not 0 <= part.min() <= part.max() < n_rows:
            raise ValueError(
                f"fold {fold} of cv has positions from {part.min()} to {part.max()}, "
                f"but X has {n_rows} rows"
            )
    return tuple(part.astype(np.int64) for part in parts)


def renumbered(cv: Any, kept: NDArray[np.int64], n_rows: int) -> Any:
    """Return folds among the rows that are kept, of positions among all of them.

    Numbers and splitters split what is kept themselves.
    """
    if not isinstance(cv, list):
        return cv
    places = np.full(n_rows, -1)
    places[kept] = np.arange(len(kept))
    folds = [tuple(places[part] for part in pair) for pair in cv]
    return [tuple(part[part >= 0] for part in pair) for pair in folds]


def _checked(
    train: NDArray, test: NDArray, fold: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Refuse a leak: a first stage knows the answers that it was fitted on.

    So is a fold of which nothing would be learned from.
    """
    if len(train) == 0:
        raise ValueError(f"cv leaves no row to fit the first stage on in fold {fold}")
    both = np.intersect1d(train, test)
    if len(both):
        raise ValueError(
            f"cv gives row {both[0]} to both parts of fold {fold} ({len(both)} such "
            "rows): the first stage would know the answers that the ranker learns from"
        )
    return np.asarray(train), np.asarray(test)


def learn_from(
    first: FirstFit,
    rows: Interactions,
    liked: NDArray[np.bool_],
    context: pd.DataFrame,
    names: Sequence[str],
    folds: Folds,
    n_candidates: int,
    max_lists: int | None,
    rng: np.random.RandomState,
) -> Examples | None:
    """Make the candidates of what each fold holds out, with their answers.

    Parameters
    ----------
    first : FirstFit
        Fits the first stage on the rest of each fold.
    rows : Interactions
        What was read of what `fit` was given.
    liked : ndarray of shape (n_rows,), bool
        Which rows are liked.
    context : DataFrame of shape (n_rows, n_columns)
        Columns of the context, times left out.
    names : sequence of str
        Columns that tell requests apart.
    folds : list of (train, test)
        Positions of rows.
    n_candidates : int
        Items for each request.
    max_lists : int or None
        Requests of each fold, at most; more are drawn from.
    rng : RandomState
        Draws them.

    Returns
    -------
    Examples or None
        None: no list has both liked items and others.
    """
    parts: list[Examples] = []
    for train, test in folds:
        fitted, held = first.on(train), test[liked[test]]
        weights = np.ones(len(held)) if first.weights is None else first.weights[held]
        parts += _of_fold(
            find_recommender(fitted),
            rows.where(held),
            weights,
            context.iloc[held].reset_index(drop=True),
            names,
            n_candidates,
            max_lists,
            rng,
            pd.unique(rows.users[train]),
        )
    return _together(parts)


def _of_fold(
    first: Any,
    liked: Interactions,
    weights: NDArray[np.float64],
    context: pd.DataFrame,
    names: Sequence[str],
    n_candidates: int,
    max_lists: int | None,
    rng: np.random.RandomState,
    known: NDArray,
) -> Iterator[Examples]:
    """Label the candidates of one fold."""
    if len(liked) == 0:
        return
    requests = requests_in(liked, context, names)
    if max_lists is not None and len(requests.table) > max_lists:
        drawn = rng.permutation(len(requests.table))[:max_lists]
        requests = requests.keep(np.sort(drawn))
    candidates = candidates_of(first, requests.table, n_candidates)
    labels, elsewhere = _answers(candidates, liked, requests.of_row)
    counts = _weights_of(candidates, labels, liked, weights, requests.of_row)
    # What was liked at another moment says neither yes nor no at this one.
    kept = ~elsewhere & _has_both(candidates[REQUEST], labels, elsewhere)
    is_known = candidates[USER].isin(known).to_numpy()
    yield Examples(candidates, labels, is_known, counts).where(kept)


def _answers(
    candidates: pd.DataFrame, liked: Interactions, of_row: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which candidates were liked, and which only at another moment."""
    requests = candidates[REQUEST].to_numpy()
    items = pd.Index(pd.unique(liked.items))
    users = pd.Index(pd.unique(liked.users))
    item = items.get_indexer(candidates[ITEM])
    n = len(items)
    here = np.isin(requests * n + item, of_row * n + items.get_indexer(liked.items))
    met = users.get_indexer(liked.users) * n + items.get_indexer(liked.items)
    ever = np.isin(users.get_indexer(candidates[USER]) * n + item, met)
    known = item >= 0
    return (here & known).astype(np.int64), ever & ~here & known


def _weights_of(
    candidates: pd.DataFrame,
    labels: NDArray[np.int64],
    liked: Interactions,
    weights: NDArray[np.float64],
    of_row: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Weigh what was liked by its rows, and the others by what was liked beside them.

    So a like counts as its weight says together with what it is compared with. Where
    no weights are given each row has 1, so that repeated rows count like weights.
    """
    rows = pd.DataFrame({REQUEST: of_row, ITEM: liked.items, "weight": weights})
    sums = rows.groupby([REQUEST, ITEM], as_index=False)["weight"].sum()
    own = candidates[[REQUEST, ITEM]].merge(sums, "left", [REQUEST, ITEM])["weight"]
    own = own.where(labels > 0).set_axis(candidates.index)
    means = own.groupby(candidates[REQUEST]).transform("mean")
    return own.fillna(means).fillna(0.0).to_numpy()


def _has_both(
    requests: pd.Series, labels: NDArray[np.int64], left_out: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Candidates of lists that have something liked and something else."""
    counted = pd.DataFrame({"liked": labels, "others": (labels == 0) & ~left_out})
    sums = counted.groupby(requests.to_numpy()).transform("sum")
    return (sums["liked"] > 0).to_numpy() & (sums["others"] > 0).to_numpy()


def _together(parts: list[Examples]) -> Examples | None:
    """Put folds one after the other, with numbers of requests of their own."""
    parts = [part for part in parts if len(part.labels)]
    if not parts:
        return None
    tables, start = [], 0
    for part in parts:
        table = part.candidates.assign(**{REQUEST: part.candidates[REQUEST] + start})
        tables.append(table)
        start = int(table[REQUEST].max()) + 1
    labels, known, weights = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("labels", "known", "weights")
    )
    even = np.ptp(weights) == 0
    return Examples(
        pd.concat(tables, ignore_index=True),
        labels,
        known,
        None if even else weights / weights.mean(),
    )
