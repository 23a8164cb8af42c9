"""Exact nearest neighbours among rows of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skmmrec.runtime import cached_property

METRICS = ("cosine", "inner_product", "l2")
_ALIASES = {
    "cosine": "cosine",
    "ip": "inner_product",
    "inner_product": "inner_product",
    "dot": "inner_product",
    "l2": "l2",
    "euclidean": "l2",
}
# Rows below this norm have products that float32 gives with fewer digits (its smallest
# number with all digits is 1e-38).
_SHORTEST = 1e-30
# Rows to choose from are copied out of a matrix, and the others are not compared, where
# they are at most one in so many. Of 100,000 items, on one core, choosing among 1,000
# takes 2 ms in place of 35 (vectors of 64, 384 and 512 together) and 0.14 in place of
# 1.7 (64 alone); among one in ten 13 and 1.5.
_COPYING_PAYS = 10


def metric_name(metric: str | None) -> str:
    """Canonical name of a distance (Feast's own default is L2).

    Raises
    ------
    ValueError
        For a distance that is none of cosine, inner_product and l2.
    """
    name = _ALIASES.get((metric or "l2").lower())
    if name is None:
        raise ValueError(f"distance_metric must be one of {METRICS}, got {metric!r}")
    return name


@dataclass(frozen=True)
class VectorTable:
    """Vectors of one feature, sorted by id.

    Attributes
    ----------
    keys : list of bytes, of length n
    ids : ndarray of shape (n,)
    matrix : float32 ndarray of shape (n, dim)
    event_us : int64 ndarray of shape (n,)
        Event times, microseconds since the epoch.
    version : str or None
        Model version that all rows share.
    """

    keys: list[bytes]
    ids: np.ndarray
    matrix: np.ndarray
    event_us: np.ndarray
    version: str | None = None

    @property
    def dim(self) -> int:
        """Length of each vector."""
        return int(self.matrix.shape[1])

    @cached_property
    def norms(self) -> np.ndarray:
        """Euclidean norm of each row, float64."""
        squares = np.einsum("ij,ij->i", self.matrix, self.matrix, dtype=np.float64)
        norms: np.ndarray = np.sqrt(squares)
        return norms

    @cached_property
    def max_norm(self) -> float:
        """Largest norm of a row."""
        return float(self.norms.max(initial=0.0))

    @cached_property
    def kept(self) -> dict[object, Any]:
        """What others keep with these rows, for as long as they do not change."""
        return {}

    def take(self, rows: np.ndarray) -> VectorTable:
        """Choose rows, in the order given."""
        return VectorTable(
            [self.keys[row] for row in rows],
            self.ids[rows],
            self.matrix[rows],
            self.event_us[rows],
            self.version,
        )


class Added(NamedTuple):
    """What is added to the inner products of some rows.

    Attributes
    ----------
    rows : int32 or int64 ndarray of shape (m,)
        In ascending order, each once.
    scores : float64 ndarray of shape (m,)
        Finite.
    """

    rows: np.ndarray
    scores: np.ndarray

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Return what is added to any rows, float64."""
        added = np.zeros(len(rows))
        if len(self.rows):
            places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
            known = self.rows[places] == rows
            added[known] = self.scores[places[known]]
        return added

    def among(self, rows: np.ndarray) -> Added:
        """Keep what is added to some rows, in ascending order, and number them anew."""
        places, has = _places_of(self.rows, rows)
        return Added(np.flatnonzero(has), self.scores[places[has]])

    @property
    def largest(self) -> float:
        """Largest of the scores without their signs."""
        return float(np.abs(self.scores).max(initial=0.0))


NOTHING_ADDED = Added(np.empty(0, np.int64), np.empty(0))


def nearest(
    table: VectorTable,
    query: np.ndarray,
    k: int,
    metric: str,
    allowed: np.ndarray | None = None,
    added: Added = NOTHING_ADDED,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the table that are nearest to a query, nearest first.

    Parameters
    ----------
    table : VectorTable
    query : ndarray of shape (dim,)
    k : int
    metric : {"cosine", "inner_product", "l2"}
    allowed : bool ndarray of shape (n,), optional
        Rows that may be returned.
    added : Added, optional
        What is added to inner products; with the metric "inner_product" alone.

    Returns
    -------
    rows : int64 ndarray of shape (at most k,)
    distances : float64 ndarray of the same shape
        ``1 - cosine``, minus the inner product, or the Euclidean distance: smaller is
        nearer.

    Notes
    -----
    All rows, or those that are allowed if these are few, are scored in float32. Those
    whose float32 distance is within the rounding error of the k-th are scored again in
    float64, so order and recall are those of an exact search; equal distances keep the
    order of the table.
    """
    if not len(table.ids):
        return np.empty(0, np.int64), np.empty(0, np.float64)
    _check_width(table, query)
    if (few := _few(allowed)) is not None:
        alone, said = _rows_alone(table, few), added.among(few)
        found, distances = nearest(alone, query, k, metric, added=said)
        return few[found], distances
    with np.errstate(over="ignore", invalid="ignore"):
        rough, error = _rough(table, query, metric)
        if len(added.rows):
            rough[added.rows] -= added.scores
            error += _sum_error(table, query, added)
        rows = _candidates(rough, k, error, allowed)
    return _best(table, query, k, metric, rows, added)


def nearest_among(
    table: VectorTable, query: np.ndarray, k: int, rows: np.ndarray, added: Added
) -> tuple[np.ndarray, np.ndarray]:
    """Do the same with inner products of a few rows, which are read alone.

    Parameters
    ----------
    table, query, k, added
        As in `nearest`.
    rows : int64 ndarray of shape (m,)
        In ascending order, each once.
    """
    _check_width(table, query)
    with np.errstate(over="ignore", invalid="ignore"):
        dots = _dots(table.matrix[rows], query.astype(np.float32))
        dots[~np.isfinite(dots)] = np.nan
        rough = (-dots - added.at(rows)).astype(np.float32)
        error = _product_error(table, query) + _sum_error(table, query, added)
        rows = rows[_candidates(rough, k, error, None)]
    return _best(table, query, k, "inner_product", rows, added)


def _best(
    table: VectorTable,
    query: np.ndarray,
    k: int,
    metric: str,
    rows: np.ndarray,
    added: Added,
) -> tuple[np.ndarray, np.ndarray]:
    """Rank candidates in float64."""
    exact = _exact(table, rows, query.astype(np.float64), metric)
    if len(added.rows):
        exact -= added.at(rows)
    order = np.argsort(exact, kind="stable")[:k]
    return rows[order], exact[order]


def _product_error(table: VectorTable, query: np.ndarray) -> float:
    """Bound the error of inner products in float32."""
    # Products that are too small for float32 are off by as much as that.
    least = len(query) * float(np.finfo(np.float32).tiny)
    norm = float(np.linalg.norm(query.astype(np.float64)))
    return _relative_error(query) * table.max_norm * norm + least


def _sum_error(table: VectorTable, query: np.ndarray, added: Added) -> float:
    """Bound what float32 rounds in a sum of inner products and what is added."""
    norm = float(np.linalg.norm(query.astype(np.float64)))
    largest = table.max_norm * norm + added.largest
    return 2 * float(np.finfo(np.float32).eps) * largest


def _check_width(table: VectorTable, query: np.ndarray) -> None:
    if len(query) != table.matrix.shape[1]:
        raise ValueError(
            f"the query has {len(query)} numbers, "
            f"the stored vectors {table.matrix.shape[1]}"
        )


class Aspect(NamedTuple):
    """One of several vectors by which items are compared.

    Attributes
    ----------
    directions : float32 ndarray of shape (m, dim)
        Vectors of length 1, of some or all items.
    rows : int64 ndarray of shape (m,)
        Which of the n items they are of, in ascending order.
    query : float32 ndarray of shape (dim,)
        Of length 1, too.
    weight : float
        Above 0.
    """

    directions: np.ndarray
    rows: np.ndarray
    query: np.ndarray
    weight: float


def nearest_weighted(
    aspects: Sequence[Aspect], n: int, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Items whose weighted mean of cosines is largest, largest first.

    Parameters
    ----------
    aspects : sequence of Aspect
    n, k : int
        How many items there are, and are wanted.
    allowed : bool ndarray of shape (n,), optional
        Items that may be returned.

    Returns
    -------
    rows : int64 ndarray of shape (at most k,)
    cosines : float64 ndarray of the same shape
        The mean is over those aspects that an item has a vector of; items without any
        are not found. Equal means keep the order of the items.

    Notes
    -----
    As exact as `nearest`, and in the same way.
    """
    if (few := _few(allowed)) is not None:
        among = [_among(aspect, few) for aspect in aspects]
        found, cosines = nearest_weighted(among, len(few), k)
        return few[found], cosines
    totals, weights = np.zeros(n), np.zeros(n)
    for directions, rows, query, weight in aspects:
        totals[rows] += weight * _dots(directions, query)
        weights[rows] += weight
    has_any = weights > 0
    means = np.divide(totals, weights, out=np.zeros(n), where=has_any)
    error = max((_relative_error(aspect.query) for aspect in aspects), default=0.0)
    allowed = has_any if allowed is None else has_any & allowed
    chosen = _candidates(-means, k, error, allowed)
    exact = _exact_totals(aspects, chosen) / weights[chosen]
    order = np.argsort(-exact, kind="stable")[:k]
    return chosen[order], exact[order]


def _few(allowed: np.ndarray | None) -> np.ndarray | None:
    """Rows that may be returned, where they are so few that copying them pays."""
    if allowed is None or np.count_nonzero(allowed) * _COPYING_PAYS > len(allowed):
        return None
    rows: np.ndarray = np.flatnonzero(allowed)
    return rows


def _rows_alone(table: VectorTable, rows: np.ndarray) -> VectorTable:
    """Choose rows for their vectors; keys are not asked for."""
    events = table.event_us[rows]
    return VectorTable([], table.ids[rows], table.matrix[rows], events, table.version)


def _among(aspect: Aspect, items: np.ndarray) -> Aspect:
    """Keep the vectors of some items, in ascending order, which are numbered anew."""
    places, has = _places_of(aspect.rows, items)
    directions = aspect.directions[places[has]]
    return aspect._replace(directions=directions, rows=np.flatnonzero(has))


def _places_of(rows: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where items stand among ascending rows, and whether they do."""
    places = np.searchsorted(rows, items)
    return places, np.append(rows, -1)[places] == items


def _exact_totals(aspects: Sequence[Aspect], chosen: np.ndarray) -> np.ndarray:
    """Weighted sums of the cosines of some items, in float64."""
    totals = np.zeros(len(chosen))
    for directions, rows, query, weight in aspects:
        places, has = _places_of(rows, chosen)
        vectors = directions[places[has]].astype(np.float64)
        totals[has] += weight * _dots(vectors, query.astype(np.float64))
    return totals


def _rough(
    table: VectorTable, query: np.ndarray, metric: str
) -> tuple[np.ndarray, float]:
    """Order-preserving float32 distances and a bound on their error.

    Not a number where float32 cannot tell.
    """
    exact = query.astype(np.float64)
    norm = float(np.linalg.norm(exact))
    if metric == "cosine" and norm:
        exact, norm = exact / norm, 1.0
    dots = _dots(table.matrix, exact.astype(np.float32))
    dots[~np.isfinite(dots)] = np.nan
    relative = _relative_error(query)
    if metric == "cosine":
        cosines = dots / np.maximum(table.norms, np.finfo(np.float64).tiny)
        cosines[(table.norms > 0) & (table.norms < _SHORTEST)] = np.nan
        return (-cosines).astype(np.float32), relative
    if metric == "l2":
        squares = np.square(table.norms)
        # As in `_product_error`.
        least = len(query) * float(np.finfo(np.float32).tiny)
        error = relative * (table.max_norm + norm) ** 2 + least
        return (squares - 2.0 * dots).astype(np.float32), error
    return -dots, _product_error(table, query)


def _dots(matrix: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Multiply by this thread alone, as BLAS does not.

    BLAS leaves its other threads spinning for 25 ms in case there is more to do: on two
    processors, a list of 100,000 x 64 every 30 ms took 34 ms of them each time, which
    the other processes of a service could not have. This takes 3 ms.
    """
    dots: np.ndarray = np.einsum("ij,j->i", matrix, query)
    return dots


def _relative_error(query: np.ndarray) -> float:
    """Bound the error of a product in float32, relative to the norms.

    A sum of n products is off by at most n roundings; 4 more for norms and quotients.
    """
    return (len(query) + 4) * float(np.finfo(np.float32).eps)


def _candidates(
    rough: np.ndarray, k: int, error: float, allowed: np.ndarray | None
) -> np.ndarray:
    """Choose the allowed rows that may be nearest, not-a-number ones among them."""
    if allowed is not None:
        among: np.ndarray = np.flatnonzero(allowed)
        among = among[_candidates(rough[among], k, error, None)]
        return among
    if k >= len(rough):
        return np.arange(len(rough))
    threshold = np.partition(rough, k - 1)[k - 1] + 2 * error
    return np.flatnonzero(~(rough > threshold))


def _exact(
    table: VectorTable, rows: np.ndarray, query: np.ndarray, metric: str
) -> np.ndarray:
    vectors = table.matrix[rows].astype(np.float64)
    distances: np.ndarray
    if metric == "l2":
        distances = np.linalg.norm(vectors - query, axis=1)
        return distances
    dots = _dots(vectors, query)
    if metric == "inner_product":
        distances = -dots
        return distances
    scale = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    distances = 1.0 - np.divide(dots, scale, out=np.zeros_like(dots), where=scale > 0)
    return distances
