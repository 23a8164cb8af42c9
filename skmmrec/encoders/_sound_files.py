"""Decode files of sounds, by libsndfile or, where it cannot, by FFmpeg."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import cache
from typing import Any, BinaryIO

import numpy as np

from skmmrec.encoders._containers import modest_rate, read_sound_stream
from skmmrec.encoders._mixing import BLOCK, Mixer
from skmmrec.encoders._mpeg import mpeg_parts, tag_size
from skmmrec.encoders._plain_mp3 import plain_mp3
from skmmrec.encoders._sound_chunks import chunked_parts, layout_of, sun_part
from skmmrec.encoders._sound_memory import descriptor
from skmmrec.encoders._sound_parts import Part, bytes_at, size_of, spliced
from skmmrec.encoders._sound_streams import flac_parts, ogg_parts, plain_flac
from skmmrec.runtime import ContentError, open_file, reading

# Values per read, 1 MiB. libsndfile fills what it cannot read with zeros: with 2**20, a
# WAV of 5 s took 4 times as long as without blocks; less than 2**18 gains nothing.
_AT_ONCE = 2**18
# Samples for which room is made by what a file declares: two minutes. More is made as
# they come.
_MOST_ROOM = 2**22
# Seconds behind those that are wanted: a file of so many more is read as a whole.
_BEYOND = 1
# Formats whose samples stand one by one in the file, and the integers that hold them in
# full: libsndfile shifts them to the top.
_PLAIN_FORMATS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"}
_INTEGERS: dict[str, type[np.signedinteger]] = {
    **dict.fromkeys(("PCM_S8", "PCM_U8", "PCM_16"), np.int16),
    **dict.fromkeys(("PCM_24", "PCM_32"), np.int32),
}
# An MP3 whose first frames are damaged still is one; other files hold frames too.
_DAMAGED = 4096


def read_file(item: Any, max_duration: float) -> tuple[np.ndarray, int]:
    """Return the mono waveform of a file, from its start, and its rate.

    No more than `max_duration` is decoded, whatever the file declares. Returns n
    numbers, float32, and the rate in Hz: that of the first recording, if a file joins
    several. A ContentError says that the file is damaged, cut off, or not a sound.
    """
    is_path = isinstance(item, str | os.PathLike)
    with (
        open_file(item) if is_path else io.BytesIO(item) as file,
        reading("is not a readable sound"),
    ):
        return _join(_waveforms(file, max_duration), max_duration)


def _join(
    waveforms: Iterator[tuple[np.ndarray, int]], max_duration: float
) -> tuple[np.ndarray, int]:
    """Put recordings one after the other, at the rate of the first."""
    joined: list[np.ndarray] = []
    rate, n_missing = 0, 0
    for waveform, own_rate in waveforms:
        if not rate:
            rate, n_missing = own_rate, n_samples(max_duration, own_rate)
        if own_rate != rate:
            modest_rate(rate)  # or else a few samples would become any number
        waveform = resample(waveform, own_rate, rate)[:n_missing]
        joined.append(waveform)
        n_missing -= len(waveform)
        if n_missing <= 0:
            break
    if not sum(map(len, joined)):
        raise ContentError("holds no samples")
    return joined[0] if len(joined) == 1 else np.concatenate(joined), rate


def n_samples(seconds: float, rate: float) -> int:
    """Return the samples in some seconds, which may be infinitely many."""
    return int(min(seconds * rate, 2.0**62))


def resample(waveform: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Return a waveform at another rate."""
    if own_rate == rate:
        return waveform
    import soxr

    return soxr.resample(waveform, own_rate, rate)


def _waveforms(file: BinaryIO, max_duration: float) -> Iterator[tuple[np.ndarray, int]]:
    decoded = _decode_plain(file, max_duration)
    if decoded:
        yield decoded
        return
    for part in _parts(file, max_duration):
        part.file.seek(0)
        yield _decode(part, max_duration)


