"""Times of rows whose features are wanted as they were."""

from __future__ import annotations

import re
from bisect import bisect_left
from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from skmmrec.interactions import check_times

# Nanoseconds until March 1973. Seconds, milliseconds and microseconds of our days are
# below, so that they are never taken for nanoseconds.
_FIRST_NANOSECONDS = 1e17

# Without a digit, such as "now" or "", or starting with a day or a month.
_DOUBTFUL = re.compile(r"\D*$|\s*\d{1,2}[/.-]\d{1,2}[/.-]")


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
        _refuse_doubtful(values, name)
    try:
        when = pd.to_datetime(_of_iso_texts(values, name), utc=True)
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


def _refuse_doubtful(values: pd.Series, name: str) -> None:
    """Refuse texts that pandas reads without knowing: as now, as nothing, as month."""
    for row, value in enumerate(values):
        if isinstance(value, str) and _DOUBTFUL.match(value):
            raise ValueError(
                f"{name} is no time in row {row}, or may be several: {value!r:.100}; "
                "give texts in the format of ISO 8601, or make times of them first by "
                "pandas.to_datetime(..., format=...)"
            )


def _of_iso_texts(values: pd.Series, name: str) -> Any:
    """Read texts in ISO 8601, some with a time or zone, and leave others to pandas."""
    if all(isinstance(value, str) for value in values):
        with suppress(ValueError):
            return check_times(values, name)
    return values


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
