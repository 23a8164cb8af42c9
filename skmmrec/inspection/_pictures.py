"""Decode pictures in any form that an item table may contain."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image


def is_missing(picture: Any) -> bool:
    """Tell whether a cell of a picture column is empty.

    Parameters
    ----------
    picture : object
        None, NaN and ``pd.NA`` are missing.

    Returns
    -------
    bool
    """
    return picture is None or (np.ndim(picture) == 0 and pd.isna(picture) is True)


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
        RGB; transparent parts are white.

    Raises
    ------
    ValueError
        If the content is not a picture.
    FileNotFoundError
        If there is no file at the path.
    """
    try:
        return _to_rgb(_decode(picture))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name}: no file {str(picture)!r}") from error
    except (OSError, TypeError, ValueError, Image.DecompressionBombError) as error:
        shown = (
            repr(os.fspath(picture)) if isinstance(picture, str | Path) else "content"
        )
        raise ValueError(
            f"{name}: cannot read {shown} as a picture: {error}"
        ) from error


def _decode(picture: Any) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, bytes | bytearray):
        return _load(io.BytesIO(picture))
    if isinstance(picture, str | Path):
        return _load(picture)
    return _from_array(np.asarray(picture))


def _load(source: Any) -> Image.Image:
    with Image.open(source) as picture:
        picture.load()
        return picture.copy()


def _from_array(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype.kind == "f":
        if not ((pixels >= 0) & (pixels <= 1)).all():
            raise ValueError("float pixels must lie between 0 and 1")
        pixels = np.rint(255 * pixels)
    elif pixels.dtype != np.uint8:
        raise TypeError(f"pixels must be uint8 or float, got {pixels.dtype}")
    return Image.fromarray(pixels.astype(np.uint8))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if "transparency" not in picture.info and "A" not in picture.getbands():
        return picture.convert("RGB")
    opaque = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(opaque, picture.convert("RGBA")).convert("RGB")
