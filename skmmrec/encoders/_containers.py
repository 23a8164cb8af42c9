"""Open containers of FFmpeg, as videos and some sounds are, and read their sound."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, BinaryIO

import numpy as np

from skmmrec.encoders._mixing import mixed_parts
from skmmrec.encoders._pictures import MAX_PIXELS
from skmmrec.runtime import ContentError, RawBytes, open_file, reading, what_it_is

# In Hz: no recorder is faster. Of a rate that is declared, a few bytes fill any memory.
_HIGHEST_RATE = 768_000
# For the decoders: a picture may be larger than its container declares.
_CODEC_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
# Decoders that read what is transparent, by the names of those that do not.
_SEE_THROUGH = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# Containers whose header says how long they are; of others FFmpeg makes an estimate.
_DECLARE_LENGTH = ("mov", "matroska", "asf", "avi", "flv")
# The share of a stream's bytes that may be no sound at its end, where other programs
# leave tags: as much as `require_whole` lets be lost. So may two packets.
_MOST_LOST = 0.1


@contextmanager
def opened(item: Any, kind: str = "video") -> Iterator[Any]:
    """Open a container; an error of its decoder is one of the item.

    Only this path, bytes or binary file may be read: a playlist could name other files.
    `kind` is what it should be, for errors.
    """
    av = _import_av()
    with (
        reading(f"is not a readable {kind}"),
        _as_file(item) as file,
        _open(av, file, kind) as container,
    ):
        yield container


def _open(av: Any, file: BinaryIO, kind: str) -> Any:
    try:
        return av.open(file, options={"protocol_whitelist": "none", **_CODEC_OPTIONS})
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        known = what_it_is(file, kind) or _cut_box(file)
        reason = known or _reasons(av).get(type(error), error.strerror)
        raise ContentError(f"is not a readable {kind}: {reason}") from error


def _reasons(av: Any) -> dict[type, str]:
    """Say what errors of FFmpeg mean of a file."""
    return {
        av.error.InvalidDataError: "FFmpeg knows no such file, or it is damaged",
        av.error.EOFError: "it is cut off",
    }


def _cut_box(file: BinaryIO) -> str | None:
    """Say where an MP4 or MOV ends before its declared length; None: it does not.

    FFmpeg says of such a file that its data are invalid: what tells how to read them
    is often at its end.
    """
    size, start = file.seek(0, os.SEEK_END), 0
    while start + 8 <= size:
        file.seek(start)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if start == 0 and name != b"ftyp":
            return None
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # 0: it reaches to the end; others are no lengths
            return None
        start += length
    return None if start == size else f"it is cut off at {size} bytes"


def _as_file(item: Any) -> Any:
    if isinstance(item, str | os.PathLike):
        return open_file(item)
    is_content = isinstance(item, RawBytes)
    return io.BytesIO(item) if is_content else nullcontext(item)


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "Videos are decoded by PyAV: pip install 'skmmrec[video]'"
        ) from error
    return av


def sound_stream(container: Any) -> Any:
    """Return the first stream of sound, or None."""
    return next((with_decoder(stream) for stream in container.streams.audio), None)


def with_decoder(stream: Any) -> Any:
    """Return a stream, if it can be decoded."""
    if stream.codec_context is None:
        raise ContentError(f"has a stream of {stream.type} of an unknown codec")
    stream.codec_context.options = _CODEC_OPTIONS
    return stream


def decoded_pictures(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames of a stream of pictures, with what is transparent of them."""
    decoder = _with_transparency(stream)
    if decoder is None:
        yield from container.decode(stream)
        return
    for packet in container.demux(stream):
        yield from decoder.decode(packet)


def _with_transparency(stream: Any) -> Any:
    """Return another decoder if the stream's own passes over transparency, or None.

    FFmpeg's own decoders of VP8 and VP9 do, and may be all that there is.
    """
    import av

    name = _SEE_THROUGH.get(stream.codec_context.name)
    if name not in av.codecs_available or stream.metadata.get("alpha_mode") != "1":
        return None
    decoder = av.CodecContext.create(name, "r")
    decoder.options = _CODEC_OPTIONS
    return decoder


def modest_rate(rate: int) -> int:
    """Return the rate of a sound, in Hz, unless nobody records at it.

    Raises
    ------
    ContentError
    """
    if rate > _HIGHEST_RATE:
        raise ContentError(
            f"declares {rate} Hz, more than the {_HIGHEST_RATE} that are read"
        )
    return rate


