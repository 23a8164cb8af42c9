"""What a tag of an MP3 says that counts frames, by LAME (Xing, Info) or VBRI."""

from __future__ import annotations

import re
import struct
from functools import cache

COUNT_NAMES = (b"Xing", b"Info", b"VBRI")
"""What such a tag starts with."""

_COUNT = re.compile(b"|".join(COUNT_NAMES))
# Samples that LAME puts in front.
_USUAL_DELAY = 576


def declared(tag: bytes) -> tuple[int, int]:
    """Return the frames and the bytes that a counting tag declares; 0 for none."""
    match = _COUNT.search(tag)
    if match is None:
        return 0, 0
    if match.group() == b"VBRI":
        fields = tag[match.start() + 10 : match.start() + 18]
        return struct.unpack(">II", fields)[::-1] if len(fields) == 8 else (0, 0)
    fields = tag[match.start() + 4 : match.start() + 16].ljust(12, b"\0")
    flags, first, second = struct.unpack(">III", fields)
    n_frames = first if flags & 1 else 0
    n_bytes = (second if flags & 1 else first) if flags & 2 else 0
    return n_frames, n_bytes


def trimmed(tag: bytes, n_samples: int) -> tuple[int, int]:
    """Return the samples that an encoder put before and after a sound.

    Of a damaged tag, no more is believed than what LAME always writes: 576 samples
    before, and 576 to 576 and a frame of `n_samples` after.
    """
    match = _COUNT.search(tag)
    if match is None or match.group() == b"VBRI":
        return 0, 0
    flags = int.from_bytes(tag[match.start() + 4 : match.start() + 8], "big")
    sizes = (4, 4, 100, 4)
    start = match.start() + 8 + sum(n for i, n in enumerate(sizes) if flags >> i & 1)
    if len(tag) < start + 36 or not tag[start]:
        return 0, 0
    both = int.from_bytes(tag[start + 21 : start + 24], "big")
    delay, padding = both >> 12, both & 0xFFF
    if _is_intact(tag, start + 34):
        return delay, padding
    is_usual = _USUAL_DELAY <= padding < _USUAL_DELAY + n_samples
    return _USUAL_DELAY, padding if is_usual else 0


def _is_intact(tag: bytes, place: int) -> bool:
    """Whether a tag agrees with its checksum, if it has one, at some place."""
    stored = int.from_bytes(tag[place : place + 2], "big")
    if not stored or stored == _checksum(tag[:place]):
        return True
    # FFmpeg always hashes 190 bytes: those in front of the checksum in a stereo file.
    blank = tag[:place] + bytes(2) + tag[place + 2 :]
    return stored == _checksum(blank[:190].ljust(190, b"\0"))


def _checksum(data: bytes) -> int:
    """Return the CRC-16 of ARC, which LAME's tag uses."""
    table = _checksums()
    value = 0
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 255]
    return value


@cache
def _checksums() -> list[int]:
    """Return the checksum of each byte by itself."""
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (0xA001 if value & 1 else 0) for value in table]
    return table
