"""Draw the windows of a video: frames and sound on one axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from skmmrec.encoders import VideoEncoder, read_timeline
from skmmrec.inspection._axes import (
    INK,
    MUTED,
    import_pyplot,
    ink_on,
    modality_colors,
)
from skmmrec.inspection._fonts import as_label, families_for
from skmmrec.interactions import check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches, set by eye for a page of a notebook: the figure, and what surrounds the axes.
_SIZE = (9.0, 3.7)
_MARGINS = {"left": 0.75, "right": 0.15, "top": 0.35, "bottom": 0.5}
# Lanes from the bottom to the top, as shares of the height.
_SOUND, _SOUND_BARS, _IMAGE_BARS, _FRAMES = (
    (0.0, 0.3),
    (0.33, 0.42),
    (0.45, 0.54),
    (0.57, 1.0),
)
# Points of the outline of a waveform: more than a screen shows.
_N_OUTLINE = 1000
# A bar narrower than this share of the axis has no room for its number.
_LEAST_FOR_TEXT = 0.02

Lane = tuple[float, float]


class VideoWindowsDisplay:
    """Frames, windows and waveform of a video on one axis of time.

    Each window is a bar below the frames and a bar above the waveform: full where it
    has pictures or sound, hollow where it lacks them. It is recommended to use
    :meth:`from_estimator` to create the display.

    Parameters
    ----------
    windows : DataFrame of shape (n_windows, 4)
        Columns start and end (seconds), image and sound (bool: whether the window has
        any).
    frames : sequence of (float, PIL.Image.Image), default=None
        Seconds and pictures; None if pictures are left out.
    waveform : ndarray of shape (n_samples,), default=None
        Mono sound from the start; None if sound is left out.
    sample_rate : int, default=1
        Samples per second.
    title : str, default=None
        Heading.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the drawing.
    figure_ : matplotlib Figure
        Figure containing it.

    See Also
    --------
    skmmrec.VideoEncoder.transform_windows : Vectors and times of the windows.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.inspection import VideoWindowsDisplay
    >>> windows = pd.DataFrame(
    ...     {"start": [0, 2], "end": [2, 3.5], "image": False, "sound": [True, False]}
    ... )
    >>> display = VideoWindowsDisplay(windows=windows).plot()
    >>> [float(seconds) for seconds in display.ax_.get_xlim()]
    [0.0, 3.5]
    """

    def __init__(
        self,
        *,
        windows: pd.DataFrame,
        frames: Sequence[tuple[float, Image.Image]] | None = None,
        waveform: NDArray | None = None,
        sample_rate: int = 1,
        title: str | None = None,
    ) -> None:
        self.windows = windows
        self.frames = frames
        self.waveform = waveform
        self.sample_rate = sample_rate
        self.title = title

    @classmethod
    def from_estimator(
        cls,
        encoder: VideoEncoder,
        video: str | PathLike[str] | bytes,
        *,
        max_frames: int = 12,
        title: str | None = None,
        ax: Axes | None = None,
    ) -> VideoWindowsDisplay:
        """Read a video as an encoder does, and draw it.

        Parameters
        ----------
        encoder : VideoEncoder
            Fitted: ``encoder.fit([None])`` reads no video.
        video : str, path or bytes
            The video.
        max_frames : int, default=12
            The most frames that are shown, evenly spaced among those that are encoded.
        title : str, default=None
            Heading.
        ax : matplotlib Axes, default=None
            Axes to draw on.

        Returns
        -------
        display : VideoWindowsDisplay

        Raises
        ------
        TypeError
            If `encoder` is not a `VideoEncoder`.
        ValueError
            If the video is missing or cannot be read.
        """
        if not isinstance(encoder, VideoEncoder):
            raise TypeError(
                f"encoder must be a VideoEncoder, got {type(encoder).__name__}"
            )
        check_count(max_frames, "max_frames")
        timeline = read_timeline(encoder, video, max_frames)
        windows = timeline.windows
        table = pd.DataFrame(
            {
                "start": windows.start,
                "end": windows.end,
                "image": np.nan_to_num(windows.image).any(axis=1),
                "sound": np.nan_to_num(windows.sound).any(axis=1),
            }
        )
        display = cls(
            windows=table,
            frames=timeline.frames,
            waveform=timeline.waveform,
            sample_rate=timeline.rate,
            title=title,
        )
        return display.plot(ax)

    def plot(self, ax: Axes | None = None) -> VideoWindowsDisplay:
        """Draw frames, windows and waveform.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None makes a figure.

        Returns
        -------
        display : VideoWindowsDisplay
            With the attributes ``ax_`` and ``figure_``.
        """
        self.ax_ = _new_axes() if ax is None else ax
        self.figure_: Figure = self.ax_.figure  # type: ignore[assignment]
        end = float(self.windows["end"].max())
        self.ax_.set(xlim=(0, end), ylim=(0, 1), xlabel="seconds")
        if self.title is not None:
            title = as_label(self.title)
            self.ax_.set_title(title, family=families_for(title))
        self.ax_.spines[["top", "right", "left"]].set_visible(False)
        middles = [sum(lane) / 2 for lane in (_FRAMES, _SOUND)]
        self.ax_.set_yticks(
            [middles[0], (_SOUND_BARS[0] + _IMAGE_BARS[1]) / 2, middles[1]],
            ["frames", "windows", "sound"],
        )
        self.ax_.tick_params(axis="y", length=0)
        self.ax_.tick_params(colors=MUTED)
        for start in self.windows["start"]:
            self.ax_.axvline(start, color=MUTED, linewidth=0.6, alpha=0.5, zorder=0)
        self._draw_frames(end)
        seen, heard = modality_colors(["image", "sound"])
        self._draw_sound(end, heard)
        self._draw_bars(_IMAGE_BARS, "image", seen)
        self._draw_bars(_SOUND_BARS, "sound", heard)
        return self

    def _draw_frames(self, end: float) -> None:
        if not self.frames:
            what = "left out" if self.frames is None else "no pictures"
            _note(self.ax_, what, _FRAMES, end)
            return
        room = end / len(self.frames)
        for seconds, picture in self.frames:
            width, height = self._thumbnail(picture, 0.94 * room, end)
            middle = min(max(seconds, width / 2), end - width / 2)
            sides = (middle - width / 2, middle + width / 2)
            low = sum(_FRAMES) / 2 - height / 2
            self.ax_.imshow(
                picture, extent=(*sides, low, low + height), aspect="auto", zorder=2
            )
        self.ax_.set(xlim=(0, end), ylim=(0, 1))

    def _thumbnail(
        self, picture: Image.Image, room: float, end: float
    ) -> tuple[float, float]:
        """Return the width in seconds, and the height as a share, that keep a shape."""
        box = self.ax_.get_position()
        wide, high = self.figure_.get_size_inches() * (box.width, box.height)
        seconds_per_share = picture.width / picture.height * high / wide * end
        height = min(_FRAMES[1] - _FRAMES[0], room / seconds_per_share)
        return height * seconds_per_share, height

    def _draw_sound(self, end: float, color: str) -> None:
        if self.waveform is None or not len(self.waveform):
            what = "left out" if self.waveform is None else "no sound"
            _note(self.ax_, what, _SOUND, end)
            return
        loudest = float(np.abs(self.waveform).max()) or 1.0
        n_parts = min(_N_OUTLINE, len(self.waveform))
        parts = np.array_split(self.waveform / loudest, n_parts)
        times = (
            (np.arange(n_parts) + 0.5) / n_parts * len(self.waveform) / self.sample_rate
        )
        middle, half = sum(_SOUND) / 2, (_SOUND[1] - _SOUND[0]) / 2
        low, high = ([f(part) for part in parts] for f in (np.min, np.max))
        self.ax_.fill_between(
            times,
            middle + half * np.array(low),
            middle + half * np.array(high),
            color=color,
            linewidth=0.5,
        )

    def _draw_bars(self, lane: Lane, part: str, color: str) -> None:
        """Draw a bar for each window; those that overlap, one above the other."""
        spans = self.windows[["start", "end"]].to_numpy(float)
        rows = _rows(spans)
        height = (lane[1] - lane[0]) / (max(rows) + 1)
        length = self.windows["end"].max()
        has_part = self.windows[part].to_numpy(bool)
        for number, (row, (start, end)) in enumerate(zip(rows, spans, strict=True)):
            low, is_there = lane[0] + row * height, has_part[number]
            self.ax_.broken_barh(
                [(start, end - start)],
                (low, 0.9 * height),
                facecolor=color if is_there else "none",
                edgecolor="white" if is_there else color,
                linestyle="-" if is_there else "--",
                linewidth=1.0,
                zorder=3,
            )
            if row == 0 and max(rows) == 0 and end - start > _LEAST_FOR_TEXT * length:
                self.ax_.text(
                    (start + end) / 2,
                    low + 0.42 * height,
                    str(number + 1),
                    color=ink_on(color) if is_there else INK,
                    ha="center",
                    va="center",
                    fontsize=8,
                    zorder=4,
                )


def _rows(spans: NDArray) -> list[int]:
    """Return the lowest row for each window in which it overlaps no other."""
    ends: list[float] = []
    rows = []
    for start, end in spans:
        free = [row for row, last in enumerate(ends) if last <= start + 1e-6]
        row = free[0] if free else len(ends)
        ends[row : row + 1] = [end]
        rows.append(row)
    return rows


def _note(ax: Axes, text: str, lane: Lane, end: float) -> None:
    ax.text(end / 2, sum(lane) / 2, text, color=MUTED, ha="center", va="center")


def _new_axes() -> Axes:
    (width, height), gap = _SIZE, _MARGINS
    box = (
        gap["left"] / width,
        gap["bottom"] / height,
        1 - (gap["left"] + gap["right"]) / width,
        1 - (gap["top"] + gap["bottom"]) / height,
    )
    return import_pyplot().figure(figsize=_SIZE).add_axes(box)
