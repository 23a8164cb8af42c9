"""Between a table and scikit-learn's own transformers: dates, gaps and targets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    TargetEncoder,
)
from sklearn.utils import get_tags

from skmmrec._sklearn import BaseEstimator, TransformerMixin, clone
from skmmrec.catalog._floats import as_floats, is_numeric

WORDS = "sklearn.feature_extraction."


def parts_of(transformer: Any) -> list[Any]:
    """Return the transformers that one is made of; none, if it stands alone."""
    if isinstance(transformer, Pipeline):
        return [step for _, step in transformer.steps]
    if isinstance(transformer, FeatureUnion):
        return [part for _, part in transformer.transformer_list]
    if isinstance(transformer, ColumnTransformer):
        return [part for _, part, _ in transformer.transformers]
    if isinstance(transformer, FrozenEstimator):
        return [transformer.estimator]
    if isinstance(transformer, ColumnReader):
        return [transformer.transformer]
    return []


def steps_of(transformer: Any) -> list[Any]:
    """Return all that stand alone in a transformer; ``"passthrough"`` is one."""
    parts = parts_of(transformer)
    if not parts:
        return [transformer]
    return [step for part in parts for step in steps_of(part)]


def is_encoder(transformer: Any) -> bool:
    """Tell whether a transformer gives vectors and says itself what is missing."""
    marks = ("missing_mask", "embedding_dim_")
    return any(hasattr(step, m) for step in steps_of(transformer) for m in marks)


def wanting_target(transformer: Any) -> Any | None:
    """Return the part of a transformer whose `fit` needs a target, if there is one."""
    if isinstance(transformer, FrozenEstimator):
        return None
    parts = parts_of(transformer)
    if parts:
        return next((p for p in map(wanting_target, parts) if p is not None), None)
    if not hasattr(transformer, "__sklearn_tags__"):
        return None
    return transformer if get_tags(transformer).target_tags.required else None


def is_readable(transformer: Any) -> bool:
    """Tell whether a transformer is scikit-learn's own, and no function of a user's."""
    return all(
        step in ("passthrough", "drop")
        or (
            type(step).__module__.startswith("sklearn.")
            and (not isinstance(step, FunctionTransformer) or step.func is None)
        )
        for step in steps_of(transformer)
    )


def gives_numbers(transformer: Any, columns: pd.DataFrame, n_outputs: int) -> bool:
    """Tell whether a transformer's output is numbers, whose size counts, or vectors.

    `ItemCatalog` documents the rule.
    """
    steps = steps_of(transformer)
    if is_encoder(transformer):
        return False
    for step in steps:
        if type(step).__module__.startswith(WORDS):
            return False
        if isinstance(step, OneHotEncoder):
            return step.drop is not None
    if any(isinstance(step, OrdinalEncoder | TargetEncoder) for step in steps):
        return True
    if all(is_numeric(column) for _, column in columns.items()):
        return not _is_one_vector(list(columns.columns))
    return n_outputs <= len(columns.columns)


def _is_one_vector(names: list[Any]) -> bool:
    """Tell whether columns are numbered from 0, as the parts of a vector are."""
    parts = [re.fullmatch(r"(.*?)(\d+)", str(name)) for name in names]
    found = [(part[1], int(part[2])) for part in parts if part]
    return len(names) > 1 and (
        len({stem for stem, _ in found}) == 1
        and sorted(number for _, number in found) == list(range(len(names)))
    )


class ColumnReader(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    """Give scikit-learn's own transformers what they can read.

    Dates become years, durations days, and nullable types numbers with NaN. Rows in
    which all columns are missing are neither learned from nor transformed: they come
    out as NaN, or as zeros among vectors, unless the transformer is there to fill gaps.

    Parameters
    ----------
    transformer : transformer or "passthrough"
        One of scikit-learn's.
    ignored : str or None, default=None
        A column that is left out.
    """

    def __init__(self, transformer: Any, ignored: str | None = None) -> None:
        self.transformer = transformer
        self.ignored = ignored

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from the rows that are there."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> NDArray:
        """Learn from the rows that are there, and transform them."""
        table = self._table(X)
        self.numeric_ = [c for c in table.columns if is_numeric(table[c])]
        rows = self._rows(table)
        self.transformer_: Any = _copy(self.transformer) if rows.any() else None
        part = np.empty((0, len(table.columns)))
        if self.transformer_ is not None:
            target = None if y is None else np.asarray(y)[rows]
            read = self._read(table, rows, X)
            with _naming_columns(table):
                part = dense(_fit_transform(self.transformer_, read, target))
                check_rows(part, len(read), table.columns[0])
        self.n_outputs_ = part.shape[1]
        self.is_number_ = gives_numbers(self.transformer, table, self.n_outputs_)
        return self._fill(part, rows)

    def transform(self, X: Any) -> NDArray:
        """Transform the rows that are there; all are missing if there were none."""
        table = self._table(X)
        rows = self._rows(table) & (self.transformer_ is not None)
        part = np.empty((0, self.n_outputs_))
        if rows.any():
            read = self._read(table, rows, X)
            with _naming_columns(table):
                part = dense(self.transformer_.transform(read))
                check_rows(part, len(read), table.columns[0])
        return self._fill(part, rows)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray:
        """Name the output like the transformer does."""
        names = np.asarray(input_features, dtype=object)
        names = names[names != self.ignored]
        if not hasattr(self.transformer_, "get_feature_names_out"):
            return np.array([str(n) for n in range(self.n_outputs_)], dtype=object)
        return np.asarray(self.transformer_.get_feature_names_out(names), dtype=object)

    @property
    def fills_gaps(self) -> bool:
        """Whether the transformer makes something of missing values by intention."""
        return any(
            type(step).__module__.startswith("sklearn.impute")
            for step in steps_of(self.transformer)
        )

    def _table(self, X: Any) -> pd.DataFrame:
        table = X.to_frame() if isinstance(X, pd.Series) else X
        return table[[name for name in table.columns if name != self.ignored]]

    def _rows(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        if self.fills_gaps and len(table.columns):
            return np.ones(len(table), bool)
        return table.notna().any(axis=1).to_numpy()

    def _read(self, table: pd.DataFrame, rows: NDArray[np.bool_], X: Any) -> Any:
        read = pd.DataFrame(
            {name: self._column(table[name], name) for name in table.columns},
            index=table.index,
        )[rows]
        return read[X.name] if isinstance(X, pd.Series) else read

    def _column(self, column: pd.Series, name: Any) -> Any:
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            return column
        if name in self.numeric_:
            return as_floats(column, name)
        return column.astype(object).where(column.notna(), np.nan)

    def _fill(self, part: NDArray, rows: NDArray[np.bool_]) -> NDArray:
        if rows.all():
            return part
        gap = np.nan if self.is_number_ else 0.0
        filled = np.full((len(rows), self.n_outputs_), gap, np.result_type(part, float))
        filled[rows] = part
        return filled


@contextmanager
def _naming_columns(table: pd.DataFrame) -> Iterator[None]:
    """Name the column, and the row if it is known, that a transformer refuses."""
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        if re.search("string to float|ufunc|real number", str(error)):
            for name in table.columns:
                as_floats(table[name], name)
        if re.search("attribute 'lower'|string or bytes", str(error)):
            for name in table.columns:
                _refuse_no_texts(table[name], name)
        if isinstance(error, AttributeError):
            raise
        columns = ", ".join(repr(name) for name in table.columns)
        raise ValueError(f"content column {columns}: {error}") from error


def _refuse_no_texts(column: pd.Series, name: Any) -> None:
    for row, value in enumerate(column):
        if not (isinstance(value, str) or np.all(pd.isna(value))):
            raise ValueError(
                f"content column {name!r} is no text in row {row}: {value!r:.100}. "
                f"Make texts of it by items[{name!r}].map(str, na_action='ignore')"
            )


def check_rows(matrix: NDArray, n_rows: int, column: Any = "title") -> None:
    """Refuse what a transformer gives if it is not a row for each row.

    It is a row for each column where vectorizers, which read texts, got a table.
    """
    if len(matrix) != n_rows:
        raise ValueError(
            f"the encoder gives {len(matrix)} rows for {n_rows}. A transformer of "
            f"texts is given one column, by its name and not in a list, as in "
            f"make_column_transformer((TfidfVectorizer(), {column!r}))"
        )


def _fit_transform(transformer: Any, table: Any, target: Any) -> Any:
    """Learn and transform; what learns from a target must not see it twice.

    `TargetEncoder.fit_transform` makes other vectors of the same content, each from the
    targets of other rows, so that content of the catalogue and of a query would differ.
    """
    is_plain = wanting_target(transformer) is None
    if not is_plain or not hasattr(transformer, "fit_transform"):
        return transformer.fit(table, target).transform(table)
    return transformer.fit_transform(table, target)


def _copy(transformer: Any) -> Any:
    if isinstance(transformer, str):
        return FunctionTransformer(feature_names_out="one-to-one")
    return clone(transformer)


def dense(matrix: Any) -> NDArray:
    """Turn the output of a transformer, which may be sparse, into an array."""
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)
