"""How much users and items had been through before, at any time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skmmrec.interactions import ITEM, TIME, USER, Table, read_interactions


def count_before(X: Table, of: str = USER) -> pd.DataFrame:
    """Count the interactions of each user or item as time goes by.

    Parameters
    ----------
    X : DataFrame
        Interactions, with ``timestamp``.
    of : {"user_id", "item_id"}, default="user_id"
        Whose interactions are counted.

    Returns
    -------
    DataFrame
        Columns `of`, ``timestamp`` and ``n_user_id`` or ``n_item_id``: how many rows
        there were up to that moment, that one included. As ``user_features`` or
        ``item_features`` of `CandidateRanker`, which looks at what was there before a
        request, it tells nothing of the row that is to be ranked.

    Raises
    ------
    ValueError
        For another `of`, or rows without times.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.ranking import count_before
    >>> X = pd.DataFrame({"user_id": [1, 2, 1], "item_id": list("aba")})
    >>> count_before(X.assign(timestamp=[10, 20, 30]), "item_id")
      item_id  timestamp  n_item_id
    0       a         10          1
    1       b         20          1
    2       a         30          2
    """
    if of not in (USER, ITEM):
        raise ValueError(f"of must be {USER!r} or {ITEM!r}, got {of!r}")
    rows, _ = read_interactions(X)
    if rows.times is None:
        raise ValueError(f"X has no column {TIME!r}, without which nothing is before")
    ids = rows.users if of == USER else rows.items
    order = np.argsort(rows.times, kind="stable")
    table = pd.DataFrame({of: ids[order], TIME: rows.times[order]})
    table[f"n_{of}"] = table.groupby(of).cumcount() + 1
    return table.drop_duplicates([of, TIME], keep="last", ignore_index=True)
