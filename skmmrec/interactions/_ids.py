"""User and item ids: one type per column, never missing."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from decimal import Decimal
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions._values import is_column, read_values, to_objects


def check_ids(ids: Any, name: str) -> np.ndarray:
    """Validate a column of ids.

    Ids that are equal stay equal, and ids that differ stay apart, whatever type they
    come in: floats that are whole become integers, and numbers that a float holds only
    by rounding are refused.

    Parameters
    ----------
    ids : array-like of shape (n,)
        Integers, floats, decimals or strings, of pandas, polars, Arrow or NumPy.
    name : str
        What errors call the column.

    Returns
    -------
    ndarray of shape (n,)
        int64, float64 (if any has a fraction) or object (of str).

    Raises
    ------
    ValueError
        For a missing id, numbers and strings in one column, an infinite number, or one
        that may have been rounded.
    TypeError
        For an id that is neither a number nor a string.
    """
    values = read_values(ids, name)
    if values.dtype.kind in "iub":
        return _int64(values, name)
    if values.dtype.kind == "f":
        return _of_floats(values, name)
    if values.dtype.kind != "O":
        raise _bad_type(values, name)
    return _of_objects(values, name)


def _int64(ids: NDArray, name: str) -> NDArray[np.int64]:
    """Integers, which may be Python's own."""
    limits = np.iinfo(np.int64)
    beyond = np.flatnonzero((ids > limits.max) | (ids < limits.min))
    if len(beyond):
        raise _too_large(beyond[0], name)
    return ids.astype(np.int64)


def _too_large(row: int, name: str) -> ValueError:
    return ValueError(
        f"{name} in row {row} does not fit into 64 bits, signed: make the column one "
        "of strings"
    )


def _of_floats(ids: NDArray, name: str, first_row: int = 0) -> NDArray:
    infinite = np.flatnonzero(np.isinf(ids))
    if len(infinite):
        raise ValueError(f"{name} contains infinity in row {first_row + infinite[0]}")
    limit = exact_below(ids.dtype)
    coarse = np.flatnonzero(np.abs(ids) >= limit)
    if len(coarse):
        raise ValueError(
            f"{name} in row {first_row + coarse[0]} is {ids[coarse[0]]!s}, which may "
            f"have been rounded: {ids.dtype} tells whole numbers apart below "
            f"{limit:.0f} only. Read the ids as integers or as strings"
        )
    if (ids == np.trunc(ids)).all():
        return ids.astype(np.int64)
    numbers = ids.astype(np.float64)
    changed = np.flatnonzero(numbers != ids)
    if len(changed):
        raise _changes(ids[changed[0]], first_row + int(changed[0]), name)
    return numbers


def exact_below(dtype: Any) -> float:
    """Least whole number that a float may have been rounded to: 2**53 in float64."""
    # The numbers of long doubles must fit into 64 bits.
    return 2.0 ** min(np.finfo(dtype).nmant + 1, 63)


def _changes(value: Any, row: int, name: str) -> ValueError:
    return ValueError(
        f"{name} in row {row} is {value!s}, which changes when it becomes a float64. "
        "Read the ids as integers or as strings"
    )


def _of_objects(ids: NDArray, name: str) -> NDArray:
    types = set(map(type, ids))
    if all(issubclass(kind, str) for kind in types):
        if types != {str}:  # such as members of an enum, whose `str` is another text
            ids = to_objects(map(str.__str__, ids))
        refuse_merged(ids, name)
        return ids
    if all(issubclass(kind, bool | np.bool_) for kind in types):
        return ids.astype(np.int64)
    if any(_word_of(kind) not in NUMBERS for kind in types):
        raise _bad_type(ids, name)
    if types == {float}:
        return _of_floats(ids.astype(np.float64), name)
    if types == {int}:
        return _int64(ids, name)
    numbers = [_number(value, row, name) for row, value in enumerate(ids)]
    if all(isinstance(number, int) for number in numbers):
        return _int64(to_objects(numbers), name)
    return np.array([_to_float(n, row, name) for row, n in enumerate(numbers)])


