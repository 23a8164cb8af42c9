"""Times of rows whose features are wanted as they were."""

from __future__ import annotations

from bisect import bisect_left
from numbers import Real

import numpy as np
import pandas as pd

# Nanoseconds until March 1973. Seconds, milliseconds and microseconds of our days are
# below, so that they are never taken for nanoseconds.
_FIRST_NANOSECONDS = 1e17


def moments(times: pd.Series, name: str) -> pd.DatetimeIndex:
    """Read the times of rows, UTC where they have no zone."""
    values = times.reset_index(drop=True)
    missing = np.flatnonzero(values.isna())
    if len(missing):
        raise ValueError(
            f"{name} is missing (NaN, NaT or None) in row {missing[0]} "
            f"({len(missing)} such rows)"
        )
    if values.dtype.kind != "M":
        _refuse_seconds(values, name)
    try:
        when = pd.to_datetime(values, utc=True)
    except (TypeError, ValueError) as error:
        raise _no_time(values, name, error) from error
    return pd.DatetimeIndex(when)


def _refuse_seconds(values: pd.Series, name: str) -> None:
    """Refuse numbers but nanoseconds since 1970, which pandas takes them for."""
    for row, value in enumerate(values):
        if isinstance(value, Real) and abs(float(value)) < _FIRST_NANOSECONDS:
            raise ValueError(
                f"{name} is a number in row {row}: {value!r}; make times of it first, "
                "such as by pandas.to_datetime(..., unit='s', utc=True)"
            )


def _no_time(values: pd.Series, name: str, error: Exception) -> ValueError:
    """Find the first value that is no time, or of another format than the first."""

    def fails(row: int) -> bool:
        try:
            pd.to_datetime(values[: row + 1], utc=True)
        except (TypeError, ValueError):
            return True
        return False

    row = min(bisect_left(range(len(values)), True, key=fails), len(values) - 1)
    return ValueError(
        f"{name} is no time in row {row}, or not in the format of the rows before: "
        f"{values[row]!r:.100} ({error})"
    )
