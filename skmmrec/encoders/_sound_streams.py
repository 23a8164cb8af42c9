"""Find the recordings of FLAC and Ogg files: one or several, behind any metadata.

Both formats mark where things start, and these marks are followed. The sizes of
pictures and comments, and the length that a FLAC declares, are believed only where
frames say the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache
from typing import BinaryIO, NamedTuple

import numpy as np

from skmmrec.encoders._sound_parts import (
    Part,
    bytes_at,
    few_recordings,
    size_of,
    spliced,
)
from skmmrec.runtime import ContentError

# A FLAC starts with its name and the header of its 34 bytes of stream information.
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL)
_N_FLAC = 4 + 4 + 34
_FLAC_FRAME = re.compile(rb"\xff[\xf8\xf9]")
# Blocks of metadata that are looked at: files have dozens.
_MOST_BLOCKS = 1000
# Pieces in which a file is searched for marks, and for the start of a FLAC in it:
# small ones stay in the processor's cache, and their memory is not asked for anew.
_PIECE = 2**22
_FIRST_PIECE = 2**10
_SMALL_PIECE = 2**18
# In Hz, by their codes; 0 stands for what the stream information says.
_FLAC_RATES = [0, 88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000]
_FLAC_RATES += [44_100, 48_000, 96_000]
_FLAC_BITS = (0, 8, 12, -1, 16, 20, 24, 32)
# The end of a file in which its last frame is looked for, and the start of another
# recording: frames of 4,096 samples in stereo have 16 KiB, and decoders of FLAC are 8
# KiB ahead of what they give.
_TAIL = 2**15
# An ID3v1 tag, which some programs put behind any file.
_N_ID3V1 = 128


class Format(NamedTuple):
    """A sound's format; 0 for what is not known."""

    rate: int
    n_channels: int
    n_bits: int


def plain_flac(file: BinaryIO) -> Part | None:
    """Return a FLAC as it is, if all that it declares seems to be true.

    That is so of nearly all, and spares a search of the whole file, and a copy with a
    new header. What stands in the middle is not looked at: it is for the decoder to
    reach the end of the file with the last sample.

    Returns None if the file is anything else than a header, metadata and frames, the
    last of which ends with the declared length.
    """
    head = bytes_at(file, 0, _N_FLAC)
    if not _FLAC.match(head):
        return None
    declared, n_declared = _declared_format(head[8:]), _declared_length(head[8:])
    first = bytes_at(file, _metadata_end(file, 4), 16)
    if not _is_frame_of(first, declared) or first[4]:
        return None
    if not n_declared or _n_until_end(file, declared, first) != n_declared:
        return None
    return Part(file, n_declared, n_declared, n_declared / declared.rate)


def _n_until_end(file: BinaryIO, declared: Format, first: bytes) -> int:
    """Return the number of samples by the last frame of a file; 0 if none is found.

    It starts with the same two bytes as the first.
    """
    n_bytes = size_of(file)
    tail = bytes_at(file, max(n_bytes - _TAIL, 0), _TAIL)
    if tail.rfind(b"fLaC", 1) > 0:  # takes half the time of `find`
        return 0
    position = len(tail)
    while (position := tail.rfind(first[:2], 0, position)) >= 0:
        head = tail[position : position + 16]
        if _is_frame_of(head, declared):
            # Frames of any length are numbered by samples, others by frames.
            n_in_unit = 1 if head[1] & 1 else _n_in_frame(first)
            return n_in_unit * _frame_number(head) + _n_in_frame(head)
    return 0


def _is_frame_of(head: bytes, declared: Format) -> bool:
    coded = _frame_format(head)
    return coded is not None and _agree(coded, declared)


def _frame_number(head: bytes) -> int:
    """Return the number in a frame's header, which is coded as UTF-8 codes letters."""
    n_more = _n_number(head) - 1
    value = head[4] & (127 >> n_more + 1 if n_more else 127)
    for byte in head[5 : 5 + n_more]:
        value = value << 6 | byte & 63
    return value


