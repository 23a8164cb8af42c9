"""What a `VideoEncoder` sees and hears of a video, on one axis of time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from sklearn.utils.validation import check_is_fitted

from skmmrec.encoders._clips import Span, find_extents, frames_at, read_waveform
from skmmrec.encoders._video import VideoEncoder
from skmmrec.encoders._video_model import VideoWindows
from skmmrec.runtime import is_missing


class Timeline(NamedTuple):
    """A video as an encoder reads it.

    Attributes
    ----------
    windows : VideoWindows
        Times and vectors.
    frames : list of (float, PIL.Image.Image)
        Seconds, and the pictures that represent the windows; None if the encoder leaves
        pictures out.
    waveform : ndarray of shape (n,), float32
        Mono sound from the start of the video; None if the encoder leaves sound out.
        Empty if the video has none.
    rate : int
        Samples per second.
    """

    windows: VideoWindows
    frames: list[tuple[float, Image.Image]] | None
    waveform: np.ndarray | None
    rate: int


def read_timeline(encoder: VideoEncoder, video: Any, max_frames: int) -> Timeline:
    """Read a video as a fitted encoder does.

    At most `max_frames` pictures are kept, evenly spaced among those that are encoded.
    A ValueError says that the video is missing or cannot be read.
    """
    check_is_fitted(encoder)
    if is_missing(video):
        raise ValueError("video is missing: there is nothing to show")
    (windows,) = encoder.transform_windows([video])
    if not len(windows.start):
        raise ValueError("video cannot be read; on_error='raise' tells why")
    extents = find_extents(video, encoder.max_duration)
    frames, waveform, rate = None, None, 1
    if encoder.image_encoder_ is not None:
        times = _frame_times(encoder, video, extents.frames, windows)
        few = np.linspace(0, len(times) - 1, min(len(times), max_frames))
        times = [times[i] for i in np.rint(few).astype(int)]
        frames = list(zip(times, frames_at(video, times), strict=True)) if times else []
    if encoder.audio_encoder_ is not None:
        waveform = np.zeros(0, np.float32)
        if extents.sound is not None:
            waveform, rate = read_waveform(video, Span(0, float(windows.end[-1])))
    return Timeline(windows, frames, waveform, rate)


def _frame_times(
    encoder: VideoEncoder, video: Any, there: Span | None, windows: VideoWindows
) -> list[float]:
    """Return the sorted times of the pictures that represent windows."""
    if there is None:
        return []
    spans = [Span(*edges) for edges in zip(windows.start, windows.end, strict=True)]
    return encoder._sampling().shown(video, spans, there)[1]
