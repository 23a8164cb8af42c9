"""Choose the columns of an item table that contain words, and join the words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from skmmrec.llm._safety import clean
from skmmrec.runtime import is_missing

_SOURCE = re.compile(r"\w+://.*|[^\n]*\.[A-Za-z][A-Za-z0-9]{1,3}")
"""An address, or the name of a file."""


def choose_columns(table: Any, columns: Iterable[str] | None) -> list[str]:
    """Choose the columns that contain words.

    They are those in `columns`, of which a ValueError names an unknown one; or those
    whose values are texts or lists of texts, unless half of them or more are file names
    or addresses. Without a table there are none.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.llm._words import choose_columns
    >>> table = pd.DataFrame({"title": ["Up", None], "poster": ["up.jpg", None],
    ...     "tags": [["balloon"], []], "year": [2009, 2010]})
    >>> choose_columns(table, None)
    ['title', 'tags']
    """
    known = [] if table is None else list(table.columns)
    if columns is None:
        return [name for name in known if _holds_words(table[name])]
    absent = [name for name in columns if name not in known]
    if absent:
        raise ValueError(
            f"columns names {absent[0]!r}, which is not a column of the items: {known}"
        )
    return list(columns)


def join_words(table: Any, columns: list[str], n: int, max_length: int) -> list[str]:
    r"""Join the words of each item, one line for each column that has a value.

    Absent columns count as missing, and a value is cut after `max_length` characters.
    Returns `n` texts, "" for an item without words.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.llm._words import join_words
    >>> table = pd.DataFrame({"title": ["Up"], "tags": [["sky", "age"]]})
    >>> join_words(table, ["title", "tags"], 1, 100)
    ['title: Up\ntags: sky, age']
    """
    lines: list[list[str]] = [[] for _ in range(n)]
    for name in columns if table is not None else []:
        if name not in table.columns:
            continue
        for row, value in enumerate(table[name]):
            words = clean(_as_text(value), max_length)
            if words:
                lines[row].append(f"{clean(str(name), max_length)}: {words}")
    return ["\n".join(each) for each in lines]


def _holds_words(column: pd.Series) -> bool:
    values = [value for value in column if not is_missing(value)]
    if not values or not all(_is_text(value) for value in values):
        return False
    sources = sum(_SOURCE.fullmatch(_as_text(value)) is not None for value in values)
    return 2 * sources < len(values)


def _is_text(value: Any) -> bool:
    parts = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(part, str) for part in parts)


def _as_text(value: Any) -> str:
    """Return a value as text; "" for a missing one."""
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value if not is_missing(part))
    return "" if is_missing(value) else str(value)
