"""The clock of this machine, which no other has to agree with."""

from __future__ import annotations

from datetime import UTC, datetime

from skmmrec.feature_store.backends.base import to_us


def now_us() -> int:
    """Return the time, microseconds since the epoch."""
    return to_us(datetime.now(UTC))
