"""Content as one matrix per modality and a mask of what is present."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skmmrec.catalog._floats import as_floats
from skmmrec.catalog._stored import StoredMatrix
from skmmrec.interactions import OtherColumns

ColumnGroups = dict[str, NDArray[np.intp]]


@dataclass(frozen=True)
class Blocks:
    """Vectors of n items, modality by modality.

    Attributes
    ----------
    values : dict of str to ndarray of shape (n, d_m), float32
        One block per modality; zero where the modality is missing. Those of `numbers`
        are float64. What `ItemCatalog.from_parquet` read stays on disk: an index into
        such a block reads the rows that it asks for.
    mask : ndarray of shape (n, m), bool
        True where the modality is present; columns in the order of `values`.
    numbers : frozenset of str
        Modalities that are numbers, whose size counts, and not vectors, whose direction
        counts.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.catalog import Blocks
    >>> matrix = [[0.6, 0.8, 3.0], [0.0, 1.0, np.nan]]
    >>> groups = {"text": [0, 1], "price": [2]}
    >>> Blocks.from_matrix(matrix, groups, numbers=["price"])
    Blocks(2 items, widths={'text': 2, 'price': 1}, present={'text': 2, 'price': 1})
    """

    values: dict[str, NDArray]
    mask: NDArray[np.bool_]
    numbers: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.mask)

    def __repr__(self) -> str:
        present = dict(zip(self.values, self.mask.sum(axis=0).tolist(), strict=True))
        return f"Blocks({len(self)} items, widths={self.widths}, present={present})"

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
        values = {name: block[rows] for name, block in self.values.items()}
        return replace(self, values=values, mask=self.mask[rows])

    def view(self, rows: NDArray) -> Blocks:
        """Select items as `take` does; what is on disk is not read."""
        values = {
            name: block.view(rows) if isinstance(block, StoredMatrix) else block[rows]
            for name, block in self.values.items()
        }
        return replace(self, values=values, mask=self.mask[rows])

    def select(self, modalities: Sequence[str]) -> Blocks:
        """Take some modalities, in the order in which they are given.

        Raises
        ------
        ValueError
            For none, one that is not there, or one that is named twice.
        """
        names = list(modalities)
        unknown = [name for name in names if name not in self.values]
        if unknown or not names or len(set(names)) < len(names):
            raise ValueError(
                f"modalities must be some of {self.modalities}, each once; got {names}"
            )
        columns = [self.modalities.index(name) for name in names]
        values = {name: self.values[name] for name in names}
        return Blocks(values, self.mask[:, columns], self.numbers & set(names))

    def in_memory(self) -> Blocks:
        """Read what is on disk."""
        values = {name: np.asarray(block) for name, block in self.values.items()}
        return replace(self, values=values)

    def append(self, other: Blocks) -> Blocks:
        """Put the items of another, of the same modalities, after these."""
        values = {
            name: _appended(block, other.values[name])
            for name, block in self.values.items()
        }
        mask = np.concatenate([self.mask, other.mask])
        return replace(self, values=values, mask=mask)

    def missing(self, n_items: int) -> Blocks:
        """Items with the same modalities, all of which are missing."""
        values = {
            name: np.zeros((n_items, width), self.values[name].dtype)
            for name, width in self.widths.items()
        }
        return replace(self, values=values, mask=np.zeros((n_items, len(values)), bool))

    @classmethod
    def without_content(cls, n_items: int) -> Blocks:
        """Items of which no modality is known."""
        return cls({}, np.empty((n_items, 0), bool))

    @classmethod
    def from_matrix(
        cls,
        matrix: ArrayLike,
        groups: Mapping[str, Any],
        numbers: Collection[str] = (),
        first_row: int = 0,
    ) -> Blocks:
        """Split a matrix into blocks; rows of NaN are missing, and zeros of vectors.

        Parameters
        ----------
        matrix : array-like of shape (n, d)
            Numbers.
        groups : mapping of str to index
            The columns of each modality.
        numbers : collection of str, default=()
            The modalities whose size counts: a 0 of theirs is a number like others.
        first_row : int, default=0
            What errors call the first row.

        Returns
        -------
        Blocks

        Raises
        ------
        ValueError
            Where a row has an infinite value, is NaN in some columns of a modality and
            not in others, or is a vector that float32 cannot hold.
        """
        matrix = np.asarray(matrix)
        values, masks = {}, []
        for name, columns in groups.items():
            is_number = name in numbers
            dtype = np.float64 if is_number else np.float32
            given = matrix[:, as_slice(columns)]
            with np.errstate(over="ignore"):  # what is too large is refused by name
                block = np.array(given, dtype=dtype, order="C")
            largest = _largest(block)
            present = _present(block, largest, name, is_number, first_row)
            if not is_number and matrix.dtype.itemsize > block.dtype.itemsize:
                _refuse_tiny(given, largest, name, first_row)
            block[~present] = 0.0
            values[name] = block
            masks.append(present)
        mask = np.column_stack(masks) if masks else np.empty((len(matrix), 0), bool)
        return cls(values, mask, frozenset(groups) & frozenset(numbers))


def as_slice(columns: Any) -> Any:
    """Return a slice for positions that follow one another: it takes no copy of them.

    Everything else, such as a slice or a mask, is returned as it is.
    """
    positions = np.asarray(columns)
    if positions.dtype.kind not in "iu" or not len(positions) or positions[0] < 0:
        return columns
    follow = (np.diff(positions) == 1).all()
    return slice(int(positions[0]), int(positions[-1]) + 1) if follow else columns


def _appended(block: Any, more: NDArray) -> Any:
    if isinstance(block, StoredMatrix):
        return block.append(more)
    return np.concatenate([block, more])


# Rows that are looked at together: few enough that a cache holds what comes of them.
_AT_ONCE = 2048
# Beyond this a number is infinite to all that computes in float32.
LARGEST = float(np.finfo(np.float32).max)


def _largest(block: NDArray) -> NDArray[np.floating]:
    """Return the largest size of a number in each row; NaN where any is missing."""
    largest = np.empty(len(block), block.dtype)
    for start in range(0, len(block), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        np.abs(block[rows]).max(axis=1, initial=0.0, out=largest[rows])
    return largest


def _present(
    block: NDArray, largest: NDArray, name: str, is_number: bool, first_row: int
) -> NDArray[np.bool_]:
    missing = np.isnan(largest)
    missing[missing] = np.isnan(block[missing]).all(axis=1)
    if not is_number:
        missing |= largest == 0
    bad = np.flatnonzero(~(largest <= LARGEST) & ~missing)
    if len(bad):
        row = block[bad[0]]
        what = "infinity" if (np.abs(row) > LARGEST).any() else "NaN"
        raise ValueError(
            f"Input contains {what}: modality {name!r} of row {first_row + bad[0]} is "
            f"neither a finite vector nor wholly missing ({len(bad)} such rows)."
            f"{_HINT if np.isnan(row).any() else _LARGE}"
        )
    return np.logical_not(missing)


def _refuse_tiny(given: NDArray, largest: NDArray, name: str, first_row: int) -> None:
    """Refuse vectors of which little or nothing is left in float32."""
    rows = np.flatnonzero(largest < _LEAST)
    rows = rows[given[rows].any(axis=1)] if len(rows) else rows
    if len(rows):
        raise ValueError(
            f"modality {name!r} of row {first_row + rows[0]} is a vector of numbers "
            f"below {_LEAST:.2g}, which float32 cannot hold ({len(rows)} such rows): "
            "multiply the whole modality by one number"
        )


# Below this a number in float32 has ever fewer digits, and then none.
_LEAST = float(np.finfo(np.float32).tiny)
_LARGE = f" Numbers beyond {LARGEST:.2g} count as infinite."
_HINT = (
    " Where each number may be missing alone, give it a transformer, or a column "
    "<modality>__<name>, of its own; a SimpleImputer fills gaps."
)


def group_columns(
    names: Sequence[str] | None, n_columns: int, modalities: Mapping[str, Any] | None
) -> ColumnGroups:
    """Assign columns to modalities.

    What stands before ``__`` in a name is its modality, unless `modalities` says
    otherwise: by slices, positions or names. Returns positions of each modality's
    columns. Without `modalities` and without any prefix, all columns form one modality,
    ``"content"``.
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
) -> Blocks:
    """Read the ready vectors in a DataFrame or array.

    `table`, of shape (n, d), has numbers at least in the columns that belong to a
    modality; `modalities` is as in `group_columns`. `labels` are what errors call the
    columns, where not by `names` or position. A ValueError names column and row of a
    value that is no number.
    """
    groups = group_columns(names, table.shape[1], modalities)
    numbers = single_columns(groups)
    return to_blocks(table, groups, numbers, labels or names)


