"""The table of recorded events."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from skmmrec.interactions import ITEM, TIME, USER

from ._encoding import key_ids


def feedback_frame(rows: Sequence[tuple[bytes, bytes, float, int]]) -> pd.DataFrame:
    """Build the table of events from rows of user key, item key, y and time (us)."""
    users, items, y, times = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pd.DataFrame(
        {
            USER: key_ids(USER, users),
            ITEM: key_ids(ITEM, items),
            "y": pd.Series(y, dtype=float),
            TIME: pd.to_datetime(pd.Series(times, dtype="int64"), unit="us", utc=True),
        }
    )
