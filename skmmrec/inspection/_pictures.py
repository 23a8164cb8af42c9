"""Decode pictures in any form that an item table may contain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skmmrec.encoders import read_picture


def open_picture(picture: Any, name: str) -> Image.Image:
    """Decode a picture.

    Parameters
    ----------
    picture : str, Path, bytes, PIL Image or array
        Path, encoded file, picture, or ``(height, width)`` or ``(height, width, 3 or
        4)`` array: uint8, or float between 0 and 1.
    name : str
        The name of the picture in error messages.

    Returns
    -------
    PIL.Image.Image
        Upright RGB, as encoders see it; transparent parts are white.

    Raises
    ------
    ValueError
        If the content is not a picture.
    FileNotFoundError
        If there is no file at the path.
    """
    try:
        return read_picture(_readable(picture))
    except (TypeError, ValueError) as error:  # of which `ContentError` is one
        is_file = isinstance(picture, str | Path)
        if is_file and isinstance(error.__cause__, FileNotFoundError):
            raise FileNotFoundError(f"{name}: no file {str(picture)!r}") from error
        shown = repr(os.fspath(picture)) if is_file else "content"
        raise ValueError(
            f"{name}: cannot read {shown} as a picture: {error}"
        ) from error


def _readable(picture: Any) -> Any:
    """Return what encoders read as well."""
    if isinstance(picture, bytearray):
        return bytes(picture)
    if isinstance(picture, Image.Image | bytes | str | Path):
        return picture
    return _from_array(np.asarray(picture))


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype.kind == "f":
        if not ((pixels >= 0) & (pixels <= 1)).all():
            raise ValueError("float pixels must lie between 0 and 1")
        pixels = np.rint(255 * pixels)
    elif pixels.dtype != np.uint8:
        raise TypeError(f"pixels must be uint8 or float, got {pixels.dtype}")
    return Image.fromarray(pixels.astype(np.uint8))
