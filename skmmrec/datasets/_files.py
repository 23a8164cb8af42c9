"""Files of generated content: in memory, or in a folder."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_png(picture: Image.Image) -> bytes:
    """Write a picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def to_wav(samples: NDArray, sample_rate: int) -> bytes:
    """Write samples between -1 and 1 as a WAV file: mono, 16 bit."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def keep(content: bytes, folder: Path | None, name: str) -> bytes | str:
    """Write a file into a folder and return its path; None keeps it in memory.

    Raises FileExistsError if the folder is a file.
    """
    if folder is None:
        return content
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return str(path)
