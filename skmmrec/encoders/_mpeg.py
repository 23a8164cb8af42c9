"""Find the frames of MPEG audio (MP3 and its elder layers), whatever is declared.

A stream is one frame after the other, with tags before, between and after them. What
its first frame or a tag says about lengths is a hint: the frames are counted. The
decoder gets each recording of a file by itself, with a count that is right.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from skmmrec.encoders._mpeg_tags import COUNT_NAMES, declared, trimmed
from skmmrec.encoders._sound_parts import Part, bytes_at, size_of
from skmmrec.runtime import ContentError

# In kbit/s, of layers I, II and III: of MPEG 1, then of MPEG 2 and 2.5. ISO 11172-3.
_BITRATES = {
    (1, 1): [*range(32, 449, 32)],
    (1, 2): [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    (1, 3): [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    (2, 1): [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    (2, 2): [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    (2, 3): [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
_RATES = [44_100, 48_000, 32_000]
# Bytes per second at the highest bitrate, that of layer I.
_FASTEST = 448_000 // 8
# Frames that must follow one another before a first one is believed: each has 20 bits
# in common with the others.
_CHAIN = 4
# Bytes beyond the frames that are read at once: tags, and frames for the decoder to
# warm up. If a picture takes more, the whole file is read.
_SLACK = 2**20
# Frames that are looked at together: 7 s of a compact disc. Not tuned.
_IN_A_ROW = 256
# How far from its frame's start the tag that counts frames may be: after the header,
# a checksum and the side information, of 32 bytes at most.
_COUNT_WITHIN = 48
_SYNC = re.compile(rb"\xff[\xe2-\xff]")
_TAG = re.compile(rb"ID3[\x02-\x04]|TAG|APETAGEX|LYRICSBEGIN|3DI")
# A tag behind the rest of a frame, or a count in a frame that is damaged: both names
# may also stand in a picture or a text, but hardly with the bytes that follow them.
_LATE_TAG = re.compile(rb"ID3[\x02-\x04]\x00")
_LATE_COUNT = re.compile(rb"(Xing|Info)(?=\x00\x00\x00[\x00-\x0f])|VBRI(?=\x00\x01)")


class Frame(NamedTuple):
    """What a frame's header says."""

    n_bytes: int
    n_samples: int
    rate: int
    kind: tuple[int, ...]
    """Equal for frames that one decoder can read in a row."""

    @property
    def layer(self) -> int:
        """1, 2 or 3."""
        return self.kind[1]


Frames = list[tuple[int, Frame]]
"""Where frames start, and what they are."""


@dataclass
class Recording:
    """Frames of one kind that belong together, and what the tag before them says."""

    count_tag: bytes = b""
    start: int = 0
    frames: Frames = field(default_factory=list)

    @property
    def n_samples(self) -> int:
        """The samples per channel of all frames, of which each has as many."""
        return len(self.frames) * self.frames[0][1].n_samples

    @property
    def has_gaps(self) -> bool:
        """Whether there are bytes between two frames."""
        n_bytes = sum([frame.n_bytes for _, frame in self.frames])
        return n_bytes < self.end - self.frames[0][0]

    @property
    def end(self) -> int:
        """Where the last frame ends."""
        position, frame = self.frames[-1]
        return position + frame.n_bytes


def mpeg_parts(file: BinaryIO, max_duration: float, within: int = 0) -> list[Part]:
    """Return each recording of a file of MPEG audio as a file of its own.

    `max_duration` is how much is needed, and `within` how many bytes may precede the
    first frame (0: any number). Without frames there are no parts. A ContentError says
    that there are fewer frames than a recording counts.
    """
    n_bytes = size_of(file)
    if within and _next_frame(bytes_at(file, 0, 2 * within), 0) >= within:
        return []
    n_read = tag_size(bytes_at(file, 0, 10)) + _SLACK + _FASTEST * max_duration
    data = bytes_at(file, 0, int(min(n_read, n_bytes)))
    recordings, is_enough = _recordings(data, max_duration)
    if not is_enough and len(data) < n_bytes:
        data = bytes_at(file, 0, n_bytes)
        recordings, is_enough = _recordings(data, max_duration)
    for recording in recordings[:-1] if is_enough else recordings:
        _require_whole(recording)
    last = recordings[-1] if is_enough else None
    return [_as_part(data, one, is_cut=one is last) for one in recordings]