# Texts that are joined at once, to look for characters that few have. Not tuned.
_AT_ONCE = 2**16


def refuse_merged(ids: NDArray, name: str) -> None:
    """Refuse texts that differ, but that pandas may count as one.

    Its hash tables of texts, which `factorize`, `unique` and `groupby` use, read a text
    in UTF-8 and up to its first NUL.

    A ValueError, which calls the texts `name`, tells of the first one that counts as
    one that came before it, or has no UTF-8.
    """
    starts = range(0, len(ids), _AT_ONCE)
    if all(_is_plain("".join(ids[start : start + _AT_ONCE])) for start in starts):
        return
    known: dict[bytes, str] = {}
    for row, text in enumerate(ids):
        try:
            first = known.setdefault(text.encode().partition(b"\0")[0], text)
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{name} in row {row} is {text!r}, which UTF-8 cannot encode: it holds "
                "half of a character, as of text that was cut or decoded wrongly"
            ) from error
        if first != text:
            raise ValueError(
                f"{name} in row {row} is {text!r}, which pandas does not tell from "
                f"{first!r}, since it reads a text up to a NUL: replace the NUL"
            )


def _is_plain(texts: str) -> bool:
    """Tell whether pandas reads texts as they are."""
    if "\0" in texts:
        return False
    try:
        return texts.isascii() or bool(texts.encode())
    except UnicodeEncodeError:
        return False


def _number(value: Any, row: int, name: str) -> int | float:
    """Python's own integer or, if it has a fraction, float of the same value."""
    if isinstance(value, Integral):
        return int(value)
    if not isinstance(value, Decimal):
        return _of_floats(np.array([value]), name, row)[0].item()
    if not value.is_finite():
        raise ValueError(f"{name} contains infinity in row {row}")
    if not -(2**63) <= value < 2**63:
        raise _too_large(row, name)
    return int(value) if value == int(value) else _to_float(value, row, name)


def _to_float(value: Decimal | float, row: int, name: str) -> float:
    """Float of the same value; an integer that is one of several for it is refused."""
    limit = exact_below(np.float64)
    if not -limit < value < limit or float(value) != value:
        raise _changes(value, row, name)
    return float(value)


NUMBERS = ("int", "float", "Decimal")


def _word_of(kind: type) -> str:
    """Name a type; those of NumPy by Python's word."""
    words: dict[str, Any] = {
        "bool": (bool, np.bool_),
        "str": str,
        "int": Integral,
        "float": (float, np.floating),
        "Decimal": Decimal,
    }
    if issubclass(kind, np.timedelta64):  # an integer to Python, by its ticks
        return kind.__name__
    found = (word for word, kinds in words.items() if issubclass(kind, kinds))
    return next(found, kind.__name__)


def _bad_type(ids: NDArray, name: str) -> Exception:
    first: dict[str, int] = {}
    for row, value in enumerate(ids):
        first.setdefault(_word_of(type(value)), row)
    odd = next((word for word in first if word not in ("str", "bool", *NUMBERS)), None)
    if odd is not None:
        return TypeError(
            f"{name} argument must be a string or a number, "
            f"got {odd} in row {first[odd]}"
        )
    rows = ", ".join(f"{word} in row {row}" for word, row in first.items())
    return ValueError(f"{name} mixes types ({rows}); give all ids one type")


def check_same_kind(new: np.ndarray, known: pd.Index, name: str) -> None:
    """Refuse numbers among strings, strings among numbers, and what would round ids.

    Raises ValueError where the ids that are new are of another kind than those that are
    known.
    """
    if len(new) == 0 or len(known) == 0:
        return
    numbers = [pd.api.types.is_numeric_dtype(ids.dtype) for ids in (new, known)]
    kinds = ["number" if are_numbers else "string" for are_numbers in numbers]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"{name} {plain(new[0])!r} is a {kinds[0]}, but the known ids are "
            f"{kinds[1]}s, such as {plain(known[0])!r}: read the columns of ids of all "
            "tables as one type (pandas.read_csv makes numbers of '007', unless dtype "
            "says str)"
        )
    if {new.dtype.kind, known.dtype.kind} == {"i", "f"}:
        _check_no_rounding(new, known, name)


