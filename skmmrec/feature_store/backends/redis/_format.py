"""How Feast and we write into Redis: cells, events, times, keys."""

from __future__ import annotations

import re
import struct

from google.protobuf.timestamp_pb2 import Timestamp

from skmmrec.feature_store.backends.base import from_us

_TIME = struct.Struct("<q")
_NUMBER = struct.Struct("<d")


def read_cell(cell: bytes) -> tuple[bytes, int]:
    """Return value and event time of a cell that was written beside a publication."""
    return cell[_TIME.size :], _TIME.unpack_from(cell)[0]


def with_value(cell: bytes, value: bytes) -> bytes:
    """Put another value into such a cell."""
    return cell[: _TIME.size] + value


def event_fields(
    user: bytes, item: bytes, y: float, event_us: int, pushed: bytes | None
) -> list[bytes]:
    """Write an event as fields and values of a stream's entry."""
    fields = [b"user", user, b"item", item, b"y", _NUMBER.pack(y)]
    fields += [b"time", _TIME.pack(event_us)]
    return fields if pushed is None else [*fields, b"pushed", pushed]


def read_event(fields: dict[bytes, bytes]) -> tuple[bytes, bytes, float, int]:
    """Undo `event_fields`: user key, item key, y and time."""
    [y], [event_us] = _NUMBER.unpack(fields[b"y"]), _TIME.unpack(fields[b"time"])
    return fields[b"user"], fields[b"item"], y, event_us


def event_number(entry: bytes) -> int:
    """Sequence number of a stream's entry."""
    return int(entry.partition(b"-")[0])


def time_field(view_name: str) -> bytes:
    """Name the field in which Feast keeps the event time of a view."""
    return f"_ts:{view_name}".encode()


def feast_time(event_us: int) -> Timestamp:
    """Make an event time as Feast has it."""
    stamp = Timestamp()
    stamp.FromDatetime(from_us(event_us))
    return stamp


def read_feast_time(serialized: bytes) -> int:
    """Read an event time that Feast wrote: microseconds since the epoch."""
    stamp = Timestamp.FromString(serialized)
    return int(stamp.seconds * 1_000_000 + stamp.nanos // 1000)


def glob_literal(name: bytes) -> bytes:
    """Escape what SCAN would take for a pattern."""
    return re.sub(rb"([*?\[\]\\^])", rb"\\\1", name)


def is_whole(key: bytes, start: int, values: int) -> bool:
    """Tell whether an entity key is whole: else it is that of another project.

    `key` is what is left of an entry's name without the project. Its values, of which
    there are `values`, begin at `start`, behind the names of the join keys; each is a
    type, its length, and itself.
    """
    for _ in range(values):
        if len(key) < start + 8:
            return False
        start += 8 + int.from_bytes(key[start + 4 : start + 8], "little")
    return len(key) == start
