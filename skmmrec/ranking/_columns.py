"""From a table of candidates to a matrix of numbers."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import issparse

from skmmrec._sklearn import BaseEstimator, TransformerMixin
from skmmrec.interactions import ITEM, TIME, USER

FIRST = ["first_score", "first_rank"]


class ColumnNumbers(TransformerMixin, BaseEstimator):
    """Numbers as they are, and a number for each category; ids and times are left out.

    Attributes
    ----------
    columns_ : dict of str to list of str or None
        Categories of each column, sorted; None: a column of numbers.
    """

    columns_: dict[str, list[str] | None]

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn the categories."""
        names = [name for name in X if name not in (USER, ITEM, TIME)]
        self.columns_ = {str(name): _categories(X[name]) for name in names}
        return self

    def transform(self, X: pd.DataFrame) -> NDArray[np.float32]:
        """Give NaN for what is missing, and for categories that `fit` did not meet."""
        parts = [_numbers(X[name], known) for name, known in self.columns_.items()]
        return np.stack(parts, axis=1) if parts else np.empty((len(X), 0), np.float32)

    def get_feature_names_out(self, input_features: object = None) -> NDArray:
        """Names of the columns."""
        return np.array([*self.columns_], dtype=object)


def _categories(column: pd.Series) -> list[str] | None:
    """List what a column of words holds, sorted; None for one of numbers."""
    kind = _kind_of(column)
    if kind == "numbers":
        return None
    if kind is None:
        raise ValueError(
            f"the column {column.name!r} is of type {_type_of(column)}, neither "
            "numbers nor categories: give features=, a transformer that makes numbers "
            "of it"
        )
    return sorted({str(value) for value in column.dropna()})


def _kind_of(column: pd.Series) -> str | None:
    """Tell "numbers" from "words", of values where the type does not; None: neither."""
    kind: Any = column.dtype
    if isinstance(kind, np.dtype) and kind.kind == "O":
        return _kind_of_values(column)
    if isinstance(kind, pd.ArrowDtype) and pa.types.is_dictionary(kind.pyarrow_dtype):
        return "words"
    if pd.api.types.is_complex_dtype(kind):
        return None
    if pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
        return "numbers"
    is_category = isinstance(kind, pd.CategoricalDtype)
    return "words" if is_category or pd.api.types.is_string_dtype(kind) else None


def _kind_of_values(column: pd.Series) -> str | None:
    types = set(map(type, column.dropna()))
    if types and all(issubclass(kind, _NUMBERS) for kind in types):
        return "numbers"
    return "words" if all(issubclass(kind, _WORDS) for kind in types) else None


def _type_of(column: pd.Series) -> str:
    """Name the type of a column; of objects, that of the first that is no word."""
    types = map(type, column.dropna() if column.dtype == object else ())
    odd = (kind.__name__ for kind in types if not issubclass(kind, _WORDS))
    return next(odd, str(column.dtype))


# Of Python and NumPy: a truth value of NumPy and a Decimal are none to `Real`.
_NUMBERS = (Real, Decimal, np.bool_)
_WORDS = (str, *_NUMBERS)


def _numbers(column: pd.Series, known: list[str] | None) -> NDArray[np.float32]:
    if known is None:
        return _in_float32(column)
    texts = column.astype(object).where(column.notna(), None)
    codes = pd.Index(known, dtype=object).get_indexer(
        [None if text is None else str(text) for text in texts]
    )
    return np.where(codes < 0, np.nan, codes).astype(np.float32)


def _in_float32(column: pd.Series) -> NDArray[np.float32]:
    """Read numbers; a ValueError names a value that is none."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
    is_odd = np.isnan(numbers) | (_kind_of(column) is None)  # such as dates
    odd = np.flatnonzero(is_odd & column.notna().to_numpy())
    if len(odd):
        raise ValueError(
            f"the column {column.name!r} held numbers in fit, and now holds "
            f"{column.iloc[odd[0]]!r}: give a number, or None where it is not known"
        )
    with np.errstate(over="ignore"):
        single: NDArray[np.float32] = numbers.astype(np.float32)
    refuse_infinite(single, numbers, f"the column {column.name!r}")
    return single


def refuse_infinite(single: NDArray[np.float32], given: NDArray, name: str) -> None:
    """Refuse what is infinite in float32: trees cut there at NaN, between infinities.

    `given` are the numbers before they were brought into float32; the ValueError calls
    them `name`.
    """
    odd = np.isinf(single)
    if odd.any():
        raise ValueError(
            f"{name} must hold numbers that are finite in float32, or NaN where "
            f"nothing is known, and holds {given[odd][0]}"
        )


def as_matrix(values: Any, n_rows: int) -> NDArray[np.float32]:
    """Return what a transformer gave as numbers.

    Raises ValueError for another number of rows, or what is not numeric.
    """
    dense = values.toarray() if issparse(values) else np.asarray(values)
    if dense.ndim != 2 or len(dense) != n_rows:
        raise ValueError(
            f"features made an array of shape {dense.shape} of {n_rows} rows: it must "
            "give one row of numbers for each"
        )
    try:
        with np.errstate(over="ignore"):
            numbers: NDArray[np.float32] = dense.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"features gave what is not a number: {error}") from error
    refuse_infinite(numbers, dense, "features")
    return numbers


def names_of(features: Any, width: int) -> list[str]:
    """Names of the columns that a transformer gives; numbers where a part has none."""
    try:
        return [str(name) for name in features.get_feature_names_out()]
    except AttributeError:
        return [f"feature_{column}" for column in range(width)]


def at_present(part: Any) -> Any:
    """Copy a fitted transformer so that it reads what is so now.

    A part with a method ``online``, such as `FeastFeatures`, is replaced by what that
    returns, wherever it is: in a ColumnTransformer, a Pipeline or a FeatureUnion.
    """
    if isinstance(part, list | tuple):
        return type(part)(at_present(value) for value in part)
    if isinstance(part, dict) and type(part) is dict:
        return {name: at_present(value) for name, value in part.items()}
    if not hasattr(part, "get_params") or isinstance(part, type):
        return part
    if hasattr(part, "online"):
        return part.online()
    twin = object.__new__(type(part))
    vars(twin).update({name: at_present(value) for name, value in vars(part).items()})
    return twin
