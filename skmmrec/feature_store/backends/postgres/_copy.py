"""Rows in the binary form that PostgreSQL's COPY reads."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from skmmrec.feature_store.backends.base import Batch

COLUMNS = "entity_key, feature_name, value, value_text, vector_value, event_ts"
_EPOCH_US = 946_684_800_000_000  # PostgreSQL counts from the year 2000
_SIGNATURE, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_HEAD, _NULL = struct.pack("!h", 6), struct.pack("!i", -1)


def binary_rows(
    batch: Batch, keys: Sequence[bytes], rows: range, event_us: int, vectors: bool
) -> bytes:
    """Encode some entities of a batch, one row a feature.

    Parameters
    ----------
    batch : Batch
    keys : sequence of bytes, as long as `rows`
        Serialized ids of the entities.
    rows : range
        Where they are in the batch.
    event_us : int
        Event time, microseconds since the epoch.
    vectors : bool
        Fill pgvector's column too.

    Returns
    -------
    bytes
        With the columns of `COLUMNS`.
    """
    when = _field(struct.pack("!q", event_us - _EPOCH_US))
    texts = {batch.version_name: _field(batch.version.encode())}
    stored = _vectors(batch, rows) if vectors else [_NULL] * len(rows)
    body = [
        _HEAD
        + _field(key)
        + _field(name.encode())
        + _field(value)
        + texts.get(name, _NULL)
        + (vector if name == batch.vector_name else _NULL)
        + when
        for key, row, vector in zip(
            keys, batch.serialized(rows.start, rows.stop), stored, strict=True
        )
        for name, value in row.items()
    ]
    return _SIGNATURE + b"".join(body) + _END


def _vectors(batch: Batch, rows: range) -> list[bytes]:
    """Encode vectors as pgvector does: length, two zero bytes, big-endian floats."""
    matrix = batch.matrix[rows.start : rows.stop].astype(">f4")
    head = struct.pack("!hh", matrix.shape[1], 0)
    return [_field(head + row.tobytes()) for row in matrix]


def _field(content: bytes) -> bytes:
    return struct.pack("!i", len(content)) + content
