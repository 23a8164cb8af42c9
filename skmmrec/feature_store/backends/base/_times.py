"""Times as whole microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def to_us(when: datetime) -> int:
    """Microseconds since the epoch; a time without zone is UTC."""
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(event_us: int) -> datetime:
    """Undo `to_us`: a time in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event_us)
