"""Grey of more than 8 bits, whose files rarely say which value is white."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from skmmrec.runtime import ContentError

# Bits per value of sensors and files. The least that holds the largest value is taken
# for a picture's depth: a dark picture of 16 bits becomes brighter and stays what it
# is, while one of 12 bits that was read as 16 would be black.
_DEPTHS = (8, 10, 12, 14, 16)
# From here on, values need all 31 bits that a positive int32 has.
_WIDE = 2**30
# By how much of the range resizing may overshoot it: a sharp edge by about 5 %.
_OVERSHOOT = 0.05
# Values that are all below this, of 255, would be black; they have another range.
_LEAST_WHITE = 16
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_ADVICE = "scale it so that white is 255, and store it with 8 bits"


def is_deep(image: Image.Image) -> bool:
    """Tell whether a picture is grey, of more than 8 bits or floating."""
    return image.mode.startswith(("I", "F"))


def eight_bits(image: Image.Image) -> Image.Image:
    """Return deep grey as grey of 8 bits, which Pillow would clip instead.

    Raises ContentError if it cannot be told which value is white.
    """
    values = np.asarray(image)
    grey = _from_floats(values) if image.mode == "F" else _from_integers(values)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    hidden = image.info.get("transparency")
    if isinstance(hidden, int):
        grey = np.where(values == hidden, np.uint8(255), grey)
    return Image.fromarray(grey)


def _from_integers(values: np.ndarray) -> np.ndarray:
    least, largest = int(values.min()), int(values.max())
    if least < 0:
        raise ContentError(f"holds grey values down to {least}: {_ADVICE}")
    depth = next((depth for depth in _DEPTHS if largest < 2**depth), None)
    if largest >= _WIDE:
        depth = 31
    if depth is None or 0 < largest < _LEAST_WHITE:
        raise ContentError(
            f"holds grey values up to {largest}, of which it cannot be told how many "
            f"bits they have: {_ADVICE}"
        )
    return (values >> (depth - 8)).astype(np.uint8)


def _from_floats(values: np.ndarray) -> np.ndarray:
    least, largest = float(values.min()), float(values.max())
    for white in (1.0, 255.0):
        slack = _OVERSHOOT * white
        is_black = least == largest == 0
        is_seen = white * _LEAST_WHITE / 255 <= largest <= white + slack
        if is_black or (is_seen and least >= -slack):
            return np.rint(np.clip(values * (255 / white), 0, 255)).astype(np.uint8)
    raise ContentError(
        f"holds floating grey values from {least:g} to {largest:g}, neither in [0, 1] "
        f"nor in [0, 255]: {_ADVICE}"
    )


def loses_depth(image: Image.Image) -> bool:
    """Tell, before it is loaded, whether Pillow keeps only 8 of a picture's 16 bits."""
    tiles: Any = getattr(image, "tile", [])
    return not is_deep(image) and any(";16" in str(tile[3]) for tile in tiles)


def require_depth(image: Image.Image) -> None:
    """Raise if the upper 8 of 16 bits say next to nothing.

    Raises ContentError if colours of 16 bits are all below 2**12, which leaves 16 of
    256 values.
    """
    colours = [c for c in image.getbands() if c not in "Aa"]
    brightest = max(np.asarray(image.getchannel(c)).max() for c in colours)
    if brightest < _LEAST_WHITE:
        raise ContentError(
            "holds colours of 16 bits that are all below 4096, so that it cannot be "
            f"told which is white: {_ADVICE}"
        )
