"""From the caller's X and y to ids, times, strengths and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from skmmrec.interactions._frames import as_frame
from skmmrec.interactions._ids import check_ids
from skmmrec.interactions._keys import TIME, Keys, find_column, locate_ids
from skmmrec.interactions._no_tables import refuse_no_table, wanted_columns
from skmmrec.interactions._times import check_times
from skmmrec.interactions._types import Numbers, Table
from skmmrec.interactions._values import on_host, unmasked

USUAL = Keys()

# The largest of some answers or weights lies between these: networks hold them in
# float32, which ends at 3e38 and at 1e-38, and add up 100 million of them.
_LARGEST, _LEAST = 1e30, 1e-30
# Least of the largest weight: steps whose weights add up to 1e-12 or less fade out.
_LEAST_WEIGHT = 1e-9


@dataclass(frozen=True)
class Interactions:
    """Rows of (user, item), and when each happened.

    Attributes
    ----------
    users, items : ndarray of shape (n,)
        Ids.
    times : ndarray of shape (n,) or None
        When each row happened.
    """

    users: NDArray
    items: NDArray
    times: NDArray | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def ordered(self) -> bool:
        """Whether times tell of any user what came first."""
        if self.times is None:
            return False
        codes = pd.factorize(self.users)[0]
        first = self.times[~pd.Series(codes).duplicated()]
        return bool(np.any(self.times != first[codes]))

    def where(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> Interactions:
        """Keep the rows marked in `kept`, of shape (n,), or those at its positions."""
        times = None if self.times is None else self.times[kept]
        return Interactions(self.users[kept], self.items[kept], times)


class OtherColumns(NamedTuple):
    """The columns of X that are neither ids nor times.

    Attributes
    ----------
    table : DataFrame or ndarray of shape (n, n_columns)
        X as a whole.
    names : list of str or None
        Of all its columns; None: they have positions only.
    positions : list of int
        The columns that are left.
    """

    table: pd.DataFrame | NDArray
    names: list[str] | None
    positions: list[int]

    @property
    def labels(self) -> list[str] | list[int]:
        """What errors call these columns."""
        if self.names is None:
            return self.positions
        return [self.names[c] for c in self.positions]


def read_interactions(
    X: Table, keys: Keys = USUAL
) -> tuple[Interactions, OtherColumns]:
    """Read X: the columns that `keys` name, or else the first two, are ids.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n, n_columns)
        A ``timestamp`` column may follow the ids, and others.
    keys : Keys
        Names of the columns of ids.

    Returns
    -------
    interactions : Interactions
        Ids and times.
    others : OtherColumns
        What is left, unread.

    Raises
    ------
    ValueError
        For missing ids or times, an empty table, or columns by position whose names
        say that they are something else.
    """
    table, names = _as_table(X, keys)
    # NumPy would turn a list of numbers and words into words.
    cells = np.array(X, dtype=object) if isinstance(X, list | tuple) else table
    user, item = locate_ids(names, keys)
    users, items = (
        check_ids(_column(cells, position), _name_of(names, position, usual))
        for position, usual in ((user, keys.user[0]), (item, keys.item[0]))
    )
    time = None if names is None else find_column(names, [TIME])
    times = None if time is None else check_times(_column(cells, time), TIME)
    rest = [c for c in range(table.shape[1]) if c not in (user, item, time)]
    return Interactions(users, items, times), OtherColumns(table, names, rest)


def _name_of(names: list[str] | None, position: int, usual: str) -> str:
    """Say what errors call a column of ids."""
    return usual if names is None else names[position].rpartition("__")[2]


def refuse_columns(others: OtherColumns, keys: Keys = USUAL) -> None:
    """Refuse columns that nobody would read, by a ValueError that names them."""
    if others.positions:
        names = others.names
        ids = [keys.user[0], keys.item[0]]
        if names is not None:  # as they are called here
            ids = [names[place] for place in locate_ids(names, keys)]
        raise ValueError(
            f"X has unknown columns {others.labels}: with a catalog, X holds "
            f"{ids[0]!r}, {ids[1]!r} and at most the times, which are "
            f"called {TIME!r}; ratings are given as y"
        )


def read_strengths(y: Numbers | None, X: Interactions) -> NDArray[np.float64] | None:
    """Validate y: one finite number per row, or None."""
    if y is None:
        return None
    y = check_numbers(y, "y")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"y must have 1 column, got shape {y.shape}")
    _require_rows_of(X, y, "y")
    return _within_float32(y, "y")


def read_answers(y: Numbers | None, X: Interactions) -> NDArray[np.float64] | None:
    """Validate y of one or more tasks: shape (n, n_tasks).

    Of several tasks some may be NaN, which is no answer; a row without any is an error.
    """
    if y is None:
        return None
    table = check_numbers(y, "y", ensure_all_finite="allow-nan")
    if table.ndim == 1 or table.shape[1] == 1:
        strengths = read_strengths(y, X)
        return None if strengths is None else strengths[:, None]
    y = table
    _require_rows_of(X, y, "y")
    empty = np.flatnonzero(np.isnan(y).all(axis=1))
    if len(empty):
        raise ValueError(f"y is NaN for every task in row {empty[0]}")
    columns = [
        _within_float32(y[:, c], "y", f" of column {c}") for c in range(y.shape[1])
    ]
    return np.column_stack(columns)


def read_ranked(
    y: Numbers | None, X: Interactions, n_tasks: int
) -> NDArray[np.float64] | None:
    """Validate y, and return the answers by which lists are ranked.

    Of several tasks these are those of the first, where NaN is no answer.
    """
    if n_tasks == 1:
        return read_strengths(y, X)
    answers = read_answers(y, X)
    if answers is None:
        return None
    if answers.shape[1] not in (1, n_tasks):
        raise ValueError(f"y has {answers.shape[1]} columns, but fit had {n_tasks}")
    return answers[:, 0]


def read_weights(
    sample_weight: Numbers | None, X: Interactions
) -> NDArray[np.float64] | None:
    """Validate sample weights: one number of at least 0 per row, not all 0."""
    if sample_weight is None:
        return None
    weights = check_numbers(sample_weight, "sample_weight", ensure_non_negative=True)
    if weights.ndim != 1:
        raise ValueError(f"sample_weight must be 1-D, got shape {weights.shape}")
    _require_rows_of(X, weights, "sample_weight")
    if not weights.any():
        raise ValueError("sample_weight must hold at least one number that is not zero")
    return _within_float32(weights, "sample_weight", least=_LEAST_WEIGHT)


def _require_rows_of(X: Interactions, values: NDArray, name: str) -> None:
    if len(values) != len(X):
        raise ValueError(
            f"{name} has {len(values)} rows and X has {len(X)}: found input variables "
            "with inconsistent numbers of samples"
        )


def _within_float32(
    values: NDArray[np.float64], name: str, column: str = "", least: float = _LEAST
) -> NDArray[np.float64]:
    """Refuse a column that overflows or vanishes in float32; keep its signs there."""
    sizes = np.abs(values)
    row = int(np.argmax(np.where(np.isnan(values), 0.0, sizes)))
    if sizes[row] > _LARGEST or 0 < sizes[row] < least:
        raise ValueError(
            f"{name} in row {row}{column} is {values[row]:g}, the largest, which must "
            f"lie between {least:g} and {_LARGEST:g} for float32 to hold what is "
            "computed: multiply all of them by the same number"
        )
    is_tiny = (sizes > 0) & (sizes < _LEAST)
    if not is_tiny.any():
        return values
    return np.where(is_tiny, np.copysign(_LEAST, values), values)


def check_numbers(values: Any, name: str, **options: Any) -> NDArray[np.float64]:
    """Validate numbers as scikit-learn does; errors name what is checked, and a row.

    `options` are those of `sklearn.utils.check_array`. A ValueError is for what is no
    number, among them dates and durations, and for what is missing or infinite, unless
    `options` say otherwise.
    """
    options = {"ensure_2d": False, "dtype": np.float64, "input_name": name, **options}
    values = on_host(unmasked(values))
    if hasattr(values, "double"):  # of half precision, which NumPy lacks
        values = values.double()
    _refuse_other_kinds(values, name)
    try:
        with np.errstate(invalid="ignore"):  # of plus and minus infinity, refused here
            return check_array(values, **options)
    except (TypeError, ValueError) as error:
        place = _first_odd(values, options.get("ensure_all_finite", True) is True)
        if place is None:
            raise type(error)(f"{name}: {error}") from error
        raise ValueError(f"{error} ({name} in {place})") from error


def _refuse_other_kinds(values: Any, name: str) -> None:
    """Refuse dates and durations, whose ticks NumPy takes for numbers, and the like.

    Records and bytes of no type are among them.
    """
    if isinstance(values, str):
        raise ValueError(
            f"{name} must hold numbers, got the text {values!r:.50}: give the column "
            f"itself, such as X[{values!r:.50}]"
        )
    try:
        kind = np.asarray(values).dtype
    except ValueError:  # rows of different lengths, of which scikit-learn tells
        return
    if kind.kind in "mMcV":
        raise ValueError(f"{name} must hold numbers, got {kind}: convert it first")


def _first_odd(values: Any, is_finite: bool) -> str | None:
    """Say where the first value is that is no number; None where that is not known."""
    frame = as_frame(values)
    columns = pd.DataFrame(values) if frame is None and _is_flat(values) else frame
    if columns is None:
        return None
    found = []
    for number, label in enumerate(columns.columns):
        column = columns.iloc[:, number]
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(
            float, na_value=np.nan
        )
        is_odd = ~np.isfinite(numbers)
        if not is_finite:
            is_odd &= column.notna().to_numpy()
        found += [(row, label) for row in np.flatnonzero(is_odd)[:1]]
    if not found:
        return None
    row, label = min(found, key=lambda place: place[0])
    return f"row {row}" if frame is None else f"row {row} of column {label!r}"


def _is_flat(values: Any) -> bool:
    try:
        return np.ndim(values) == 1
    except ValueError:  # rows of different lengths
        return False


def _as_table(X: Table, keys: Keys) -> tuple[pd.DataFrame | NDArray, list[str] | None]:
    refuse_no_table(X, wanted=wanted_columns(keys))
    frame = as_frame(X)
    if frame is not None:
        _check_shape(frame)
        return frame, [str(column) for column in frame.columns]
    X = check_array(
        unmasked(X), dtype=None, ensure_all_finite=False, ensure_min_features=2
    )
    return X, None


def _check_shape(X: pd.DataFrame) -> None:
    n, d = X.shape
    if n == 0:
        raise ValueError(f"X is empty: 0 sample(s) (shape={X.shape}), 1 is needed.")
    if d < 2:
        raise ValueError(
            f"{d} feature(s) (shape={X.shape}) while a minimum of 2 is required: X "
            "needs a column of users and one of items"
        )


def _column(table: Any, position: int) -> Any:
    return (table.iloc if isinstance(table, pd.DataFrame) else table)[:, position]
