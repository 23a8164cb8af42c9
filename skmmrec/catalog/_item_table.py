"""Checks of the table of items: its key, its ids, and that there is content."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skmmrec.catalog._blocks import Blocks
from skmmrec.interactions import check_ids, hashed, plain, take_over


def check_not_empty(ids: pd.Index, blocks: Blocks, noun: str = "item") -> None:
    """Raise a ValueError that names the first item without content, if any."""
    empty = np.flatnonzero(~blocks.mask.any(axis=1))
    if len(empty):
        raise ValueError(
            f"{noun} {plain(ids[empty[0]])!r} (row {empty[0]}) has no modality "
            f"at all ({len(empty)} such {noun}s). Leave such {noun}s out, or give "
            "on_empty='ignore' (on the command line --on-empty ignore) to rank them by "
            "their interactions alone."
        )


def as_table(items: Any, key: str) -> pd.DataFrame:
    """Read a table of items; one of pandas may be sorted or cut in place afterwards.

    Raises ValueError if it lacks the key, is empty, or has two columns of one name.
    """
    table = take_over(items, "items")
    if key not in table.columns:
        advice = "name the one with the ids, ItemCatalog(items, key=...)"
        if key is not None and key in table.index.names:
            advice = "its index has that name, so give items.reset_index()"
        raise ValueError(
            f"items has no column {key!r} (the key); its columns are "
            f"{list(table.columns)}: {advice}"
        )
    if len(table) == 0:
        raise ValueError("items is empty: it has 0 rows")
    # Items are encoded later, when the rows must still be those of the ids. The values
    # are not copied: there may be large vectors among them.
    return table.copy(deep=False)


def unique_ids(table: pd.DataFrame, key: str) -> pd.Index:
    """Read the ids of a table.

    Raises ValueError for one that is missing, or is there twice, and names the row.
    """
    ids = hashed(pd.Index(check_ids(table[key], key)))
    repeated = np.flatnonzero(ids.duplicated())
    if len(repeated):
        first = repeated[0]
        raise ValueError(
            f"{key} {plain(ids[first])!r} in row {first} occurs in an earlier row "
            f"({len(repeated)} duplicated rows)"
        )
    return ids