def _parts(file: BinaryIO, max_duration: float) -> list[Part]:
    """Return the recordings of a file, by the bytes that it starts with."""
    known = _marked_parts(file, max_duration)
    if known:
        return known
    head = bytes_at(file, 0, 10)
    if head[:3] != b"ID3":
        return mpeg_parts(file, max_duration, within=_DAMAGED) or [Part(file)]
    rest = spliced(b"", file, tag_size(head), size_of(file))
    known = _marked_parts(rest, max_duration) or mpeg_parts(file, max_duration)
    return known or flac_parts(file) or [Part(file)]


def _marked_parts(file: BinaryIO, max_duration: float) -> list[Part]:
    """Return the recordings of a file that starts with its format's name, or none."""
    head = bytes_at(file, 0, 40)
    layout = layout_of(head)
    if layout is not None:
        return chunked_parts(file, layout, max_duration)
    if head[:4] in (b".snd", b"dns."):
        return [sun_part(file)]
    if head[:4] == b"OggS":
        return ogg_parts(file)
    return flac_parts(file) if head[:4] == b"fLaC" else []


def _decode_plain(file: BinaryIO, max_duration: float) -> tuple[np.ndarray, int] | None:
    """Return what a file holds that is what it declares; None for any other.

    None as well if anything is wrong: what it is turns out part by part.
    """
    part = plain_flac(file)
    if part is not None:
        return _decode_to_end(part, max_duration)
    part = plain_mp3(file)
    if part is None or part.seconds > max_duration:
        return None
    decoded = _decode_to_end(part._replace(n_most=2**62), max_duration)
    is_counted = decoded is not None and len(decoded[0]) == part.n_declared
    return decoded if is_counted else None


def _decode_to_end(part: Part, max_duration: float) -> tuple[np.ndarray, int] | None:
    """Return what `_decode` does, if the file ends with the last sample."""
    with descriptor(part.file, _is_needed(part, max_duration)) as number:
        stream = None if number is None else _opened(number)
        if number is None or stream is None:
            return None
        try:
            waveform, rate = _from_stream(stream, part, max_duration)
        except ContentError:
            return None
        is_end = os.lseek(number, 0, os.SEEK_CUR) == os.fstat(number).st_size
        return (waveform, rate) if is_end or len(waveform) < part.n_most else None


def _is_needed(part: Part, max_duration: float) -> bool:
    """Whether all of a part is to be read, or nearly so."""
    return part.seconds <= max_duration + _BEYOND


def _decode(part: Part, max_duration: float) -> tuple[np.ndarray, int]:
    """Return the mono waveform of one recording, and its rate."""
    with descriptor(part.file, _is_needed(part, max_duration)) as number:
        stream = None if number is None else _opened(number)
        if stream is not None:
            return _from_stream(stream, part, max_duration)
    part.file.seek(0)
    try:
        stream = _forward_reader()(part.file)
    except Exception as error:  # libsndfile's, or those of its callbacks
        part.file.seek(0)
        return read_sound_stream(part.file, max_duration, error)
    return _from_stream(stream, part, max_duration)


def _opened(number: int) -> Any:
    """Return a stream; None if libsndfile cannot read it, as it will say once more."""
    import soundfile

    try:
        return _forward_reader()(number, closefd=False)
    except soundfile.LibsndfileError:
        return None


def _from_stream(
    stream: Any, part: Part, max_duration: float
) -> tuple[np.ndarray, int]:
    with stream:
        n_wanted = min(n_samples(max_duration, stream.samplerate), part.n_most)
        return _read(stream, n_wanted, part), stream.samplerate


@cache
def _forward_reader() -> Any:
    """Return a `SoundFile` that reads on until nothing comes.

    `SoundFile.read` stops at the declared length and seeks after each read, which a
    FLAC of unknown length does not bear, unless the file says that it cannot seek.
    """
    import soundfile

    class ForwardReader(soundfile.SoundFile):
        def seekable(self) -> bool:
            return False

    return ForwardReader