def _n_number(head: bytes) -> int:
    """Return the bytes of the number in a frame's header."""
    return 1 if head[4] < 128 else 8 - (head[4] ^ 255).bit_length()


def _n_in_frame(head: bytes) -> int:
    """Return the samples of a frame by its header."""
    code = head[2] >> 4
    if code in (6, 7):
        start = 4 + _n_number(head)
        return 1 + int.from_bytes(head[start : start + code - 5], "big")
    return 192 if code == 1 else (144 if code < 6 else 1) << code


def flac_parts(file: BinaryIO) -> list[Part]:
    """Return each recording of a FLAC file, without its metadata; none of others.

    Raises ContentError if there is no frame of samples.
    """
    n_bytes = size_of(file)
    if bytes_at(file, max(n_bytes - _N_ID3V1, 0), 3) == b"TAG":
        n_bytes -= _N_ID3V1
    starts = few_recordings(_flac_starts(file, n_bytes))
    ends = [*starts, n_bytes][1:]
    return [_flac_part(file, *span) for span in zip(starts, ends, strict=True)]


def _flac_starts(file: BinaryIO, n_bytes: int) -> Iterator[int]:
    """Yield where a FLAC starts."""
    for start in range(0, n_bytes, _SMALL_PIECE):
        piece = bytes_at(file, start, _SMALL_PIECE + 16)
        for position in _pairs(piece, b"fL"):
            is_here = position < min(_SMALL_PIECE, n_bytes - start)
            if is_here and _FLAC.match(piece, position):
                yield start + position


def _pairs(data: bytes, pair: bytes) -> list[int]:
    """Return where two bytes stand, in order.

    NumPy compares whole pairs, and without the interpreter. `bytes.find` takes five
    times as long and keeps other threads waiting.
    """
    number = int.from_bytes(pair, "little")
    found: list[int] = []
    for shift in (0, 1):
        n_pairs = (len(data) - shift) // 2
        if n_pairs > 0:
            pairs = np.frombuffer(data, "<u2", n_pairs, shift)
            found.extend(shift + 2 * np.flatnonzero(pairs == number))
    return sorted(map(int, found))


def _flac_part(file: BinaryIO, start: int, end: int) -> Part:
    information = bytes_at(file, start + 8, 34)
    first = _first_frame(file, start + _N_FLAC, end, _declared_format(information))
    if first is None:
        raise ContentError("is not a readable sound: it has no frame of samples")
    position, coded = first
    header = b"fLaC\x80\x00\x00\x22" + _open_information(information, coded)
    n_declared = _declared_length(information)
    seconds = n_declared / (coded.rate or _declared_format(information).rate or 1)
    whole = spliced(header, file, position, end)
    return Part(whole, n_declared, seconds=seconds or math.inf)


def _declared_format(information: bytes) -> Format:
    bits = int.from_bytes(information[10:14], "big")
    return Format(bits >> 12, (bits >> 9 & 7) + 1, (bits >> 4 & 31) + 1)


def _declared_length(information: bytes) -> int:
    """Return the samples per channel; 0 if that is not known."""
    return int.from_bytes(information[13:18], "big") & (2**36 - 1)


def _open_information(information: bytes, coded: Format) -> bytes:
    """Return stream information without a length, of the format of the frames.

    Without sizes of blocks as well: libFLAC needs none.
    """
    rate, n_channels, n_bits = (
        own or declared
        for own, declared in zip(coded, _declared_format(information), strict=True)
    )
    bits = rate << 44 | n_channels - 1 << 41 | n_bits - 1 << 36
    return b"\x00\x10\xff\xff" + bytes(6) + bits.to_bytes(8, "big") + bytes(16)


def _first_frame(
    file: BinaryIO, start: int, end: int, declared: Format
) -> tuple[int, Format] | None:
    """Return where frames start, and their format.

    The first frame of a file has number 0. One that was cut from a stream begins with
    another; it is then the one that has the declared format.
    """
    later = None
    for position in _marks_between(file, start, end):
        head = bytes_at(file, position, 16)
        coded = _frame_format(head)
        if coded is None:
            continue
        if not head[4]:
            return position, coded
        if later is None and _agree(coded, declared):
            later = position, coded
            if _metadata_end(file, start - 38) == position:
                break
    return later