def single_columns(groups: ColumnGroups) -> set[str]:
    """Modalities of one column: without an encoder that tells, these are numbers."""
    return {name for name, columns in groups.items() if len(columns) == 1}


def to_blocks(
    table: Any,
    groups: ColumnGroups,
    numbers: Collection[str],
    labels: Sequence[Any] | None,
    first_row: int = 0,
) -> Blocks:
    """Split a table or array into blocks; what belongs to none need not be numeric."""
    chosen = np.unique(np.concatenate([*groups.values(), []])).astype(int)
    matrix = _as_matrix(table, labels, chosen)
    local = {name: np.searchsorted(chosen, columns) for name, columns in groups.items()}
    return Blocks.from_matrix(matrix, local, numbers, first_row)


def read_columns(others: OtherColumns, modalities: Mapping[str, Any] | None) -> Blocks:
    """Read the content that a flat table brings along.

    `modalities` names the columns of the whole table that form each of them; None:
    those left over, as in `group_columns`.
    """
    if modalities is not None:
        return read_blocks(others.table, others.names, modalities)
    by_position = others.table
    if isinstance(by_position, pd.DataFrame):
        by_position = by_position.iloc
    rest = by_position[:, others.positions]
    names = None if others.names is None else [str(label) for label in others.labels]
    return read_blocks(rest, names, None, labels=others.labels)


def _as_matrix(
    table: Any, labels: Sequence[Any] | None, columns: NDArray[np.intp]
) -> NDArray:
    by_position = table.iloc if isinstance(table, pd.DataFrame) else table
    matrix = np.asarray(by_position[:, as_slice(columns)])
    if matrix.dtype == object:
        # Numbers and None among objects, in one go; dates and words raise.
        with suppress(TypeError, ValueError, OverflowError):
            matrix = matrix.astype(np.float64)
    if matrix.dtype.kind in "biuf":
        return matrix
    if not isinstance(table, pd.DataFrame):
        table = pd.DataFrame(table)
    read = [
        as_floats(table.iloc[:, c], int(c) if labels is None else labels[c])
        for c in columns
    ]
    return np.column_stack(read) if read else np.empty((len(table), 0))
