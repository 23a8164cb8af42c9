"""Read the pictures and the sound of videos, by the times of one clock."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from skmmrec.encoders._containers import (
    clock_start,
    declared_length,
    decoded_pictures,
    modest_rate,
    opened,
    require_whole,
    samples_of,
    sound_stream,
    with_decoder,
)
from skmmrec.encoders._mixing import PlacedSound
from skmmrec.encoders._pictures import MAX_PIXELS
from skmmrec.runtime import ContentError, RawBytes, digest, how_to_give

# Smaller gaps between sound frames, in seconds, are rounding by containers. Not tuned.
_GAP_SECONDS = 0.1
# Pixels per side of the pictures that are compared to find scene changes: 3 kB each,
# coarse enough to ignore noise. Not tuned.
_THUMBNAIL = 32
# How much wider than high a pixel may be declared to be, or the reverse. Those of discs
# are 64:45, those of films that were squeezed by a lens 2:1; 4 leaves room, and beyond
# it a header is broken.
_WIDEST_PIXEL = 4
# The share of right that may be down, below half a degree, where a picture is upright.
_LEANING = 0.01
# How a picture is turned that is shown with its right and its down in these directions.
_TURNS: dict[tuple[int, ...], Any] = {
    (1, 0, 0, 1): "none",
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}


class Span(NamedTuple):
    """A stretch of time, in seconds."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """The duration; 0 for a span that ends before it starts."""
        return max(self.end - self.start, 0.0)

    def meet(self, other: Span) -> Span:
        """Return the overlap of two spans."""
        return Span(max(self.start, other.start), min(self.end, other.end))

    def parts(self, n_parts: int) -> list[Span]:
        """Cut into equal parts."""
        edges = np.linspace(self.start, self.end, n_parts + 1).tolist()
        return [Span(*edge) for edge in pairwise(edges)]

    def split(self, times: list[float]) -> list[Span]:
        """Cut at the sorted times that lie inside."""
        inside = [time for time in times if self.start < time < self.end]
        return [Span(*edge) for edge in pairwise([self.start, *inside, self.end])]


class Extents(NamedTuple):
    """The spans of a video's pictures and sound; None for a stream that is missing."""

    frames: Span | None
    sound: Span | None

    @property
    def end(self) -> float:
        """The time at which the longer one ends."""
        return max(span.end for span in self if span is not None)


def clip_key(item: Any) -> Hashable:
    """Return a key that is equal for equal videos; a path is its own key."""
    if isinstance(item, str | os.PathLike):
        return os.fspath(item)
    if isinstance(item, RawBytes):
        return digest(bytes(item))
    raise ContentError(
        f"expected a path or bytes, got {type(item).__name__}{how_to_give(item)}"
    )


def find_extents(item: Any, max_duration: float) -> Extents:
    """Return the spans of a video's streams, by its packets, not its header.

    No more than `max_duration` is read, from the start. A ContentError says that the
    item is damaged, cut off, too large, or has neither pictures nor sound.
    """
    limit = Span(0.0, max_duration)
    with opened(item) as container:
        chosen = (_frame_stream(container), sound_stream(container))
        wanted = {stream.index for stream in chosen if stream}
        spans, last = _packet_spans(container, wanted, max_duration)
        found = [stream and spans.get(stream.index) for stream in chosen]
        declared = declared_length(container)
    if last < max_duration:
        require_whole(declared, last)
    there = [span and span.meet(limit) for span in found]
    extents = Extents(*(span if span and span.length else None for span in there))
    if not any(extents) and wanted and not spans:
        raise ContentError(
            "tells no times of its pictures or sound, as a raw stream does: put it "
            "into a container, such as by ffmpeg -fflags +genpts -i FILE -c copy "
            "FILE.mp4"
        )
    if not any(extents):
        raise ContentError("contains neither pictures nor sound")
    return extents


def frames_at(item: Any, times: list[float]) -> Iterator[Image.Image]:
    """Yield the picture that is shown at each of the sorted times, upright."""
    with opened(item) as container:
        pending = times[::-1]
        shown = None
        pixel = _width_of_pixel(container)
        for time, frame in _timed_frames(container):
            while pending and shown is not None and pending[-1] < time:
                pending.pop()
                yield _picture(shown, pixel)
            if not pending:
                return
            shown = frame
        if shown is None:
            raise ContentError("contains no picture that can be decoded")
        for _ in pending:
            yield _picture(shown, pixel)


def still_frames(
    item: Any, n_frames: int, max_duration: float = 300.0
) -> list[Image.Image]:
    """Return pictures of a video at even distances; none where it has sound alone.

    Raises ContentError if the item is damaged.
    """
    clip_key(item)  # refuses what is neither a path nor bytes
    span = find_extents(item, max_duration).frames
    if span is None:
        return []
    times = [(part.start + part.end) / 2 for part in span.parts(n_frames)]
    return list(frames_at(item, times))


def scene_changes(item: Any, threshold: float, max_duration: float) -> list[float]:
    """Return the times at which a picture differs from the previous one.

    `threshold` is the least mean absolute difference of thumbnails, as a share of full
    scale. No more than `max_duration` is read, from the start.
    """
    times: list[float] = []
    with opened(item) as container:
        before = None
        for time, frame in _timed_frames(container):
            if time >= max_duration:
                break
            small = frame.reformat(_THUMBNAIL, _THUMBNAIL, "rgb24").to_ndarray()
            now = small.astype(np.float32) / 255
            if before is not None and np.abs(now - before).mean() >= threshold:
                times.append(time)
            before = now
    return times


