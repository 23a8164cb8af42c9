"""Smaller vectors that give nearly the same scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import check_count, unmasked

# int8 without -128, so that the levels are symmetric about 0.
LEVELS = 127


@dataclass(frozen=True)
class QuantizedVectors:
    """Vectors of whole numbers and a scale for each.

    Made by :func:`quantize_int8`.

    Attributes
    ----------
    codes : ndarray of shape (n, d), int8
        From -127 to 127.
    scales : ndarray of shape (n,), float32
        What the codes of a vector are multiplied by.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.codes.nbytes + self.scales.nbytes

    def dequantize(self) -> NDArray[np.float32]:
        """Return the vectors, as exactly as they are known.

        Returns
        -------
        ndarray of shape (n, d), float32
        """
        return self.codes * self.scales[:, None]


def quantize_int8(vectors: ArrayLike) -> QuantizedVectors:
    """Round vectors to 8 bits a number: a quarter of the memory of float32.

    Parameters
    ----------
    vectors : DataFrame or array-like of shape (n, d)
        Finite numbers, such as ``recommender.item_vectors_``. Keep biases apart: a
        column that is much greater than the others takes all the levels.

    Returns
    -------
    QuantizedVectors
        No number is off by more than 1/254 of the greatest of its vector.

    Raises
    ------
    ValueError
        Where a number is not finite, or float32 cannot hold it, or `vectors` is no
        matrix.

    Examples
    --------
    >>> from skmmrec.retrieval import quantize_int8
    >>> small = quantize_int8([[0.5, -1.27], [0.0, 254.0]])
    >>> small.codes
    array([[  50, -127],
           [   0,  127]], dtype=int8)
    >>> small.dequantize().round(2)
    array([[  0.5 ,  -1.27],
           [  0.  , 254.  ]], dtype=float32)
    """
    table = _as_matrix(vectors, "vectors")
    greatest = np.abs(table).max(axis=1, initial=0.0)
    scales = np.where(greatest > 0, greatest / LEVELS, 1.0)
    codes = np.rint(table / scales[:, None]).astype(np.int8)
    return QuantizedVectors(codes, scales.astype(np.float32))


class ReducedVectors(NamedTuple):
    """Vectors of fewer dimensions, and the maps that made them.

    Made by :func:`reduce_dimensions`.

    Attributes
    ----------
    items, users : DataFrame or ndarray of shape (n, n_components), float32
        Their inner products are nearly those of the vectors given.
    item_map, user_map : ndarray of shape (d, n_components), float64
        What vectors of other items and users are multiplied by.
    """

    items: Any
    users: Any
    item_map: NDArray[np.float64]
    user_map: NDArray[np.float64]


def reduce_dimensions(
    items: pd.DataFrame | ArrayLike, users: pd.DataFrame | ArrayLike, n_components: int
) -> ReducedVectors:
    """Map item and user vectors to fewer dimensions, keeping their inner products.

    No vectors of that width come closer to the inner products of these items and users,
    by the sum of squares.

    Parameters
    ----------
    items : DataFrame or array-like of shape (n_items, d)
        Such as ``recommender.serving_vectors().items``.
    users : DataFrame or array-like of shape (n_users, d)
        Such as ``recommender.serving_vectors().users``.
    n_components : int
        Width wanted, at most d.

    Returns
    -------
    ReducedVectors
        DataFrames, with the index as it was, where DataFrames were given.

    Raises
    ------
    TypeError
        If `n_components` is no integer.
    ValueError
        Where a number is not finite, or float32 cannot hold it, there are no items or
        no users, the widths differ, or `n_components` is not between 1 and d.

    Notes
    -----
    The truncated singular value decomposition of the matrix of all scores (C. Eckart
    and G. Young, Psychometrika 1(3), 1936), found from the small triangular factors of
    both sides: time is linear in items and users, and no score is computed.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.retrieval import reduce_dimensions
    >>> rng = np.random.default_rng(0)
    >>> items, users = rng.normal(size=(50, 3)), rng.normal(size=(20, 3))
    >>> wide = np.hstack([items, items]), np.hstack([users, users])
    >>> small = reduce_dimensions(*wide, n_components=3)
    >>> small.items.shape
    (50, 3)
    >>> bool(np.allclose(small.users @ small.items.T, wide[1] @ wide[0].T, atol=1e-5))
    True
    """
    item_table, user_table = _as_matrix(items, "items"), _as_matrix(users, "users")
    width = item_table.shape[1]
    if user_table.shape[1] != width:
        raise ValueError(
            f"items and users differ in width: {width} and {user_table.shape[1]}"
        )
    for table, name in ((item_table, "items"), (user_table, "users")):
        if not len(table):
            raise ValueError(f"{name} has no rows: there is nothing to keep")
    check_count(n_components, "n_components", at_least=0)
    if not 1 <= n_components <= width:
        raise ValueError(
            f"n_components must be between 1 and {width}, got {n_components}"
        )
    item_map, user_map = _best_maps(item_table, user_table, n_components)
    return ReducedVectors(
        _like(items, item_table @ item_map),
        _like(users, user_table @ user_map),
        item_map,
        user_map,
    )


def _best_maps(items: NDArray, users: NDArray, n: int) -> tuple[NDArray, NDArray]:
    """Find maps of items and of users to `n` dimensions.

    With QR decompositions ``users = P A`` and ``items = Q B``, the scores are
    ``P (A B') Q'``; the singular vectors of the product in brackets give those of all.
    """
    of_users, of_items = (np.linalg.qr(table)[1] for table in (users, items))
    left, values, right = np.linalg.svd(of_users @ of_items.T, full_matrices=False)
    kept = values[:n] > np.finfo(np.float64).eps * max(1, len(values)) * values[0]
    roots = np.where(kept, 1 / np.sqrt(np.where(kept, values[:n], 1)), 0.0)
    item_map = of_users.T @ left[:, :n] * roots
    user_map = of_items.T @ right[:n].T * roots
    missing = ((0, 0), (0, n - len(roots)))
    return np.pad(item_map, missing), np.pad(user_map, missing)


def _as_matrix(vectors: Any, name: str) -> NDArray[np.float64]:
    table = np.asarray(unmasked(vectors), dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, got {table.ndim}")
    odd = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(odd):
        raise ValueError(f"{name} is not finite in row {odd[0]}")
    large = np.flatnonzero((np.abs(table) > np.finfo(np.float32).max).any(axis=1))
    if len(large):
        raise ValueError(
            f"{name} has numbers in row {large[0]} that float32 cannot hold: divide "
            "all vectors by the same number, which changes no order"
        )
    return table


def _like(given: Any, table: NDArray) -> Any:
    """Float32, with the index of `given` if it has one."""
    table = table.astype(np.float32)
    return (
        pd.DataFrame(table, given.index) if isinstance(given, pd.DataFrame) else table
    )
