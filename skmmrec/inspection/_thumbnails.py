"""What is shown of an item: a picture, frames of a video, a sound, or its words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps

from skmmrec.encoders import read_sound, still_frames
from skmmrec.inspection._pictures import open_picture
from skmmrec.interactions import warn_caller
from skmmrec.runtime import is_missing

# Bars of a waveform, as many as can be told apart in 135 pixels.
_N_BARS = 45
# Samples a second: enough for the outline of a sound, and quickly read.
_RATE = 8000
_SECONDS = 60.0
# A hundredth of the full scale, -40 dB: what is quieter is drawn as nearly flat.
_SILENCE = 0.01
# Twice the 135 pixels of a thumbnail at 100 dpi, for sharp screens.
PIXELS = 270


class Waveform(NamedTuple):
    """The outline of a sound: the loudest of each stretch, from 0 to 1."""

    peaks: NDArray[np.float64]


class Words(NamedTuple):
    """What an item without pictures and sound says of itself.

    Attributes
    ----------
    text : str
        Its words; "" where there are none.
    is_broken : bool
        Whether there is something that cannot be read.
    """

    text: str
    is_broken: bool = False


Thumbnail: TypeAlias = Image.Image | Waveform | Words


class Thumbnails:
    """Reads what is shown of items, and keeps what could not be read.

    Parameters
    ----------
    on_error : {"warn", "raise"}
        What becomes of media that cannot be read.
    n_frames : int
        Frames of each video.
    """

    def __init__(self, on_error: str, n_frames: int) -> None:
        self.on_error = on_error
        self.n_frames = n_frames
        self.failures: list[str] = []
        self.n_items = 0

    def of(self, rows: pd.DataFrame) -> list[Thumbnail]:
        """Read one for each row, which has some of the columns that are known."""
        self.n_items += len(rows)
        return [self._one(row) for row in rows.to_dict("records")]

    def warn(self) -> None:
        """Say once what could not be read."""
        if self.failures:
            warn_caller(
                f"media of {len(self.failures)} of {self.n_items} items cannot be "
                f"shown; the first: {self.failures[0]}"
            )

    def _one(self, row: dict[str, Any]) -> Thumbnail:
        words = row.get("words")
        text, is_broken = "" if is_missing(words) else str(words), False
        for read, cell, name in self._media(row):
            try:
                return read(cell, name)
            except (ImportError, OSError, ValueError) as error:
                if self.on_error == "raise":
                    raise
                if not is_broken:
                    self.failures.append(str(error))
                is_broken = True
        return Words(text, is_broken)

    def _media(
        self, row: dict[str, Any]
    ) -> Iterator[tuple[Callable[[Any, str], Thumbnail], Any, str]]:
        """Yield what there is of an item, the best first, and what reads it."""
        readers: dict[str, Callable[[Any, str], Thumbnail]] = {
            "picture": open_picture,
            "video": self._video,
            "sound": _waveform,
        }
        for kind, read in readers.items():
            if not is_missing(row.get(kind)):
                yield read, row[kind], f"{kind} of item {row['item_id']!r}"

    def _video(self, item: Any, name: str) -> Thumbnail:
        try:
            frames = still_frames(item, self.n_frames)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return collage(frames) if frames else _waveform(item, name)


def _waveform(item: Any, name: str) -> Waveform:
    try:
        samples = np.abs(read_sound(item, _RATE, _SECONDS))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    parts = np.array_split(samples, min(_N_BARS, len(samples)))
    peaks = np.array([part.max() for part in parts], np.float64)
    return Waveform(peaks / max(float(peaks.max()), _SILENCE))


def collage(frames: list[Image.Image]) -> Image.Image:
    """Put frames into one picture, row by row, as square as may be."""
    if len(frames) == 1:
        return frames[0]
    n_columns = int(np.ceil(len(frames) ** 0.5))
    n_rows = -(-len(frames) // n_columns)
    width = PIXELS // n_columns
    height = max(1, round(width * frames[0].height / frames[0].width))
    whole = Image.new("RGB", (width * n_columns, height * n_rows), "white")
    for number, frame in enumerate(frames):
        row, column = divmod(number, n_columns)
        # A white line of two pixels between them.
        small = ImageOps.fit(frame, (width - 2, max(1, height - 2)))
        whole.paste(small, (column * width + 1, row * height + 1))
    return whole