def _read(stream: Any, n_wanted: int, part: Part) -> np.ndarray:
    """Return the mono waveform of up to `n_wanted` samples per channel."""
    blocks, n_read = _Blocks(stream, part), 0
    mixer = Mixer(is_bounded=stream.subtype in _INTEGERS)
    mixed = _Waveform(min(n_wanted, part.n_declared or stream.frames))
    while n_read < n_wanted:
        room = mixed.room(blocks.size(n_read, n_wanted - n_read))
        block = blocks.next(n_read, room)
        if not len(block):
            break
        mixer.mix(block, room[: len(block)])
        mixed.length += len(block)
        n_read += len(block)
    if n_read < min(n_wanted, part.n_declared):
        raise ContentError(
            f"is cut off: {n_read} of {part.n_declared} samples are there"
        )
    return mixed.values


class _Blocks:
    """Blocks of a stream's samples, of shape (n, n_channels), float32.

    Integers are read as such and scaled here, with the same result to the bit: NumPy
    takes a fifth of the time of libsndfile, which converts them one by one. Decoders of
    other formats scale what they copy anyhow.
    """

    def __init__(self, stream: Any, part: Part) -> None:
        self._stream = stream
        self._part = part
        self._n_most = max(_AT_ONCE // stream.channels // BLOCK, 1) * BLOCK
        shape = (self._n_most, stream.channels)
        is_mono = stream.channels == 1
        self._floats = None if is_mono else np.empty(shape, np.float32)
        integers = _INTEGERS.get(stream.subtype)
        is_plain = integers is not None and stream.format in _PLAIN_FORMATS
        self._integers = np.empty(shape, integers) if is_plain else None

    def size(self, n_read: int, n_wanted: int) -> int:
        """Return how many samples behind `n_read` are asked for next, at the most."""
        n_next = _expected(self._stream, self._part, n_read)
        return min(n_next, self._n_most, n_wanted)

    def next(self, n_read: int, room: np.ndarray) -> np.ndarray:
        """Return at most as many samples behind `n_read` as there is room for.

        None at the end. They are valid until the next ones are asked for. A single
        channel lies in the room.
        """
        floats = room[:, None] if self._floats is None else self._floats[: len(room)]
        buffer = floats if self._integers is None else self._integers[: len(room)]
        block = _read_block(self._stream, buffer, self._part, n_read)
        if self._integers is None:
            return block
        scale = np.float32(2.0 ** (1 - 8 * block.itemsize))  # full scale is 1
        floats = floats[: len(block)]
        return np.multiply(block, scale, floats, dtype="f4", casting="same_kind")


class _Waveform:
    """A waveform that grows; its expected length is a hint."""

    def __init__(self, n_expected: int) -> None:
        # A block more, in which to find that nothing follows.
        self._memory = np.empty(min(n_expected, _MOST_ROOM) + BLOCK, np.float32)
        self.length = 0

    def room(self, n_more: int) -> np.ndarray:
        """Return memory for the samples that follow."""
        end = self.length + n_more
        if end > len(self._memory):
            memory = np.empty(2 * end, np.float32)
            memory[: self.length] = self._memory[: self.length]
            self._memory = memory
        return self._memory[self.length : end]

    @property
    def values(self) -> np.ndarray:
        """The waveform, without room for more if that is much."""
        values = self._memory[: self.length]
        return values if 2 * self.length > len(self._memory) else values.copy()


def _expected(stream: Any, part: Part, n_read: int) -> int:
    """Return how many samples are to be read next; behind those declared, a block.

    What follows may be anything: it is read by itself. Mostly there is nothing, and
    libsndfile takes its time to fill what it cannot read with zeros.
    """
    if n_read < part.n_declared:
        return part.n_declared - n_read
    n_left = 0 if part.n_declared else stream.frames - n_read
    return BLOCK * max(-(-n_left // BLOCK), 1)


def _read_block(stream: Any, buffer: np.ndarray, part: Part, n_read: int) -> np.ndarray:
    """Fill a buffer as far as samples reach; return that part of it."""
    import soundfile

    try:
        return stream.read(len(buffer), out=buffer)
    except soundfile.LibsndfileError as error:
        if part.n_declared and n_read >= part.n_declared:
            return np.empty((0, stream.channels), np.float32)
        seconds = n_read / stream.samplerate
        raise ContentError(f"is damaged after {seconds:.1f} s: {error}") from error
