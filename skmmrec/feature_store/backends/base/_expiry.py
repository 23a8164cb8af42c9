"""Which stored values have expired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from feast import FeatureView

from ._search import VectorTable
from ._times import to_us


def oldest_us(view: FeatureView) -> int | None:
    """Event time below which the view's values have expired (None: never).

    An on-demand view, which has no ``ttl``, is written like any other.
    """
    ttl: timedelta | None = getattr(view, "ttl", None)
    # In whole microseconds: a ttl of thousands of years is no date before now.
    return to_us(datetime.now(UTC)) - ttl // timedelta(microseconds=1) if ttl else None


def fresh(table: VectorTable, view: FeatureView) -> np.ndarray | None:
    """Which rows have not expired (None: all)."""
    oldest = oldest_us(view)
    if oldest is None or not len(table.ids) or table.event_us.min() >= oldest:
        return None
    return table.event_us >= oldest
