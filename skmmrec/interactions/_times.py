"""Times of every type, brought into one order."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions._ids import exact_below
from skmmrec.interactions._values import read_values, to_objects

# Nanoseconds in each unit of NumPy's datetime64, beside years and months, which vary.
NANOSECONDS = {
    "W": Fraction(7 * 86_400 * 10**9),
    "D": Fraction(86_400 * 10**9),
    "h": Fraction(3_600 * 10**9),
    "m": Fraction(60 * 10**9),
    "s": Fraction(10**9),
    "ms": Fraction(10**6),
    "us": Fraction(10**3),
    "ns": Fraction(1),
    "ps": Fraction(1, 10**3),
    "fs": Fraction(1, 10**6),
    "as": Fraction(1, 10**9),
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The time since 1970 of the years 2000 to 2100, in each unit.
EPOCHS = {
    unit: (946_684_800 * scale, 4_102_444_800 * scale)
    for unit, scale in {
        "seconds": 1,
        "milliseconds": 10**3,
        "microseconds": 10**6,
        "nanoseconds": 10**9,
    }.items()
}

# Behind a time of day: Z, or hours from UTC.
OFFSET = re.compile(r"\d[T ]\d.*(Z|[+-]\d\d(:?\d\d)?)\s*$", re.IGNORECASE)


def check_times(times: Any, name: str) -> NDArray:
    """Validate a column of times, so that sorting it sorts by time.

    Parameters
    ----------
    times : array-like of shape (n,)
        Dates and times of Python, NumPy, pandas, polars or Arrow, in any units and time
        zones; texts in the format of ISO 8601; or numbers. What names no time zone is
        in UTC, a date is its midnight, and a period is its start.
    name : str
        What errors call the column.

    Returns
    -------
    ndarray of shape (n,)
        Numbers, datetime64 in UTC or timedelta64; of what neither holds, such as dates
        of nanoseconds and of the year 9999 in one column, nanoseconds as integers of
        Python.

    Raises
    ------
    ValueError
        For a missing time, other text, what is no time, times of several types, or
        numbers that are too coarse, infinite or of several units.
    """
    values = read_values(times, name)
    kind = values.dtype.kind
    if kind in "iuf":
        return _check_numbers(values, name)
    if kind in "mM":
        return values
    return _of_objects(values if kind == "O" else to_objects(values), name)


def _of_objects(values: NDArray, name: str) -> NDArray:
    words = [_word_of(value) for value in values]
    for row, word in enumerate(words):
        value, first = values[row], values[0]
        if word is None:
            kind = type(value).__name__
            raise ValueError(f"{name} in row {row} is {value!r}: a {kind} is no time")
        if word != words[0]:
            types = sorted({type(value).__name__, type(first).__name__})
            raise ValueError(
                f"{name} mixes types ({', '.join(types)}), from row {row} on: give all "
                "times one type"
            )
    if not words or words[0] == "number":
        return _check_numbers(_exact_numbers(values), name)
    if words[0] == "text":
        return _of_texts(values, name)
    return _exact_times(values, name, "M" if words[0] == "time" else "m")


def _word_of(value: Any) -> str | None:
    """Say how a value tells the time; None: it does not."""
    if isinstance(value, bool | np.bool_):
        return None
    words = {
        "text": str,
        "time": date | np.datetime64 | pd.Period,
        "length": timedelta | np.timedelta64,
        "number": int | float | np.integer | np.floating | Decimal,
    }
    return next((word for word, kind in words.items() if isinstance(value, kind)), None)


def date_of_number(time: float) -> str | None:
    """Return the day (UTC) of a number that counts from 1970; None: it may not.

    Only the years 2000 to 2100 are told, in whichever unit a number is of these.
    """
    for first, last in EPOCHS.values():
        if first <= time <= last:
            seconds = time / (first / 946_684_800)
            return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    return None


def check_same_unit(
    new: NDArray, known: NDArray, new_name: str, known_name: str
) -> None:
    """Refuse dates beside numbers, and seconds since 1970 beside milliseconds.

    Of neither would a comparison say what came first. Both are as `check_times` returns
    them. Of numbers the middle one tells the unit, where it is of the years 2000 to
    2100 in one.

    Raises ValueError where the two differ; it calls them `new_name` and `known_name`.
    """
    if len(new) == 0 or len(known) == 0:
        return
    units = [_unit_of(times) for times in (new, known)]
    if units[0] == units[1]:
        return
    are_dates = [unit in KINDS.values() for unit in units]
    if any(are_dates) or None not in units:
        told = [unit or "numbers" for unit in units]
        raise ValueError(
            f"{new_name} are {told[0]}, such as {new[0]!s}, {known_name} are "
            f"{told[1]}, such as {known[0]!s}: give both as dates, or both as numbers "
            "of one unit"
        )


# What times are called that are no numbers, by the letter of their type.
KINDS = {"M": "dates", "m": "durations"}


def _unit_of(times: NDArray) -> str | None:
    """Say what times count; None: numbers, of which nobody knows the unit."""
    if times.dtype.kind in KINDS:
        return KINDS[times.dtype.kind]
    middle = np.sort(times)[len(times) // 2]
    for unit, (first, last) in EPOCHS.items():
        if first <= middle <= last:
            return f"{unit} since 1970"
    return None


# -- numbers -------------------------------------------------------------------------


def _exact_numbers(values: NDArray) -> NDArray:
    """Numbers as float64 or, where that would round them, as they are."""
    plain = [v.item() if isinstance(v, np.generic) else v for v in values]
    for kind in (int, float):
        try:
            numbers = [kind(value) for value in plain]
            if all(a == b for a, b in zip(numbers, plain, strict=True)):
                return np.array(numbers)
        except OverflowError:
            continue
    return to_objects(plain)


def _check_numbers(times: NDArray, name: str) -> NDArray:
    numbers = times.astype(np.float64)
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        raise ValueError(f"{name} is infinite in row {infinite[0]}")
    _refuse_coarse(times, name)
    _refuse_several_units(numbers, name)
    return times


def _refuse_coarse(times: NDArray, name: str) -> None:
    """Refuse seconds of today in float32, which are 128 apart."""
    if times.dtype.kind != "f" or times.dtype.itemsize >= 8:
        return
    limit = exact_below(times.dtype)
    coarse = np.flatnonzero(np.abs(times) >= limit)
    if len(coarse):
        raise ValueError(
            f"{name} in row {coarse[0]} is {times[coarse[0]]!s}, which has been "
            f"rounded: {times.dtype} tells whole numbers apart below {limit:.0f} "
            "only. Read the times as integers or as float64"
        )


def _refuse_several_units(times: NDArray[np.float64], name: str) -> None:
    """Refuse times that are all since 1970, but in seconds here and milliseconds there.

    Numbers of which any is outside the years 2000 to 2100 in every unit may mean
    something else.
    """
    of_unit = {
        unit: (times >= first) & (times <= last)
        for unit, (first, last) in EPOCHS.items()
    }
    there = {unit: rows.argmax() for unit, rows in of_unit.items() if rows.any()}
    if len(there) > 1 and np.any(list(of_unit.values()), axis=0).all():
        units = ", ".join(f"{unit} in row {row}" for unit, row in there.items())
        raise ValueError(
            f"{name} counts from 1970 in several units ({units}): give all times in one"
        )


# -- texts ---------------------------------------------------------------------------


def _of_texts(texts: NDArray, name: str) -> NDArray:
    # pandas gives a text without an offset that of the text before: so they go apart.
    has_offset = np.array([OFFSET.search(text) is not None for text in texts])
    parts = [_to_utc(texts[kept]) for kept in (has_offset, ~has_offset)]
    units = {part.dtype for part in parts if len(part)}
    times = np.empty(len(texts), units.pop() if len(units) == 1 else object)
    times[has_offset], times[~has_offset] = map(list, parts)
    is_odd = pd.isna(times)
    if not is_odd.any() and times.dtype != object:
        return times
    exact = [
        _parse(text, row, name) if is_odd[row] else times[row]
        for row, text in enumerate(texts)
    ]
    return _exact_times(to_objects(exact), name, "M")


def _to_utc(texts: NDArray) -> NDArray[np.datetime64]:
    """Parse texts; NaT for what is no time."""
    # pandas reads the words "now" and "today" as well, which no table means.
    is_date = [re.match(r"\s*\d", text) is not None for text in texts]
    dates = np.where(is_date, texts, np.array(None))
    parsed = pd.to_datetime(dates, format="ISO8601", utc=True, errors="coerce")
    return parsed.tz_convert(None).to_numpy()


def _parse(text: str, row: int, name: str) -> datetime:
    """Parse what is beyond the years that pandas counts in nanoseconds."""
    odd = ValueError(
        f"{name} in row {row} is {text!r}, no time in the format of ISO 8601: make "
        "times of the column first, by pandas.to_datetime(..., format=...), such as "
        "format='%d.%m.%Y %H:%M'"
    )
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        raise odd
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise odd from None


# -- dates and times -----------------------------------------------------------------


def _exact_times(times: NDArray, name: str, kind: str) -> NDArray:
    """Dates ("M") or durations ("m") of NumPy, in the first unit that holds all.

    Where none does, integers of Python: nanoseconds, since 1970 for dates.
    """
    counts = []
    for row, time in enumerate(times):
        try:
            counts.append(_nanoseconds(time))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{name} in row {row} is {time!r}: {error}") from error
    # What Python holds is whole in microseconds, in which 64 bits hold all its years.
    for unit in ("ns", "us"):
        size = int(NANOSECONDS[unit])
        if all(n % size == 0 and abs(n // size) < 2**63 for n in counts):
            ticks = np.array([int(n // size) for n in counts], np.int64)
            return ticks.view(f"{kind}8[{unit}]")
    return to_objects(counts)


def _nanoseconds(time: Any) -> int | Fraction:
    if isinstance(time, pd.Period):
        time = time.start_time
    if isinstance(time, pd.Timestamp):
        time = time.asm8
    if isinstance(time, pd.Timedelta):
        time = time.to_timedelta64()
    if isinstance(time, np.datetime64 | np.timedelta64):
        return _of_ticks(time)
    if isinstance(time, datetime):
        is_aware = time.utcoffset() is not None
        time = (time if is_aware else time.replace(tzinfo=UTC)) - EPOCH
    elif isinstance(time, date):
        time = timedelta(time.toordinal() - EPOCH.toordinal())
    return (time // timedelta(microseconds=1)) * 1000


def _of_ticks(time: np.datetime64 | np.timedelta64) -> int | Fraction:
    unit, step = np.datetime_data(time.dtype)
    if unit in ("Y", "M") and isinstance(time, np.datetime64):
        return _of_ticks(time.astype("datetime64[D]"))
    if unit not in NANOSECONDS:
        raise ValueError("years, months and numbers without a unit have no length")
    exact = int(time.astype(np.int64)) * step * NANOSECONDS[unit]
    return exact.numerator if exact.denominator == 1 else exact
