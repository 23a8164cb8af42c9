"""The base of transformers of raw columns: rows, missing values, errors."""

from __future__ import annotations

import os
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from skmmrec._sklearn import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from skmmrec.interactions import RawColumn
from skmmrec.runtime import (
    ContentError,
    Failure,
    as_items,
    collect_failures,
    is_missing,
    reading,
    tell_failures,
)


class BaseContentTransformer(
    OneToOneFeatureMixin, TransformerMixin, BaseEstimator, metaclass=ABCMeta
):
    """Change each item of one column of raw content.

    A subclass implements `_change`, which changes one item, and `_content_key`, which
    is equal for equal items. Missing values are kept, and each distinct item is changed
    once.

    Parameters
    ----------
    on_error : {"raise", "missing"}, default="raise"
        Whether an item that cannot be read raises an error that names its row, or
        becomes None; one warning then counts these rows.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "on_error": [StrOptions({"raise", "missing"})],
    }
    _items_are_paths: ClassVar[bool] = True
    on_error: str

    @abstractmethod
    def _change(self, item: Any) -> Any:
        """Return the changed item; whatever it raises is reported with the row."""

    @abstractmethod
    def _content_key(self, item: Any) -> Hashable:
        """Return a value that is equal for equal items."""

    def fit(self, X: RawColumn, y: object = None) -> Self:
        """Check the parameters and the column; read no item.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of items.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If `X` does not have exactly one column, or a parameter is invalid.
        """
        self._validate_params()
        self._items(X, reset=True)
        return self

    def transform(self, X: RawColumn) -> Any:
        """Change each item of a column.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of items.

        Returns
        -------
        X_changed : Series, DataFrame or ndarray of objects, of shape (n,) or (n, 1)
            A column of the same kind: pandas objects keep their index and name;
            anything else becomes an array. Missing values are kept.

        Raises
        ------
        ValueError
            If an item cannot be read and ``on_error="raise"``. The message names the
            row and, where there is one, the file.
        """
        check_is_fitted(self)
        return self._like(X, self._changed(self._items(X, reset=False)))

    def _items(self, X: Any, reset: bool) -> list[Any]:
        items = as_items(X, type(self).__name__)
        if hasattr(X, "columns"):
            validate_data(self, X, reset=reset, skip_check_array=True)
        elif reset:
            self.__dict__.pop("feature_names_in_", None)
            self.n_features_in_ = 1
            self._remember_name(getattr(X, "name", None))
        return items

    def _remember_name(self, name: Any) -> None:
        """Keep the name of a Series, which `set_output` passes on to an encoder."""
        if isinstance(name, str) and name:
            self.feature_names_in_ = np.array([name], dtype=object)

    def _changed(self, items: list[Any]) -> np.ndarray:
        # Filled one by one: numpy would turn a list of tuples into a matrix.
        out = np.empty(len(items), dtype=object)
        done: dict[Hashable, Any] = {}
        failures: list[Failure] = []
        for row, item in enumerate(items):
            try:
                with reading():
                    out[row] = item if is_missing(item) else self._once(item, done)
            except ContentError as error:
                failures.append(self._failure(row, item, error))
                if self.on_error == "raise":
                    raise ContentError(str(failures[0])) from error
        self._report(failures, len(items))
        return out

    def _once(self, item: Any, done: dict[Hashable, Any]) -> Any:
        key = self._content_key(item)
        if key not in done:
            done[key] = self._change(item)
        return done[key]

    def _like(self, X: Any, values: np.ndarray) -> Any:
        """Return the values as the kind of column that `X` is."""
        if _get_output_config("transform", self)["dense"] != "default":
            return values[:, None]
        if isinstance(X, pd.DataFrame):
            column = pd.Series(values, index=X.index, dtype=values.dtype)
            return column.to_frame().set_axis(X.columns, axis=1)
        if isinstance(X, pd.Series):
            return pd.Series(values, index=X.index, name=X.name, dtype=values.dtype)
        is_matrix = isinstance(X, np.ndarray) and X.ndim == 2
        return values[:, None] if is_matrix else values

    def _failure(self, row: int, item: Any, error: ContentError) -> Failure:
        is_named = isinstance(item, os.PathLike) or (
            isinstance(item, str) and self._items_are_paths
        )
        source = os.fspath(item) if is_named else ""
        return Failure(type(self).__name__, row, source, str(error))

    def _report(self, failures: list[Failure], n_rows: int) -> None:
        if failures and not collect_failures(failures):
            told = tell_failures(failures, n_rows)
            warnings.warn(told, UserWarning, stacklevel=4)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags
