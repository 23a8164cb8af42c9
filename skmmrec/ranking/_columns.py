"""From a table of candidates to a matrix of numbers."""

from __future__ import annotations

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
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return None
    if not _holds_words(column.dtype):
        raise ValueError(
            f"the column {column.name!r} is of type {column.dtype}, neither numbers "
            "nor categories: give features=, a transformer that makes numbers of it"
        )
    return sorted({str(value) for value in column.dropna()})


def _holds_words(kind: Any) -> bool:
    if isinstance(kind, pd.ArrowDtype) and pa.types.is_dictionary(kind.pyarrow_dtype):
        return True
    is_category = isinstance(kind, pd.CategoricalDtype)
    return is_category or pd.api.types.is_string_dtype(kind)


def _numbers(column: pd.Series, known: list[str] | None) -> NDArray[np.float32]:
    if known is None:
        return pd.to_numeric(column).to_numpy(np.float32, na_value=np.nan)
    texts = column.astype(object).where(column.notna(), None)
    codes = pd.Index(known, dtype=object).get_indexer(
        [None if text is None else str(text) for text in texts]
    )
    return np.where(codes < 0, np.nan, codes).astype(np.float32)


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
        return dense.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"features gave what is not a number: {error}") from error


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