def _marks_between(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Yield where frames may start: where metadata ends, if that is so, or later."""
    landed = _metadata_end(file, start - 38)
    head = bytes_at(file, landed, 16)
    if landed < end and _frame_format(head) and not head[4]:
        yield landed
    for match in _FLAC_FRAME.finditer(
        bytes_at(file, start, min(end - start, 4 * _PIECE))
    ):
        yield start + match.start()


def _metadata_end(file: BinaryIO, position: int) -> int:
    """Return where blocks of metadata end, by their declared sizes."""
    for _ in range(_MOST_BLOCKS):
        head = bytes_at(file, position, 4)
        position += 4 + int.from_bytes(head[1:], "big")
        if len(head) < 4 or head[0] & 128:
            break
    return position


def _agree(coded: Format, declared: Format) -> bool:
    pairs = zip(coded, declared, strict=True)
    return all(own in (0, other) for own, other in pairs)


def _frame_format(head: bytes) -> Format | None:
    """Return the format of a FLAC frame; None if these bytes do not start one."""
    if len(head) < 6 or head[:2] not in (b"\xff\xf8", b"\xff\xf9"):
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    channels, bits = head[3] >> 4, _FLAC_BITS[head[3] >> 1 & 7]
    if not size_code or rate_code == 15 or channels > 10 or bits < 0 or head[3] & 1:
        return None
    n_size = {6: 1, 7: 2}.get(size_code, 0)
    n_rate = {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    end = 4 + _n_number(head) + n_size + n_rate
    if end >= len(head) or _checksum(head[:end]) != head[end]:
        return None
    value = int.from_bytes(head[end - n_rate : end], "big")
    coded = {12: 1000 * value, 13: value, 14: 10 * value}
    rate = coded[rate_code] if n_rate else _FLAC_RATES[rate_code]
    return Format(rate, channels + 1 if channels < 8 else 2, bits)


def _checksum(data: bytes) -> int:
    """Return the CRC-8 of FLAC's headers, of polynomial 7."""
    table = _checksums()
    value = 0
    for byte in data:
        value = table[value ^ byte]
    return value


@cache
def _checksums() -> list[int]:
    """Return the checksum of each byte by itself."""
    table = list(range(256))
    for _ in range(8):
        table = [(value << 1 ^ (7 if value & 128 else 0)) & 255 for value in table]
    return table


def ogg_parts(file: BinaryIO) -> list[Part]:
    """Return each link of an Ogg file, which may be several files joined."""
    n_bytes = size_of(file)
    starts = few_recordings(_ogg_starts(file, n_bytes))
    if len(starts) == 1:
        return [Part(file)]
    ends = [*starts[1:], n_bytes]
    spans = zip(starts, ends, strict=True)
    return [Part(spliced(b"", file, *span)) for span in spans]


def _ogg_starts(file: BinaryIO, n_bytes: int) -> Iterator[int]:
    """Yield where a link starts, the first at the beginning."""
    yield 0
    in_header = True
    for position, is_first in _pages(file, n_bytes):
        if is_first and not in_header:
            yield position
        in_header = is_first


def _pages(file: BinaryIO, n_bytes: int) -> Iterator[tuple[int, bool]]:
    """Yield where each page starts, and whether it is the first of a stream."""
    position = 0
    while position + 27 <= n_bytes:
        head = bytes_at(file, position, 27 + 255)
        if head[:4] != b"OggS":
            position = _next_page(file, position + 1, n_bytes)
            continue
        yield position, bool(head[5] & 2)
        position += 27 + head[26] + sum(head[27 : 27 + head[26]])


def _next_page(file: BinaryIO, position: int, n_bytes: int) -> int:
    """Return where the next page starts; mostly it is near, so little is read first."""
    size = _FIRST_PIECE
    while size <= _PIECE:
        found = bytes_at(file, position, size).find(b"OggS")
        if found >= 0:
            return position + found
        size *= 16
    return n_bytes
