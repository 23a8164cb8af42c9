"""Feast features as columns of a scikit-learn matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from feast import FeatureService, FeatureStore
from feast.protos.feast.types.Value_pb2 import Value
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from ._encoding import unpack
from ._repo import open_store


class FeastFeatures(TransformerMixin, BaseEstimator):
    """Replace ids by features of a Feast feature service.

    Parameters
    ----------
    repo_path : str, path or feast.FeatureStore
        Folder of the repository.
    service : str or list of str, default="embeddings"
        Name of a feature service, or references such as
        ``["item_embeddings:item_vector"]``. Any service will do whose features are
        numbers or lists of numbers.
    missing : {"nan", "error"}, default="nan"
        What to do for an id that the store does not know: NaN in its columns, or an
        error that names the row.

    Attributes
    ----------
    join_keys_ : list of str
        Columns of ids that the service needs.
    widths_ : dict of str to int
        Feature name to its number of output columns.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only when `X` has string column names.

    Notes
    -----
    `X` is a DataFrame with at least the columns in ``join_keys_``, or an array with
    exactly these columns, in this order. A list feature gives one column a number.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "repo_path": [str, Path, FeatureStore],
        "service": [str, list],
        "missing": [StrOptions({"nan", "error"})],
    }

    def __init__(
        self,
        repo_path: FeatureStore | str | Path,
        service: str | list[str] = "embeddings",
        *,
        missing: str = "nan",
    ) -> None:
        self.repo_path = repo_path
        self.service = service
        self.missing = missing

    def fit(self, X: Any, y: Any = None) -> FeastFeatures:
        """Learn from the registry which ids are needed and which columns come out.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_ids)
        y : None
            Ignored.

        Returns
        -------
        self
        """
        self._validate_params()
        self.join_keys_ = self._needed_keys()
        ids = self._id_columns(X)
        self.n_features_in_ = np.shape(X)[1]
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        features = self._read(ids)
        self.widths_ = {name: _width(values) for name, values in features.items()}
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Look the ids up.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_ids)

        Returns
        -------
        ndarray of shape (n, sum of `widths_`)
            float32.

        Raises
        ------
        ValueError
            For a missing column, an unknown id under ``missing="error"``, or a feature
            that is not numeric or whose length has changed since `fit`.
        """
        check_is_fitted(self)
        features = self._read(self._id_columns(X))
        blocks = [
            _block(name, features[name], width, self.missing)
            for name, width in self.widths_.items()
        ]
        return np.concatenate(blocks, axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Output columns: the feature's name, numbered for lists.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        names: list[str] = []
        for name, width in self.widths_.items():
            names += [name] if width == 1 else [f"{name}__{i}" for i in range(width)]
        return np.array(names, dtype=object)

    def _features(self, store: FeatureStore) -> FeatureService | list[str]:
        if isinstance(self.service, str):
            return store.get_feature_service(self.service)
        return list(self.service)

    def _needed_keys(self) -> list[str]:
        store = open_store(self.repo_path)
        features = self._features(store)
        names = (
            [reference.split(":")[0] for reference in features]
            if isinstance(features, list)
            else [projection.name for projection in features.feature_view_projections]
        )
        views = [store.get_feature_view(name) for name in dict.fromkeys(names)]
        return list(dict.fromkeys(key for view in views for key in view.join_keys))

    def _id_columns(self, X: Any) -> dict[str, list[Any]]:
        if isinstance(X, pd.DataFrame):
            absent = [key for key in self.join_keys_ if key not in X]
            if absent:
                raise ValueError(f"X lacks the column {absent[0]!r}")
            return {key: X[key].tolist() for key in self.join_keys_}
        columns = np.asarray(X).T
        if columns.ndim != 2 or len(columns) != len(self.join_keys_):
            raise ValueError(
                f"X must have the columns {self.join_keys_}, got shape {np.shape(X)}"
            )
        return {k: c.tolist() for k, c in zip(self.join_keys_, columns, strict=True)}

    def _read(self, ids: dict[str, list[Any]]) -> dict[str, list[Value]]:
        store = open_store(self.repo_path)
        features = self._features(store)
        response = store.get_online_features(features=features, entity_rows=ids).proto
        names = response.metadata.feature_names.val
        return {
            name: list(column.values)
            for name, column in zip(names, response.results, strict=True)
            if name not in ids
        }


def _width(values: list[Value]) -> int:
    """Columns of a feature: the length of the first list, 1 for a number."""
    known = (unpack(value.SerializeToString()) for value in values)
    first = next((value for value in known if value is not None), None)
    return len(first) if isinstance(first, list) else 1


def _block(name: str, values: list[Value], width: int, missing: str) -> np.ndarray:
    block = np.full((len(values), width), np.nan, dtype=np.float32)
    for row, value in enumerate(values):
        content = unpack(value.SerializeToString())
        if content is not None:
            block[row] = _numbers(name, row, content, width)
        elif missing == "error":
            raise ValueError(f"the store has no {name} for row {row}")
    return block


def _numbers(name: str, row: int, content: Any, width: int) -> Any:
    numbers = np.asarray(content)
    if numbers.dtype.kind not in "fiub":
        raise ValueError(f"{name} is not numeric in row {row}: {content!r:.100}")
    if numbers.size != width:
        raise ValueError(f"{name} has {numbers.size} numbers in row {row}, not {width}")
    return numbers