def _check_no_rounding(new: np.ndarray, known: pd.Index, name: str) -> None:
    """Integers beside numbers with a fraction become float64: they must stay apart."""
    integers = new if new.dtype.kind == "i" else known
    largest = integers[np.abs(np.asarray(integers, np.float64)).argmax()]
    if abs(int(largest)) >= exact_below(np.float64):
        raise ValueError(
            f"{name} has ids with a fraction beside {plain(largest)!r}, which changes "
            "when it becomes a float64: give all ids as integers or as strings"
        )


def plain(value: Any) -> Any:
    """Python's own number instead of NumPy's, for messages and JSON."""
    return value.item() if isinstance(value, np.generic) else value


def sorted_index(ids: np.ndarray) -> pd.Index:
    """Index of the distinct ids, sorted, so that no row order shows in a model."""
    distinct = pd.unique(ids)
    return pd.Index(np.sort(distinct) if ids.dtype != object else sorted(distinct))


def positions(index: pd.Index, ids: np.ndarray) -> NDArray[np.intp]:
    """Position of each id in an index of distinct ids; -1 for one that is not there."""
    if ids.dtype != object:
        return index.get_indexer(ids)
    # pandas finds equal strings three times faster in a column than in an index.
    codes, distinct = pd.factorize(ids)
    return index.get_indexer(distinct)[codes]


def hashed(index: pd.Index) -> pd.Index:
    """Build the hash table of an index, and return the index.

    pandas builds it on first use; threads that use an index for the first time together
    find a table that is half full.
    """
    index.is_unique  # noqa: B018 - builds it
    return index


def as_list(ids: Any, name: str = "ids") -> Any:
    """Put a single id into a list; refuse what is no list of ids.

    Errors call it `name`. A TypeError is for a set, a dict, a generator and the like,
    whose order is not theirs or which can be read only once; a ValueError for a table,
    or a mask.
    """
    if isinstance(ids, str | bytes):
        return [ids]
    ndim = getattr(ids, "ndim", 1)
    if ndim == 0:  # an array or tensor of one
        if isinstance(ids, np.generic):
            return [ids]
        return [ids[()] if isinstance(ids, np.ndarray) else ids.item()]
    if ndim != 1:
        raise ValueError(
            f"{name} must be a list or a column, got shape {ids.shape}: give one column"
        )
    if not is_column(ids):
        if isinstance(ids, Iterable | Sized):
            raise TypeError(
                f"{name} must be a list or a column of ids, got {type(ids).__name__}: "
                "give a list, such as list(...)"
            )
        return [ids]
    _refuse_mask(ids, name)
    return ids


def _refuse_mask(ids: Any, name: str) -> None:
    """Refuse truth values that mark rows: as ids, they would be 0 and 1 alone."""
    marks = getattr(ids, "dtype", None)
    is_mask = (
        all(isinstance(value, bool | np.bool_) for value in ids)
        if marks is None
        else str(marks).removeprefix("torch.").lower().startswith("bool")
    )
    if is_mask and len(ids) > 2:
        raise ValueError(
            f"{name} is a mask of True and False: give the ids that it marks, such as "
            "ids[mask]"
        )


def is_integer(value: Any) -> bool:
    """Tell whether a value is a whole number of any type, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_count(count: Any, name: str = "k", at_least: int = 1) -> None:
    """Refuse what is no number of things, such as the length of a list.

    Errors call it `name`. A TypeError is for anything but an integer of Python or
    NumPy, such as 2.0 or a truth value; a ValueError for one below `at_least`.
    """
    if not is_integer(count):
        raise TypeError(f"{name} must be an integer, got {count!r:.100}")
    if count < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {count}")


def nearest_count(share: float, n: Any) -> Any:
    """Turn a share of n things into a count: the nearest, halves up.

    `n` is an integer or an array of them, and so is the result, int64. A half that the
    product of floats misses by rounding is a half: 0.29 of 50 are 15.
    """
    # A share of a million things is right to 1e-10 in float64.
    return np.floor(np.round(np.multiply(n, share), 9) + 0.5).astype(np.int64)
