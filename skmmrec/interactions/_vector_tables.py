"""Tables of one vector per item, as people give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions._ids import check_ids, plain
from skmmrec.interactions._reading import check_numbers


def read_vector_table(table: Any, name: str) -> tuple[pd.Index, NDArray[np.float64]]:
    """Read vectors by the ids of their items.

    Parameters
    ----------
    table : DataFrame of shape (n_items, d)
        Indexed by item id. NaN passes: it says that there is no vector.
    name : str
        What errors call it.

    Returns
    -------
    ids : Index of shape (n_items,)
    vectors : ndarray of shape (n_items, d), float64

    Raises
    ------
    TypeError
        For what is no DataFrame of pandas: tables of other libraries have no index.
    ValueError
        For an id that is missing or repeats, no columns, what is no number, and
        infinity. Names the item or the row.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"{name} must be a DataFrame of pandas, indexed by item id, got "
            f"{type(table).__name__}"
        )
    if not table.shape[1]:
        raise ValueError(f"{name} has no columns: its vectors are empty")
    ids = pd.Index(check_ids(table.index, f"the index of {name}"))
    twice = np.flatnonzero(ids.duplicated())
    if len(twice):
        raise ValueError(
            f"{name} has item {plain(ids[twice[0]])!r} twice (row {twice[0]})"
        )
    options = {"ensure_2d": True, "ensure_min_samples": 0}
    vectors = check_numbers(table, name, ensure_all_finite="allow-nan", **options)
    return ids, vectors
