"""A picture model and a sound model, run on common windows of a video."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import numpy as np

from skmmrec.encoders._clips import (
    Span,
    find_extents,
    frames_at,
    read_waveform,
    scene_changes,
)
from skmmrec.runtime import ContentError, Engine, Model, cached_property, digest

# Less than half a step of 16 bits: no player makes a sound of it.
_SILENCE = 2.0**-16
# A shorter rest at the end, in seconds, gets no window of its own: containers round
# times. Not tuned.
_LEAST_REST = 0.1


class Sampling(NamedTuple):
    """How a video is cut into windows, and which frames represent each."""

    window: float
    hop: float
    frames: str
    n_frames: int
    fps: float | None
    scene_threshold: float
    max_duration: float

    @property
    def most_windows(self) -> int:
        """The number of windows of the longest video that is read."""
        return len(self.windows(self.max_duration))

    def windows(self, duration: float) -> list[Span]:
        """Return the windows; the last one ends with the video."""
        beyond = max(duration - self.window - _LEAST_REST, 0)
        starts = [i * self.hop for i in range(1 + math.ceil(beyond / self.hop))]
        ends = [*(start + self.window for start in starts[:-1]), duration]
        return [Span(*edges) for edges in zip(starts, ends, strict=True)]

    def scenes(self, item: Any) -> list[float]:
        """Return the times at which a new scene begins."""
        if self.frames == "uniform":
            return []
        return scene_changes(item, self.scene_threshold, self.max_duration)

    def stretches(self, span: Span, scenes: list[float]) -> list[Span]:
        """Return the parts of a window that are represented by one frame each."""
        if not span.length:
            return []
        fps = self.fps
        n_frames = max(1, round(fps * span.length)) if fps else self.n_frames
        if self.frames == "uniform":
            return span.parts(n_frames)
        return sorted(sorted(span.split(scenes), key=_by_length)[:n_frames])

    def shown(
        self, item: Any, windows: list[Span], there: Span
    ) -> tuple[list[list[Span]], list[float]]:
        """Return the stretches of each window, and the sorted times of all frames."""
        scenes = self.scenes(item)
        shown = [self.stretches(window.meet(there), scenes) for window in windows]
        return shown, sorted({_middle(span) for spans in shown for span in spans})


def _by_length(span: Span) -> float:
    return -span.length


class VideoWindows(NamedTuple):
    """The windows of one video, in order.

    Returned by `VideoEncoder.transform_windows`.

    Attributes
    ----------
    start, end : ndarray of shape (n_windows,), float64
        Seconds from the start of the video.
    vectors : ndarray of shape (n_windows, dim), float32
        The picture columns, then the sound columns, of the same seconds.
    image_dim : int
        How many of the columns are of pictures.
    """

    start: np.ndarray
    end: np.ndarray
    vectors: np.ndarray
    image_dim: int

    @property
    def image(self) -> np.ndarray:
        """The picture columns, of shape (n_windows, image_dim)."""
        return self.vectors[:, : self.image_dim]

    @property
    def sound(self) -> np.ndarray:
        """The sound columns, of shape (n_windows, dim - image_dim)."""
        return self.vectors[:, self.image_dim :]


class Track(NamedTuple):
    """The pictures or sounds of a video, and their shares of its windows.

    Parameters
    ----------
    contents : list
        Prepared for the model.
    seconds : ndarray of shape (n_windows, len(contents))
        How many seconds of a window each content represents.
    """

    contents: list[Any]
    seconds: np.ndarray


class Clip(NamedTuple):
    """A decoded video: its windows, with their pictures and their sound."""

    windows: list[Span]
    tracks: list[Track]


class Part:
    """The model of one of the two encoders, run with that encoder's settings."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.model: Model = engine.model

    def encode(self, contents: list[Any]) -> np.ndarray:
        """Encode any number of contents into shape (n, dim)."""
        return self._engine.encode(contents)


