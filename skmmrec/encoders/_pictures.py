"""Read pictures: turn any file or array into an upright RGB image, or raise."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from skmmrec.runtime import ContentError, digest, is_missing, open_file

# Pictures that declare more are refused before they are decoded. As RGB this is 403 MB.
# Pillow warns from two thirds of it on.
MAX_PIXELS = 2**27


def picture_key(item: Any) -> Any:
    """Return a key that is equal for equal pictures; a path is its own key."""
    if isinstance(item, list):
        return tuple(picture_key(picture) for picture in present_pictures(item))
    if isinstance(item, str | os.PathLike):
        return os.fspath(item)
    if isinstance(item, bytes):
        return digest(item)
    if isinstance(item, np.ndarray):
        array = _checked_array(item)
        return (array.shape, digest(array))
    if isinstance(item, Image.Image):
        rgb = read_picture(item)
        return (rgb.size, digest(rgb.tobytes()))
    raise ContentError(
        f"expected a path, bytes, a PIL image or an array, got {type(item).__name__}"
    )


def present_pictures(item: Any) -> list[Any]:
    """Return the pictures of a list that are not missing, or the item itself."""
    if not isinstance(item, list):
        return [item]
    return [picture for picture in item if not is_missing(picture)]


def read_picture(item: Any) -> Image.Image:
    """Return an item as an upright RGB image.

    Parameters
    ----------
    item : str, path, bytes, PIL image or ndarray of shape (H, W[, 1, 3 or 4]), uint8
        The picture. Transparent parts become white.

    Raises
    ------
    ContentError
        If the item is missing, damaged, too large or not a picture.
    """
    if isinstance(item, np.ndarray):
        return _to_rgb(Image.fromarray(_checked_array(item)))
    if isinstance(item, Image.Image):
        return _upright(item)
    if isinstance(item, bytes):
        return _decode(io.BytesIO(item))
    with open_file(item) as file:
        return _decode(file)


def _decode(file: BinaryIO) -> Image.Image:
    try:
        image = Image.open(file)
    except Exception as error:
        raise ContentError(f"is not a readable picture: {error}") from error
    return _upright(image)


def _upright(image: Image.Image) -> Image.Image:
    n_pixels = image.width * image.height
    if n_pixels > MAX_PIXELS:
        raise ContentError(
            f"declares {image.width} x {image.height} pixels, more than the "
            f"{MAX_PIXELS} that are allowed"
        )
    try:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:
        raise ContentError(f"is a damaged picture: {error}") from error


def _checked_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture or array.size == 0:
        raise ContentError(
            "expected a uint8 array of shape (H, W, 3), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return np.ascontiguousarray(array)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Scale 16-bit grey, which Pillow would clip instead."""
    return (np.asarray(image).clip(0, 65535) // 256).astype(np.uint8)
