"""Feast features as columns of a scikit-learn matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self
from uuid import uuid4

import numpy as np
import pandas as pd
from feast import FeatureService, FeatureStore
from feast.protos.feast.types.Value_pb2 import Value
from numpy.typing import ArrayLike
from pyarrow import ArrowException
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import BaseEstimator, TransformerMixin
from skmmrec.feature_store.backends.base import (
    Id,
    LostRowsError,
    unpack,
    unpack_vectors,
)
from skmmrec.interactions import as_frame

from ._asked import asked_for, refuse_hidden_keys
from ._engines import check_zone, spill_aside
from ._ids import refuse_missing, store_ids
from ._repo import offline_type, open_store
from ._times import moments
from ._types import Repo

_TIME, _ROW = "event_timestamp", "__row"


class FeastFeatures(TransformerMixin, BaseEstimator):
    """Replace ids by features of a Feast feature service.

    Parameters
    ----------
    repo : str, path or feast.FeatureStore
        Folder of the repository.
    service : str or list of str, default="embeddings"
        Name of a feature service, or references such as
        ``["item_embeddings:item_vector"]``. Any service will do whose features are
        numbers or lists of numbers.
    timestamp : str, optional
        Column of `X` with the time of each row. Features are then read from the
        offline store as they were at that time, as training needs; without it, as they
        are now, from the online store.
    missing : {"nan", "error"}, default="nan"
        What to do for an id that is missing (NaN, None) or that the store does not
        know: NaN in its columns, or an error that names the row.

    Attributes
    ----------
    join_keys_ : list of str
        Columns of ids that the service needs.
    id_types_ : dict of str to str
        The type that the store has for each of them, in Feast's words.
    request_columns_ : list of str
        Columns that on-demand views compute with and that no store has, such as the
        hour: the fields of their ``RequestSource``.
    widths_ : dict of str to int
        Feature name to its number of output columns.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only when `X` has string column names.

    Notes
    -----
    `X` is a DataFrame with at least the columns in ``join_keys_`` and
    ``request_columns_``, or an array with exactly these columns, in this order. A list
    feature gives one column a number. Where a service gives a view other join keys
    (``with_join_key_map``), these are the columns.

    Floats that are whole count as integers, as pandas makes such of integers where one
    is missing.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "repo": [str, Path, FeatureStore],
        "service": [str, list],
        "timestamp": [str, None],
        "missing": [StrOptions({"nan", "error"})],
    }

    def __init__(
        self,
        repo: Repo,
        service: str | list[str] = "embeddings",
        *,
        timestamp: str | None = None,
        missing: str = "nan",
    ) -> None:
        self.repo = repo
        self.service = service
        self.timestamp = timestamp
        self.missing = missing

    def fit(self, X: pd.DataFrame | ArrayLike, y: object = None) -> Self:
        """Learn which ids are needed and which columns come out.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_ids)
            The ids and, where `timestamp` names one, the column of times.
        y : None
            Ignored.

        Returns
        -------
        self
        """
        self._validate_params()
        store = open_store(self.repo)
        asked = asked_for(store, self._features(store))
        self.id_types_, self.request_columns_ = asked.keys, asked.given
        self.join_keys_ = list(self.id_types_)
        X = _as_pandas(X)
        self.n_features_in_ = np.shape(X)[1]
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        features = self._read(X)
        # Of the past Feast also returns what on-demand views have computed with.
        self.widths_ = {
            name: _width(values)
            for name, values in features.items()
            if name in asked.names
        }
        return self

    def transform(self, X: pd.DataFrame | ArrayLike) -> np.ndarray:
        """Look the ids up.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n, n_ids)
            As in `fit`.

        Returns
        -------
        ndarray of shape (n, sum of `widths_`)
            float32.

        Raises
        ------
        ValueError
            For a missing column; an id that is not whole, infinite or of another type
            than the store's; one that is missing or unknown under ``missing="error"``;
            a time that is missing, no time or a number of seconds; or a feature that is
            not numeric or whose length has changed since `fit`.
        LostRowsError
            When the offline store does not return every row, each once.
        """
        check_is_fitted(self)
        features = self._read(X)
        blocks = [
            _block(name, features[name], width, self.missing)
            for name, width in self.widths_.items()
        ]
        return np.concatenate(blocks, axis=1)

    def online(self) -> Self:
        """Copy this transformer, fitted or not, to read what is so now.

        Returns
        -------
        FeastFeatures
            Without a `timestamp`: it reads the online store, as serving needs. Columns
            of `X` besides ``join_keys_`` and ``request_columns_`` are not looked at.
        """
        twin = copy(self)
        twin.timestamp = None
        return twin

    def __sklearn_tags__(self) -> Tags:
        """Declare that X is a table of ids and not a matrix of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
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

    def _columns(self, X: pd.DataFrame | ArrayLike) -> dict[str, Any]:
        """Columns of `X` that are needed, as they are."""
        needed = [*self.join_keys_, *self.request_columns_]
        if isinstance(X, pd.DataFrame):
            absent = [name for name in needed if name not in X]
            if absent:
                raise ValueError(f"X lacks the column {absent[0]!r}")
            return {name: X[name] for name in needed}
        # NumPy would make texts of numbers and of missing values among texts.
        columns = np.asarray(X, dtype=getattr(X, "dtype", object)).T
        if columns.ndim != 2 or len(columns) != len(needed):
            raise ValueError(
                f"X must have the columns {needed}, got shape {np.shape(X)}"
            )
        return dict(zip(needed, columns, strict=True))

    def _rows(self, X: pd.DataFrame | ArrayLike) -> dict[str, list[Any]]:
        """Ids as the store has them, and what on-demand views are given.

        A missing id is one that nobody has.
        """
        columns = self._columns(X)
        ids = {key: self._column_of_ids(key, columns[key]) for key in self.join_keys_}
        return ids | {name: _as_list(columns[name]) for name in self.request_columns_}

    def _column_of_ids(self, key: str, column: Any) -> list[Id]:
        kind = self.id_types_[key]
        ids = _read_ids(column, kind, key)
        if self.missing == "error" or kind not in ("int64", "string"):
            return refuse_missing(ids, key)
        return _or_nobody(ids, kind)

    def _read(self, X: pd.DataFrame | ArrayLike) -> dict[str, list[Any]]:
        """Read one list of numbers, lists and None a feature."""
        X = _as_pandas(X)
        rows, store = self._rows(X), open_store(self.repo)
        features = self._features(store)
        if self.timestamp is None:
            refuse_hidden_keys(features, rows)
            with _asking(rows):
                return _online(store, features, rows)
        if not isinstance(X, pd.DataFrame) or self.timestamp not in X:
            raise ValueError(f"X lacks the column {self.timestamp!r}")
        times = moments(X[self.timestamp], self.timestamp)
        with _asking(rows):
            return _historical(store, features, rows, times)


def _as_pandas(X: pd.DataFrame | ArrayLike) -> pd.DataFrame | ArrayLike:
    """Turn a table of another library, such as polars, into one of pandas."""
    table = as_frame(X)
    return X if table is None else table


def _read_ids(column: Any, kind: str, key: str) -> list[Id | None]:
    """Check a column of ids; types that are neither numbers nor texts are Feast's."""
    if kind in ("int32", "int64", "string"):
        return store_ids(column, kind.replace("32", "64"), key)
    return _as_list(column)


