"""The table of recorded events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skmmrec.interactions import ITEM, TIME, USER

from ._encoding import key_ids

# Name of the index of `feedback_frame`, by which `publish` knows such a table.
SEQUENCE = "event"
# The highest number that every engine can be asked about: they are signed, of 8 bytes.
LAST_EVENT = 2**63 - 1
# Events that are in memory at the same time where all are gone through: some 10 MB.
EVENTS_PER_PAGE = 100_000


def feedback_frame(
    rows: Sequence[tuple[int, bytes, bytes, float, int]],
) -> pd.DataFrame:
    """Build the table of events, with their sequence numbers as its index.

    A row is a sequence number, user key, item key, y and time (us). Times never go
    back, as whoever takes the events in sorts them by these: where the clock of a
    recorder was behind, an event has the time of the one before.
    """
    numbers, users, items, y, recorded = zip(*rows, strict=True) if rows else ((),) * 5
    times = np.maximum.accumulate(np.array(recorded, dtype=np.int64))
    return pd.DataFrame(
        {
            USER: key_ids(USER, users),
            ITEM: key_ids(ITEM, items),
            "y": pd.Series(y, dtype=float),
            TIME: pd.to_datetime(times, unit="us", utc=True),
        }
    ).set_index(pd.Index(numbers, dtype="int64", name=SEQUENCE))