class VideoModel:
    """A picture model and a sound model, on common windows."""

    def __init__(
        self, image: Part | None, sound: Part | None, sampling: Sampling
    ) -> None:
        self._image = image
        self._sound = sound
        self._sampling = sampling
        self._parts = [part for part in (image, sound) if part is not None]
        self.dims = [part.model.dim for part in self._parts]
        self.dim: int = sum(self.dims)
        self.image_dim: int = 0 if image is None else image.model.dim

    def prepare(self, item: Any) -> Clip:
        """Decode the frames and the sound that the windows need."""
        extents = find_extents(item, self._sampling.max_duration)
        windows = self._sampling.windows(extents.end)
        tracks = []
        if self._image is not None:
            tracks.append(self._frames(item, windows, extents.frames))
        if self._sound is not None:
            has_pictures = any(track.contents for track in tracks)
            tracks.append(self._sounds(item, windows, extents.sound, has_pictures))
        if not any(track.contents for track in tracks):
            absent = "pictures" if self._sound is None else "sound"
            raise ContentError(f"contains no {absent}")
        return Clip(windows, tracks)

    def encode(self, contents: list[Clip]) -> np.ndarray:
        """Encode a batch: the mean of each part, weighted by its own seconds."""
        return self._each(contents, _mean_over_time)

    def encode_windows(self, contents: list[Clip]) -> list[np.ndarray]:
        """Encode a batch into one array of shape (n_windows, dim) per video."""
        return self._each(contents, _mean_per_window)

    def _each(self, clips: list[Clip], pool: Any) -> Any:
        columns = []
        for i, part in enumerate(self._parts):
            tracks = [clip.tracks[i] for clip in clips]
            vectors = part.encode([c for track in tracks for c in track.contents])
            ends = np.cumsum([len(track.contents) for track in tracks])[:-1]
            pieces = np.split(vectors, ends)
            columns.append([pool(*pair) for pair in zip(tracks, pieces, strict=True)])
        rows = zip(*columns, strict=True)
        joined = [np.concatenate(row, axis=-1, dtype=np.float32) for row in rows]
        return np.stack(joined) if pool is _mean_over_time else joined

    def _frames(self, item: Any, windows: list[Span], there: Span | None) -> Track:
        if there is None:
            return Track([], np.zeros((len(windows), 0)))
        shown, middles = self._sampling.shown(item, windows, there)
        pictures = frames_at(item, middles)
        contents = [cast(Part, self._image).model.prepare(p) for p in pictures]
        seconds = np.zeros((len(windows), len(contents)))
        column = {time: i for i, time in enumerate(middles)}
        for row, spans in enumerate(shown):
            for span in spans:
                seconds[row, column[_middle(span)]] = span.length
        return Track(contents, seconds)

    def _sounds(
        self,
        item: Any,
        windows: list[Span],
        there: Span | None,
        may_be_silent: bool,
    ) -> Track:
        nothing = Track([], np.zeros((len(windows), 0)))
        if there is None:
            return nothing
        waveform, rate = read_waveform(item, Span(0, windows[-1].end))
        if may_be_silent and np.abs(waveform).max(initial=0) < _SILENCE:
            return nothing
        lengths = [window.meet(there).length for window in windows]
        rows = [row for row, length in enumerate(lengths) if length * rate >= 1]
        prepare = cast(Part, self._sound).model.prepare
        contents = []
        for row in rows:
            start, end = (round(time * rate) for time in windows[row])
            contents.append(prepare((waveform[start:end], rate)))
        return Track(contents, np.diag(lengths)[:, rows])

    @cached_property
    def identity(self) -> bytes:
        """Return a hash of both models and the sampling."""
        models = b"".join(part.model.identity for part in self._parts)
        has = f"{self._image is not None}{self._sound is not None}"
        return models + digest(f"{has}{self._sampling}{_SILENCE}".encode())


def _middle(span: Span) -> float:
    """Return the time of the frame that represents a stretch."""
    return (span.start + span.end) / 2


def _mean_per_window(track: Track, vectors: np.ndarray) -> np.ndarray:
    """Average contents within each window; zeros for a window without any."""
    total = track.seconds.sum(axis=1, keepdims=True)
    return track.seconds @ vectors / np.where(total > 0, total, 1)


def _mean_over_time(track: Track, vectors: np.ndarray) -> np.ndarray:
    total = track.seconds.sum()
    return track.seconds.sum(axis=0) @ vectors / (total if total > 0 else 1)


class Sequences:
    """A `VideoModel` that gives a row per window instead of a vector per video.

    A row consists of the window's start and end, in seconds, and its vector.
    """

    def __init__(self, model: VideoModel) -> None:
        self._model = model
        self.dim = model.dim + 2
        self.prepare = model.prepare

    @property
    def identity(self) -> bytes:
        """Return a hash that differs from that of pooled vectors."""
        return digest(b"windows" + self._model.identity)

    def encode(self, contents: list[Clip]) -> np.ndarray:
        """Return an object array of arrays of shape (n_windows, dim)."""
        out = np.empty(len(contents), dtype=object)
        vectors = self._model.encode_windows(contents)
        for row, (clip, windows) in enumerate(zip(contents, vectors, strict=True)):
            out[row] = np.hstack([clip.windows, windows], dtype=np.float32)
        return out
