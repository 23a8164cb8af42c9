"""MP3 files that are what their first frame counts, as nearly all are."""

from __future__ import annotations

from typing import BinaryIO

from skmmrec.encoders._mpeg import Frame, n_side, read_header, tag_size
from skmmrec.encoders._mpeg_tags import COUNT_NAMES, declared, trimmed
from skmmrec.encoders._sound_parts import Part, bytes_at, size_of

# Bytes of a frame of layer III, at most: 320 kbit/s at 32 kHz, padded.
_LONGEST = 1441
_N_ID3V1 = 128


def plain_mp3(file: BinaryIO) -> Part | None:
    """Return an MP3 as it is, if its first frame counts all others, and trims them.

    That is so of nearly all, and spares a list of the frames, and a copy with a new
    count. The frames are led through once, as the decoder goes on where one is damaged.

    Returns None if the file is anything else than frames of layer III in a row, perhaps
    between tags, the first of which says how many there are and what an encoder has put
    around the sound.
    """
    start, n_bytes = tag_size(bytes_at(file, 0, 10)), size_of(file)
    if bytes_at(file, max(n_bytes - _N_ID3V1, 0), 3) == b"TAG":
        n_bytes -= _N_ID3V1
    head = bytes_at(file, start, _LONGEST)
    first = read_header(head[:4])
    if first is None or first.layer < 3:
        return None
    tag, place = head[: first.n_bytes], 4 + n_side(first)
    n_frames, n_counted = declared(tag)
    trims = trimmed(tag, first.n_samples)
    is_count = tag[place : place + 4] in COUNT_NAMES and not any(tag[4:place])
    if not is_count or n_counted != n_bytes - start or not any(trims):
        return None
    if _n_in_a_row(bytes_at(file, start, n_counted), first) != n_frames + 1:
        return None
    n_samples = n_frames * first.n_samples - sum(trims)
    return Part(file, n_samples, n_samples, n_samples / first.rate)


def _n_in_a_row(data: bytes, first: Frame) -> int:
    """Return how many frames of one kind these bytes are, to the end; 0 if others."""
    sizes = _Sizes(first.kind)
    position = n_frames = 0
    while n_bytes := sizes[data[position : position + 4]]:
        position += n_bytes
        n_frames += 1
    return n_frames if position == len(data) else 0


class _Sizes(dict[bytes, int]):
    """Bytes of the frames that headers start, 0 for those of another kind."""

    def __init__(self, kind: tuple[int, ...]) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, head: bytes) -> int:
        frame = read_header(head)
        is_one = frame is not None and frame.kind == self._kind
        self[head] = n_bytes = frame.n_bytes if frame is not None and is_one else 0
        return n_bytes