def samples_of(frame: Any) -> np.ndarray:
    """Return the samples of a frame of format "flt", of shape (n, n_channels).

    PyAV looks for the channels of other formats, of which each has a plane of its own,
    beyond the eight that it has room for.
    """
    samples: np.ndarray = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
    return samples


def clock_start(container: Any) -> float:
    """Return the time at which the container's clock starts, in seconds."""
    return (container.start_time or 0) / 1e6


def declared_length(container: Any) -> float:
    """Return the seconds that a container declares; 0 for none.

    Of a clock that starts late, as in a part of a longer recording, some programs
    declare the length and others where it ends. Where it may be the end, it is.
    """
    declared, start = (container.duration or 0) / 1e6, clock_start(container)
    return declared - start if declared > start > 0 else declared


def require_whole(declared: float, contained: float) -> None:
    """Raise if there is clearly less than declared, in seconds."""
    if declared - contained > max(0.5, declared / 10):
        raise ContentError(
            f"is cut off: it declares {declared:.1f} s and contains {contained:.1f} s"
        )


def read_sound_stream(
    file: BinaryIO, max_duration: float, reason: Exception
) -> tuple[np.ndarray, int]:
    """Return the sound of a file that another decoder could not read.

    It is an m4a, AAC, WebM or the like, and `reason` is what the other decoder said.
    Returns the first `max_duration` seconds or more, with channels mixed as `to_mono`
    mixes them, as samples of shape (n,), float32, and their rate in Hz. A ContentError
    says that PyAV is not installed, or cannot read the file either.
    """
    try:
        _import_av()
    except ImportError as error:
        if known := what_it_is(file, "sound"):
            raise ContentError(f"is not a readable sound: {known}") from error
        raise ContentError(
            f"is not a readable sound: {reason} (m4a, AAC, WebM and others need PyAV: "
            "pip install 'skmmrec[video]')"
        ) from error
    with opened(file, "sound") as container:
        stream = sound_stream(container)
        if stream is None:
            known = what_it_is(file, "sound") or "it contains no sound"
            raise ContentError(f"is not a readable sound: {known}")
        waveform, rate = _decoded(container, stream, max_duration)
        if len(waveform) < int(min(max_duration * rate, 2.0**62)):
            require_whole(_declared_seconds(container, stream), len(waveform) / rate)
    # FFmpeg believes the suffix of a name, and finds no samples in what is no sound.
    if len(waveform) == 0 and (known := what_it_is(file, "sound")):
        raise ContentError(f"is not a readable sound: {known}")
    return waveform, rate


def _decoded(
    container: Any, stream: Any, max_duration: float
) -> tuple[np.ndarray, int]:
    """Return at least the first seconds of a stream, or all, and its rate."""
    import av

    floats = av.AudioResampler(format="flt")
    rate = modest_rate(stream.codec_context.sample_rate)

    def parts() -> Iterator[np.ndarray]:
        nonlocal rate
        n_read = 0
        for frame in _frames(container, stream):
            for part in floats.resample(frame):
                rate = modest_rate(part.sample_rate)
                n_read += part.samples
                yield samples_of(part)
            if n_read >= max_duration * rate:
                break

    mixed = list(mixed_parts(parts()))
    return np.concatenate(mixed) if mixed else np.empty(0, np.float32), rate


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames of a stream; the last one may be cut off, none before it."""
    import av

    failure, n_frames, n_bytes, largest, n_lost = None, 0, 0, 0, 0
    for packet in container.demux(stream):
        n_bytes += packet.size
        try:
            frames = packet.decode()
        except av.InvalidDataError as error:
            failure = failure or error
            n_lost += packet.size
            continue
        if failure is not None and frames and packet.size:
            raise failure
        yield from frames
        n_frames += len(frames)
        largest = max(largest, packet.size)
    is_a_rest = n_lost <= max(_MOST_LOST * n_bytes, 2 * largest)
    if failure is not None and not (n_frames and is_a_rest):
        raise failure


def _declared_seconds(container: Any, stream: Any) -> float:
    """Return the length that is declared, 0 for none."""
    if not container.format.name.startswith(_DECLARE_LENGTH):
        return 0.0
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    is_alone = len(container.streams) == 1
    return declared_length(container) if is_alone else 0.0
