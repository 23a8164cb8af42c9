"""Rows on their way into Feast's tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import extract_text_and_num

from skmmrec.feature_store.backends.base import WriteRow, to_us

from ._tables import feast_seconds, quote

_UPSERT = """
INSERT INTO {table} (entity_key, feature_name, value, value_text,
                     event_ts, created_ts, event_us)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entity_key, feature_name) DO UPDATE SET
    value = excluded.value, value_text = excluded.value_text,
    event_ts = excluded.event_ts, created_ts = excluded.created_ts,
    event_us = excluded.event_us
WHERE excluded.event_us >= COALESCE(event_us, 0)
"""


def upsert(conn: sqlite3.Connection, name: str, rows: list[tuple[Any, ...]]) -> None:
    """Write (key, feature, value, text, event_ts, created_ts, event_us) rows."""
    conn.executemany(_UPSERT.format(table=quote(name)), rows)


def cells_of(row: WriteRow, serialization: int) -> Iterator[tuple[Any, ...]]:
    """One tuple for each feature of a row."""
    entity_key, values, event, created = row
    key = serialize_entity_key(entity_key, serialization)
    seconds = feast_seconds(event)
    created_seconds = feast_seconds(created) if created else None
    micros = to_us(event)
    for feature, value in values.items():
        text, _ = extract_text_and_num(value, False)
        content = value.SerializeToString()
        yield key, feature, content, text, seconds, created_seconds, micros