def tag_size(head: bytes) -> int:
    """Return the bytes that an ID3v2 tag says to take, by its first 10; 0 for none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    sevens = zip(head[6:10], (21, 14, 7, 0), strict=True)
    n_footer = 10 if head[3] == 4 and head[5] & 0x10 else 0
    return 10 + n_footer + sum((byte & 127) << shift for byte, shift in sevens)


@lru_cache(4096)
def read_header(head: bytes) -> Frame | None:
    """Return what 4 bytes say; None if they are no header of a frame."""
    header = int.from_bytes(head, "big")
    if header >> 21 != 0x7FF:
        return None
    version = {3: 1, 2: 2, 0: 25}.get(header >> 19 & 3)
    layer = 4 - (header >> 17 & 3)
    i_bitrate, i_rate = header >> 12 & 15, header >> 10 & 3
    if version is None or layer == 4 or i_bitrate in (0, 15) or i_rate == 3:
        return None
    if header & 3 == 2:  # an emphasis that does not exist
        return None
    bitrate = 1000 * _BITRATES[min(version, 2), layer][i_bitrate - 1]
    rate = _RATES[i_rate] // {1: 1, 2: 2, 25: 4}[version]
    slot = 4 if layer == 1 else 1
    n_samples = 384 if layer == 1 else 576 if layer == 3 and version > 1 else 1152
    n_slots = n_samples // 8 * bitrate // rate // slot + (header >> 9 & 1)
    is_mono = header >> 6 & 3 == 3
    return Frame(n_slots * slot, n_samples, rate, (version, layer, i_rate, is_mono))


def _frame_at(data: bytes, position: int) -> Frame | None:
    return read_header(data[position : position + 4])


def _is_chain(data: bytes, position: int) -> bool:
    """Whether frames of one kind follow one another, or lead to a tag or the end."""
    kind = None
    for i in range(_CHAIN):
        frame = _frame_at(data, position)
        if frame is None or frame.kind != (kind or frame.kind):
            return False
        kind = frame.kind
        position += frame.n_bytes
        if position >= len(data) or _TAG.match(data, position):
            return position <= len(data) or i > 0
    return True


def _next_frame(data: bytes, position: int) -> int:
    """Return where the next chain of frames starts, or the end."""
    for match in _SYNC.finditer(data, position):
        if _is_chain(data, match.start()):
            return match.start()
    return len(data)


def _after_tags(data: bytes, start: int) -> int:
    """Return where frames start behind tags that start here; 0 if none do."""
    if data[start] != ord("I"):  # looked at for each frame, so it must not take long
        return 0
    position = start
    while n_bytes := tag_size(data[position : position + 10]):
        position += n_bytes
    return position if position > start and _is_chain(data, position) else 0


def _pieces(data: bytes) -> Iterator[tuple[int, int, Frames]]:
    """Yield where frames of one kind in a row start and end, and what is between."""
    position, before = 0, None
    while position < len(data):
        if frames_start := _after_tags(data, position):
            # A tag may contain a sound, whose frames do not count.
            yield position, position + 3, []
            position, before = frames_start, None
        frame = _frame_at(data, position)
        follows = frame is not None and before is not None and frame.kind == before.kind
        frames: Frames = []
        if frame is None or not (follows or _is_chain(data, position)):
            end, frame = _next_frame(data, position + 1), None
        else:
            end, frames = _in_a_row(data, position, frame)
            if not frames:  # the last one is cut off
                return
        yield position, end, frames
        position, before = end, frame


def _in_a_row(data: bytes, position: int, frame: Frame) -> tuple[int, Frames]:
    """Return where whole frames of one kind end, one after the other, and them."""
    frames: Frames = []
    # Frames differ in a few bits: each header is read once.
    known: dict[bytes, Frame | None] = {}
    following: Frame | None = frame
    n_bytes = len(data)
    while following is not None and len(frames) < _IN_A_ROW:
        end = position + following.n_bytes
        if end > n_bytes:
            break
        frames.append((position, following))
        position, head = end, data[end : end + 4]
        if head not in known:
            known[head] = _of_kind(frame.kind, head)
        following = known[head]
    return position, frames


def _of_kind(kind: tuple[int, ...], head: bytes) -> Frame | None:
    """Return what a header says, if its frame is of a kind."""
    frame = read_header(head)
    return frame if frame is not None and frame.kind == kind else None


def _recordings(data: bytes, max_duration: float) -> tuple[list[Recording], bool]:
    """Return the recordings, and whether they are long enough before the end."""
    found = [Recording()]
    # A second more: decoders need frames before those that they give.
    seconds = max_duration + 1
    for start, end, frames in _pieces(data):
        if not frames:
            count = _LATE_COUNT.search(data, start, end)
            # The tag of a damaged frame starts at most 36 bytes before the count.
            tag_start = max(start, count.start() - 36) if count else end
            if count or _TAG.match(data, start) or _LATE_TAG.search(data, start, end):
                found.append(Recording(data[tag_start:end], tag_start))
        for is_count, group in _apart_from_counts(data, frames):
            if is_count:
                found += [Recording(data[p : p + f.n_bytes], p) for p, f in group]
                continue
            first = group[0]
            if found[-1].frames and found[-1].frames[-1][1].kind != first[1].kind:
                found.append(Recording(start=first[0]))
            each = first[1].n_samples / first[1].rate
            n_needed = int(min(seconds / each, len(group))) + 1
            found[-1].frames += group[:n_needed]
            if n_needed <= len(group):
                return [one for one in found if one.frames], True
            seconds -= len(group) * each
    return [one for one in found if one.frames], False


def _apart_from_counts(data: bytes, frames: Frames) -> Iterator[tuple[bool, Frames]]:
    """Yield frames in order: each that holds a tag which counts, and those between."""
    start = 0
    for place in _places_of_counts(data, frames):
        if start < place:
            yield False, frames[start:place]
        yield True, [frames[place]]
        start = place + 1
    if start < len(frames):
        yield False, frames[start:]


def _places_of_counts(data: bytes, frames: Frames) -> list[int]:
    """Return which frames hold a tag that counts, in order."""
    # To look at all together takes a tenth of the time.
    heads = b"".join([data[p : p + _COUNT_WITHIN] for p, _ in frames])
    found = set()
    for name in COUNT_NAMES:
        position = heads.find(name)
        while position >= 0:
            if position % _COUNT_WITHIN <= _COUNT_WITHIN - len(name):
                found.add(position // _COUNT_WITHIN)
            position = heads.find(name, position + 1)
    return sorted(found)


def _require_whole(recording: Recording) -> None:
    """Raise if frames are missing: fewer than counted, and fewer bytes too.

    Some count the frame of the tag as well. Where bytes of no frame are in between, a
    frame was damaged.
    """
    n_frames, n_bytes = declared(recording.count_tag)
    found = len(recording.frames)
    length = recording.end - recording.start
    # A frame more or less: some do not count the frame of the tag.
    is_whole = n_bytes and abs(length - n_bytes) <= len(recording.count_tag)
    if found < n_frames and recording.has_gaps:
        raise ContentError(f"is damaged: {found} of {n_frames} frames can be read")
    if found < n_frames - 1 and not is_whole:
        raise ContentError(f"is cut off: {found} of {n_frames} frames are there")


def _as_part(data: bytes, recording: Recording, is_cut: bool) -> Part:
    """Return a recording as a file that counts its frames."""
    frames = recording.frames
    seconds = recording.n_samples / frames[0][1].rate
    joined: bytes | memoryview = memoryview(data)[frames[0][0] : recording.end]
    if recording.has_gaps:
        joined = b"".join([data[p : p + frame.n_bytes] for p, frame in frames])
    if frames[0][1].layer < 3:  # mpg123 estimates its length by the first frame
        n_missing = len(frames) * frames[0][1].n_bytes - len(joined)
        last = data[frames[-1][0] : recording.end]
        copies = last * -(-n_missing // len(last))
        file = io.BytesIO(b"".join((joined, copies)))
        return Part(file, n_most=recording.n_samples, seconds=seconds)
    delay, padding = trimmed(recording.count_tag, frames[0][1].n_samples)
    trims = (delay, 0 if is_cut else padding) if delay or padding else None
    first = data[frames[0][0] : frames[0][0] + 4]
    counting = _counting_frame(first, len(frames), trims)
    file = io.BytesIO(b"".join((counting, joined)))
    return Part(file, seconds=seconds)


def _counting_frame(
    first: bytes, n_frames: int, trims: tuple[int, int] | None
) -> bytes:
    """Return a frame of layer III that counts the frames which follow it."""
    header = int.from_bytes(first, "big") | 1 << 16  # without a checksum
    header &= ~(0xF << 12 | 1 << 9)
    headers = (header | i_bitrate << 12 for i_bitrate in range(1, 15))
    heads = (each.to_bytes(4, "big") for each in headers)
    sized = ((each, read_header(each)) for each in heads)
    # Side information, tag and LAME's part of it take up to 32 + 12 + 36 bytes; mpg123
    # wants room for a table of 100 more.
    chosen, frame = next((h, f) for h, f in sized if f and f.n_bytes >= 192)
    tag = struct.pack(">4sII", b"Info", 1, n_frames)
    if trims is not None:
        delays = (trims[0] << 12 | trims[1]).to_bytes(3, "big")
        tag += b"LAME3.100" + bytes(12) + delays
    content = chosen + bytes(n_side(frame)) + tag
    return content.ljust(frame.n_bytes, b"\0")


def n_side(frame: Frame) -> int:
    """Return the bytes of side information in a frame of layer III."""
    version, _, _, is_mono = frame.kind
    return {(1, 0): 32, (1, 1): 17, (2, 0): 17, (2, 1): 9}[min(version, 2), is_mono]
