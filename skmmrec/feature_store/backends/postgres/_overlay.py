"""Writing to Feast's own tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from feast import FeatureView
from feast.infra.key_encoding_utils import get_list_val_str
from feast.infra.online_stores.helpers import extract_text_and_num
from feast.protos.feast.types.Value_pb2 import Value
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from skmmrec.feature_store.backends.base import (
    Row,
    Snapshot,
    from_us,
    key_ids,
    to_us,
    unpack,
)

from ._engine import OWNED, Publication, ownership
from ._sql import lock, one, regclass, statement, table_exists

_LOG = logging.getLogger("skmmrec.feature_store")

# A B-tree of PostgreSQL takes entries of up to 2,704 bytes; the rest is left to the
# name of the feature.
MAX_KEY_BYTES = 2000
_MAX_DIMENSIONS = 16_000  # of pgvector
# Cells that are deleted while no other writes to the table: about 10 ms.
_PIECE = 2000
_UPSERT = """
INSERT INTO {{}} AS stored (entity_key, feature_name, value, value_text, vector_value,
    event_ts, created_ts{num})
VALUES (%s, %s, %s, %s, %s, %s, %s{mark})
ON CONFLICT (entity_key, feature_name) DO UPDATE SET
    value = excluded.value, value_text = excluded.value_text,
    vector_value = excluded.vector_value, event_ts = excluded.event_ts,
    created_ts = excluded.created_ts{update}
WHERE stored.event_ts IS NULL OR excluded.event_ts >= stored.event_ts
"""
_PLAIN = _UPSERT.format(num="", mark="", update="")
_NUMBERED = _UPSERT.format(
    num=", value_num", mark=", %s", update=", value_num = excluded.value_num"
)
_HAS_NUMBERS = """
SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(%s)
    AND attname = 'value_num' AND NOT attisdropped)
"""
_DISOWN = f"DELETE FROM {{}} o WHERE entity_key = ANY(%s) AND {OWNED} IS NOT TRUE"
_LATEST = (
    "SELECT entity_key, max(event_ts) FROM {} o "
    f"WHERE entity_key = ANY(%s) AND {OWNED} GROUP BY entity_key"
)
_CLEAN = (
    "DELETE FROM {} WHERE ctid = ANY(ARRAY(SELECT o.ctid FROM {} o "
    f"WHERE {OWNED} IS NOT TRUE LIMIT {_PIECE}))"
)


class Cell(NamedTuple):
    """One value on its way into one of Feast's tables."""

    key: bytes
    feature: str
    value: Value
    event: datetime
    created: datetime | None = None


def upsert(conn: Connection, table: str, cells: Iterable[Cell], vectors: bool) -> None:
    """Write cells; a value with a newer event time stays.

    With `vectors`, pgvector's column is filled, too.
    """
    numbers = bool(one(conn, _HAS_NUMBERS, [regclass(table)]))
    # In one order, so that no two writers hold what the other waits for.
    ordered = sorted(cells, key=lambda cell: (cell.key, cell.feature))
    query = statement(_NUMBERED if numbers else _PLAIN, table)
    with conn.cursor() as cursor:
        cursor.executemany(query, [_stored(cell, vectors, numbers) for cell in ordered])


def _stored(cell: Cell, vectors: bool, numbers: bool) -> tuple[Any, ...]:
    text, number = extract_text_and_num(cell.value, numbers)
    row = (
        cell.key,
        cell.feature,
        cell.value.SerializeToString(),
        # PostgreSQL's texts cannot hold it; what is served is `value`.
        None if text is not None and "\0" in text else text,
        _vector(cell.value) if vectors else None,
        cell.event,
        cell.created,
    )
    return (*row, number) if numbers else row


def _vector(value: Value) -> str | None:
    """Write a list of numbers for pgvector, where it can hold it."""
    text: str | None = get_list_val_str(value)
    if text is None:
        return None
    numbers = np.array(unpack(value.SerializeToString()), np.float32)
    fits = 0 < len(numbers) <= _MAX_DIMENSIONS and np.isfinite(numbers).all()
    return text if fits else None


def check_keys(view: FeatureView, keys: Sequence[bytes]) -> None:
    """Refuse ids of published views that are too long for an index."""
    longest = max(keys, key=len, default=b"")
    if len(longest) > MAX_KEY_BYTES:
        [value] = key_ids(view.join_keys[0], [longest])
        raise ValueError(
            f"{view.join_keys[0]} {value!r:.40}... is {len(longest)} bytes long: "
            f"PostgreSQL indexes up to {MAX_KEY_BYTES}"
        )


def disown(
    conn: Connection,
    table: str,
    view: str,
    keys: Sequence[bytes],
    snapshot: Snapshot,
) -> None:
    """Delete what does not belong to what is served, before it is written over.

    Other writers wait until the transaction ends.
    """
    lock(conn, f"write {table}")
    query = statement(_DISOWN, table, table)
    conn.execute(query, [list(keys), *ownership(view, snapshot)])


def later_rows(
    conn: Connection, table: str, view: str, rows: Sequence[Row], snapshot: Snapshot
) -> list[Row]:
    """Give rows times after what they replace, and after the publication's."""
    args = [[row.key for row in rows], *ownership(view, snapshot)]
    found = conn.execute(statement(_LATEST, table, table), args)
    latest = {bytes(key): to_us(when) for key, when in found}
    since = snapshot.served_us
    return [
        row._replace(event_us=max(row.event_us, latest.get(row.key, since) + 1))
        for row in rows
    ]


def utc(when: datetime) -> datetime:
    """Give a time without a zone that of UTC, as Feast means it."""
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def row_cells(row: Row) -> Iterator[Cell]:
    """Return the cells of a row."""
    when = from_us(row.event_us)
    for name, value in row.features.items():
        yield Cell(row.key, name, Value.FromString(value), when)


def change_values(
    conn: Connection,
    table: str,
    feature: str,
    change: Callable[[bytes], bytes | None],
) -> None:
    """Change values of a feature; their event times stay."""
    select = "SELECT entity_key, value FROM {} WHERE feature_name = %s"
    update = "UPDATE {} SET value = %s WHERE entity_key = %s AND feature_name = %s"
    with conn.cursor(binary=True) as cursor:
        found = cursor.execute(statement(select, table), (feature,)).fetchall()
        values = [(change(value), key, feature) for key, value in found if value]
        changed = [row for row in values if row[0] is not None]
        cursor.executemany(statement(update, table), changed)


def clean(conn: Connection, publication: Publication) -> None:
    """Delete what does not belong to what is served, in pieces.

    Writers wait for one piece. Where one of them takes long, the rest is left to the
    next time.
    """
    for view, table in publication.tables.items():
        overlay = table.overlay
        if not table_exists(conn, overlay):
            continue
        query = statement(_CLEAN, overlay, overlay, overlay)
        try:
            while _clean_piece(conn, overlay, query, view, publication.snapshot):
                pass
        except LockNotAvailable:
            _LOG.info("%s is busy: what is not served stays in it for now", overlay)


def _clean_piece(
    conn: Connection, table: str, query: bytes, view: str, snapshot: Snapshot
) -> int:
    with conn.transaction():
        conn.execute("SET LOCAL lock_timeout = '500ms'")  # those behind us wait as long
        conn.execute(statement("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table))
        return conn.execute(query, ownership(view, snapshot)).rowcount
