"""Content as one matrix per modality and a mask of what is present."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skmmrec.interactions import OtherColumns

ColumnGroups = dict[str, NDArray[np.intp]]


@dataclass(frozen=True)
class Blocks:
    """Vectors of n items, modality by modality.

    Attributes
    ----------
    values : dict of str to ndarray of shape (n, d_m), float32
        One block per modality; zero where the modality is missing.
    mask : ndarray of shape (n, m), bool
        True where the modality is present; columns in the order of `values`.
    """

    values: dict[str, NDArray[np.float32]]
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.mask)

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities, in order."""
        return list(self.values)

    @property
    def widths(self) -> dict[str, int]:
        """Width of each modality's block."""
        return {name: block.shape[1] for name, block in self.values.items()}

    def take(self, rows: NDArray | slice) -> Blocks:
        """Select items by position or by boolean mask."""
        return Blocks({k: v[rows] for k, v in self.values.items()}, self.mask[rows])

    def append(self, other: Blocks) -> Blocks:
        """Put the items of another, of the same modalities, after these."""
        values = {
            name: np.concatenate([block, other.values[name]])
            for name, block in self.values.items()
        }
        return Blocks(values, np.concatenate([self.mask, other.mask]))

    @classmethod
    def without_content(cls, n_items: int) -> Blocks:
        """Items of which no modality is known."""
        return cls({}, np.empty((n_items, 0), bool))

    @classmethod
    def from_matrix(cls, matrix: ArrayLike, groups: Mapping[str, Any]) -> Blocks:
        """Split a matrix into blocks; rows of zeros or NaN are missing.

        Parameters
        ----------
        matrix : array-like of shape (n, d)
            Numbers.
        groups : mapping of str to index
            The columns of each modality.

        Returns
        -------
        Blocks

        Raises
        ------
        ValueError
            Where a row has an infinite value, or is NaN in some columns of a modality
            and not in others.
        """
        matrix = np.asarray(matrix, dtype=np.float32)
        values, masks = {}, []
        for name, columns in groups.items():
            block = np.array(matrix[:, columns], order="C")
            present = _present(block, name)
            block[~present] = 0.0
            values[name] = block
            masks.append(present)
        mask = np.column_stack(masks) if masks else np.empty((len(matrix), 0), bool)
        return cls(values, mask)


def _present(block: NDArray[np.float32], name: str) -> NDArray[np.bool_]:
    finite = np.isfinite(block)
    missing = np.isnan(block).all(axis=1) | ~block.any(axis=1)
    bad = np.flatnonzero(~finite.all(axis=1) & ~missing)
    if len(bad):
        what = "infinity" if np.isinf(block[bad[0]]).any() else "NaN"
        raise ValueError(
            f"Input contains {what}: modality {name!r} of row {bad[0]} is neither a "
            f"finite vector nor wholly missing ({len(bad)} such rows)."
        )
    return np.logical_not(missing)


def group_columns(
    names: Sequence[str] | None, n_columns: int, modalities: Mapping[str, Any] | None
) -> ColumnGroups:
    """Assign columns to modalities.

    Parameters
    ----------
    names : sequence of str or None
        Column names; what stands before ``__`` names the modality.
    n_columns : int
        Number of columns.
    modalities : mapping of str to slice, positions or column names, or None
        Given assignment; overrides the prefixes.

    Returns
    -------
    dict of str to ndarray of int
        Positions of each modality's columns. Without `modalities` and without any
        prefix, all columns form one modality, ``"content"``.
    """
    if modalities is not None:
        return {
            str(name): _positions(name, columns, names, n_columns)
            for name, columns in modalities.items()
        }
    groups: dict[str, list[int]] = {}
    for position in range(n_columns):
        prefix, separator, _ = ("" if names is None else names[position]).partition(
            "__"
        )
        name = modality_name(prefix) if separator else "content"
        groups.setdefault(name, []).append(position)
    return {name: np.asarray(columns) for name, columns in groups.items()}


def modality_name(prefix: str) -> str:
    """Shorten the name that `make_column_transformer` gives.

    Examples
    --------
    >>> from skmmrec.catalog._blocks import modality_name
    >>> modality_name("textencoder"), modality_name("imageencoder-2")
    ('text', 'image-2')
    """
    return re.sub(r"(?<=.)encoder(-\d+)?$", r"\1", prefix)


def _positions(
    name: str, columns: Any, names: Sequence[str] | None, n_columns: int
) -> NDArray[np.intp]:
    if isinstance(columns, slice):
        found = np.arange(n_columns)[columns]
    else:
        found = np.asarray([_position(name, c, names, n_columns) for c in columns])
    if len(found) == 0:
        raise ValueError(f"modalities[{name!r}] selects no column")
    return found


def _position(
    name: str, column: Any, names: Sequence[str] | None, n_columns: int
) -> int:
    if isinstance(column, str):
        if names is None or column not in names:
            raise ValueError(
                f"modalities[{name!r}] names an unknown column: {column!r}"
            )
        return list(names).index(column)
    if not -n_columns <= column < n_columns:
        raise ValueError(
            f"modalities[{name!r}] selects column {column}, but there are {n_columns}"
        )
    return int(column) % n_columns


def read_blocks(
    table: Any,
    names: Sequence[str] | None,
    modalities: Mapping[str, Any] | None,
    labels: Sequence[Any] | None = None,
) -> tuple[ColumnGroups, Blocks]:
    """Read the ready vectors in a DataFrame or array.

    Parameters
    ----------
    table : DataFrame or ndarray of shape (n, d)
        Numbers, at least in the columns that belong to a modality.
    names : sequence of str or None
        Column names.
    modalities : mapping or None
        As in `group_columns`.
    labels : sequence or None
        What errors call the columns, where not by `names` or position.

    Returns
    -------
    groups, blocks : tuple of dict and Blocks

    Raises
    ------
    ValueError
        Where a value is not a number; names column and row.
    """
    groups = group_columns(names, table.shape[1], modalities)
    chosen = np.unique(np.concatenate([*groups.values(), []])).astype(int)
    numbers = _as_numbers(table, labels or names, chosen)
    local = {name: np.searchsorted(chosen, columns) for name, columns in groups.items()}
    return groups, Blocks.from_matrix(numbers, local)


def read_columns(others: OtherColumns, modalities: Mapping[str, Any] | None) -> Blocks:
    """Read the content that a flat table brings along.

    Parameters
    ----------
    others : OtherColumns
        What is neither an id nor a time.
    modalities : mapping or None
        Columns of the whole table that form each modality; None: those left over, as in
        `group_columns`.
    """
    if modalities is not None:
        return read_blocks(others.table, others.names, modalities)[1]
    by_position = others.table
    if isinstance(by_position, pd.DataFrame):
        by_position = by_position.iloc
    rest = by_position[:, others.positions]
    names = None if others.names is None else [str(label) for label in others.labels]
    return read_blocks(rest, names, None, labels=others.labels)[1]


def _as_numbers(
    table: Any, names: Sequence[Any] | None, columns: NDArray[np.intp]
) -> NDArray[np.float32]:
    by_position = table.iloc if isinstance(table, pd.DataFrame) else table
    try:
        return np.asarray(by_position[:, columns], dtype=np.float32)
    except (TypeError, ValueError):
        for c in columns:
            _check_numbers(by_position[:, c], int(c) if names is None else names[c])
        raise


def _check_numbers(column: Any, name: Any) -> None:
    for row, value in enumerate(column):
        try:
            float(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"content column {name!r} is not numeric in row {row}: {value!r}. "
                "Encode raw content first, for example by a ColumnTransformer."
            ) from error
