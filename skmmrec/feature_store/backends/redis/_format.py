"""How Feast and we write into Redis: times, events, snapshots, patterns."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import asdict

from google.protobuf.timestamp_pb2 import Timestamp

from skmmrec.feature_store.backends.base import Snapshot, from_us

# An event is y, its time, the length of the user's key, and then both keys.
_EVENT = struct.Struct("<dqI")


def write_snapshot(snapshot: Snapshot) -> str:
    """Write a snapshot as JSON."""
    return json.dumps({**asdict(snapshot), "fingerprint": snapshot.fingerprint.hex()})


def read_snapshot(text: str | bytes) -> Snapshot:
    """Undo `write_snapshot`."""
    fields = json.loads(text)
    fields["fingerprint"] = bytes.fromhex(fields["fingerprint"])
    return Snapshot(**fields)


def time_field(view_name: str) -> bytes:
    """Name the field in which Feast keeps the event time of a view."""
    return f"_ts:{view_name}".encode()


def write_time(event_us: int) -> bytes:
    """Serialize an event time as Feast does."""
    stamp = Timestamp()
    stamp.FromDatetime(from_us(event_us))
    return bytes(stamp.SerializeToString())


def read_time(serialized: bytes) -> int:
    """Undo `write_time`: microseconds since the epoch."""
    stamp = Timestamp.FromString(serialized)
    return int(stamp.seconds * 1_000_000 + stamp.nanos // 1000)


def write_event(user_key: bytes, item_key: bytes, y: float, event_us: int) -> bytes:
    """Pack one event."""
    return _EVENT.pack(y, event_us, len(user_key)) + user_key + item_key


def read_event(packed: bytes) -> tuple[bytes, bytes, float, int]:
    """Undo `write_event`: user key, item key, y and time."""
    y, event_us, length = _EVENT.unpack_from(packed)
    keys = packed[_EVENT.size :]
    return keys[:length], keys[length:], y, event_us


def glob_literal(name: bytes) -> bytes:
    """Escape what SCAN would take for a pattern."""
    return re.sub(rb"([*?\[\]\\^])", rb"\\\1", name)


def is_whole(key: bytes, start: int) -> bool:
    """Tell whether a key ends where its id does: else it is of another project."""
    length = int.from_bytes(key[start + 4 : start + 8], "little")
    return len(key) == start + 8 + length