def _as_list(column: Any) -> list[Any]:
    """Return values as Python has them, None for those that are missing."""
    values = pd.Series(column)
    return values.astype(object).where(values.notna(), None).tolist()


def _or_nobody(ids: list[Id | None], kind: str) -> list[Id]:
    """Put an id that no row of a store has in the place of those that are missing.

    It is drawn anew each time, from 2 to the power of 62 numbers or from more texts.
    """
    nobody: Id = uuid4().hex if kind == "string" else -(uuid4().int >> 66)
    return [nobody if value is None else value for value in ids]


@contextmanager
def _asking(rows: Mapping[str, object]) -> Iterator[None]:
    """Say which columns Feast was asked about when it fails on what is in them."""
    try:
        yield
    except (TypeError, ValueError, OverflowError, ArrowException) as error:
        raise ValueError(
            f"Feast cannot look up the ids of the columns {list(rows)}: {error}"
        ) from error


def _online(
    store: FeatureStore,
    features: FeatureService | list[str],
    rows: dict[str, list[Any]],
) -> dict[str, list[Any]]:
    response = store.get_online_features(features=features, entity_rows=rows).proto
    names = response.metadata.feature_names.val
    return {
        name: _contents(column.values)
        for name, column in zip(names, response.results, strict=True)
        if name not in rows
    }


def _contents(values: Sequence[Value]) -> list[Any]:
    """Decode messages; vectors by their bytes, which is much faster than by number."""
    present = [value for value in values if value.WhichOneof("val")]
    if not all(value.HasField("float_list_val") for value in present):
        return [unpack(value.SerializeToString()) for value in values]
    rows = iter(unpack_vectors([value.SerializeToString() for value in present]))
    return [next(rows) if value.WhichOneof("val") else None for value in values]


def _historical(
    store: FeatureStore,
    features: FeatureService | list[str],
    columns: dict[str, list[Any]],
    when: pd.DatetimeIndex,
) -> dict[str, list[Any]]:
    """Read features as they were, of each distinct row once.

    Feast keeps neither the order of rows nor, with some offline stores, all of them;
    some give one of two equal rows back.
    """
    rows = pd.DataFrame({**columns, _TIME: when})
    same = rows.groupby(list(rows), sort=False, dropna=False)
    places = same.ngroup().to_numpy()
    distinct = rows.drop_duplicates(ignore_index=True)
    asked = distinct.assign(**{_ROW: np.arange(len(distinct))})
    spill_aside(store.config)
    job = store.get_historical_features(entity_df=asked, features=features)
    check_zone(job)
    found = job.to_df().sort_values(_ROW)
    if found[_ROW].tolist() != asked[_ROW].tolist():
        raise LostRowsError(
            f"the offline store {offline_type(store)!r} returned {len(found)} rows for "
            f"{len(asked)} distinct ones; 'duckdb' returns them all, each once"
        )
    names = [name for name in found if name not in asked]
    values = {name: [_known(value) for value in found[name]] for name in names}
    return {name: [own[i] for i in places] for name, own in values.items()}


def _known(value: Any) -> Any:
    """Return None for what is missing; of a list, Ray gives an empty one."""
    if isinstance(value, np.ndarray | list):
        return value if len(value) else None
    return None if pd.isna(value) else value


def _width(values: list[Any]) -> int:
    """Count a feature's columns: the length of the first list, 1 for a number."""
    first = next((value for value in values if value is not None), None)
    return 1 if first is None or np.ndim(first) == 0 else len(first)


def _block(name: str, values: list[Any], width: int, missing: str) -> np.ndarray:
    block = np.full((len(values), width), np.nan, dtype=np.float32)
    for row, content in enumerate(values):
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