def read_waveform(item: Any, span: Span) -> tuple[np.ndarray, int]:
    """Return the mono sound of a span, silent where the stream has a gap.

    The waveform is float32 of shape (n,), the rate in Hz.
    """
    import av

    with opened(item) as container:
        stream = sound_stream(container)
        rate = modest_rate(stream.codec_context.sample_rate)
        layout = stream.codec_context.layout
        floats = av.AudioResampler(format="flt", layout=layout, rate=rate)
        sound = PlacedSound(round(span.length * rate), layout.nb_channels)
        cursor, origin = 0, clock_start(container) + span.start
        for frame in container.decode(stream):
            offset = round((_time(frame) - origin) * rate)
            cursor = offset if abs(offset - cursor) > _GAP_SECONDS * rate else cursor
            if cursor >= len(sound):
                break
            for part in floats.resample(frame):
                cursor = sound.write(cursor, samples_of(part))
    return sound.finished(), rate


def _frame_stream(container: Any) -> Any:
    """Return the first picture stream that is not cover art, or None."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return _with_modest_size(with_decoder(stream))
    return None


def _with_modest_size(stream: Any) -> Any:
    if stream.width * stream.height > MAX_PIXELS:
        raise ContentError(
            f"declares {stream.width} x {stream.height} pixels, more than the "
            f"{MAX_PIXELS} that are allowed"
        )
    return stream


def _packet_spans(
    container: Any, wanted: set[int], max_duration: float
) -> tuple[dict[int, Span], float]:
    """Return each stream's span and the last time of any, without decoding.

    Streams may lie one after the other in the file: packets are read until those of
    all `wanted` streams are late enough.
    """
    origin, early = clock_start(container), set(wanted)
    starts: dict[int, list[float]] = {}
    ends: dict[int, float] = {}
    for packet in container.demux():
        if packet.pts is None:
            continue
        start = float(packet.pts * packet.time_base) - origin
        length = float((packet.duration or 0) * packet.time_base)
        index = packet.stream_index
        starts.setdefault(index, []).append(start)
        ends[index] = max(ends.get(index, 0.0), start + length)
        if start > max_duration + 1:
            early.discard(index)
            if not early:
                break
    for stream in container.streams.video:  # their packets may have no duration
        if stream.index in starts:
            last = _last_end(starts[stream.index])
            ends[stream.index] = max(ends[stream.index], last)
    spans = {index: Span(min(starts[index]), end) for index, end in ends.items()}
    return spans, max(ends.values(), default=0.0)


def _last_end(starts: list[float]) -> float:
    """Return when the last picture ends if it lasts as long as the average one."""
    first, last = min(starts), max(starts)
    return last + (last - first) / max(len(starts) - 1, 1)


def _timed_frames(container: Any) -> Iterator[tuple[float, Any]]:
    origin = clock_start(container)
    for frame in decoded_pictures(container, _frame_stream(container)):
        yield _time(frame) - origin, frame


def _time(frame: Any) -> float:
    if frame.time is None:
        raise ContentError("contains frames without a time")
    return float(frame.time)


def _width_of_pixel(container: Any) -> float:
    """Return how much wider than high the pixels of the pictures are to be shown."""
    ratio = _frame_stream(container).sample_aspect_ratio
    width = float(ratio) if ratio else 1.0
    return width if 1 / _WIDEST_PIXEL <= width <= _WIDEST_PIXEL else 1.0


def _picture(frame: Any, pixel: float) -> Image.Image:
    """Return a frame as it is shown: of square pixels, none of them lost, and upright.

    `pixel` is how much wider than high its pixels are.
    """
    image = _on_white(frame)
    if pixel != 1:
        width, height = image.size
        size = (round(width * max(pixel, 1)), round(height * max(1 / pixel, 1)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    return _upright(image, frame)


def _on_white(frame: Any) -> Image.Image:
    """Return a frame as stored, with white where it is transparent."""
    has_alpha = frame.format.has_palette or any(
        component.is_alpha for component in frame.format.components
    )
    if not has_alpha:
        return cast(Image.Image, frame.to_image())
    colours = Image.fromarray(frame.to_ndarray(format="rgba"))
    white = Image.new("RGBA", colours.size, "white")
    return Image.alpha_composite(white, colours).convert("RGB")


def _upright(image: Image.Image, frame: Any) -> Image.Image:
    """Turn and mirror a picture as its video says that it is to be shown."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return image
    # Of nine numbers, these four say where right and down are.
    axes = matrix[[0, 1, 3, 4]]
    axes = np.where(np.abs(axes) > _LEANING * np.abs(axes).max(), np.sign(axes), 0)
    turn = _TURNS.get(tuple(axes.astype(int).tolist()))
    if turn is None:
        return image.rotate(frame.rotation, expand=True)
    return image if turn == "none" else image.transpose(turn)


def _display_matrix(frame: Any) -> np.ndarray | None:
    from av.sidedata.sidedata import Type

    data = frame.side_data.get(Type.DISPLAYMATRIX)
    return None if data is None else np.frombuffer(data, np.int32).astype(np.float64)
