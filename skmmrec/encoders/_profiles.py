"""Colours of pictures that come with a profile, as those of sRGB.

The numbers of a pixel are colours only by a profile. Encoders have learned from sRGB,
which pictures without a profile are in, as are most of those with one. Of the others,
such as photographs in Display P3 or Adobe RGB and scans for print, the numbers would
tell paler or other colours.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

# Profiles whose conversion is kept: cameras and programs write the same few. The
# largest that are read have 4 MiB, most a few KB.
_KEPT = 16
# By how much, of 255, a profile of sRGB may change a colour: the many editions of it
# round their curves differently. Display P3 changes some by 70.
_SAME = 3
# Values of each channel among which a profile is compared with sRGB: 4,913 colours.
_STEPS = np.linspace(0, 255, 17).round().astype(np.uint8)
# Modes of Pillow that only tell how bright a pixel is.
_GREY = ("1", "L", "LA", "La", "I", "F")


def space_of(mode: str) -> str:
    """Return the kind of colours that the profile of a picture of a mode is for."""
    if mode == "CMYK":
        return "CMYK"
    return "L" if mode.split(";")[0] in _GREY else "RGB"


def in_srgb(image: Image.Image, profile: Any, space: str) -> Image.Image:
    """Return a picture by the colours of sRGB; itself if it has them.

    A picture is CMYK, or RGB, with equal channels where it is grey; `space` is what the
    file's own pixels are, as `space_of` tells. A profile that cannot be read, or is for
    other colours, does not count. Returns RGB, but for a CMYK picture without a profile
    that counts.
    """
    conversion = _conversion(profile, space) if isinstance(profile, bytes) else None
    if conversion is None:
        return image
    source = image.getchannel(0) if space == "L" else image
    converted: Image.Image = conversion.apply(source)
    return converted


def changes(profile: bytes | None, space: str) -> bool:
    """Tell whether `in_srgb` would change a picture."""
    return profile is not None and _conversion(profile, space) is not None


@lru_cache(_KEPT)
def _conversion(profile: bytes, space: str) -> Any:
    """Make what converts pictures; None if they are to stay as they are."""
    from PIL import ImageCms  # loads a library, which most pictures do not need

    try:
        found = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            space,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None  # ignored, like all metadata that cannot be read
    if space == "CMYK":
        return found
    colours = _colours(space)
    before = np.asarray(colours.convert("RGB"), np.int16)
    after = np.asarray(found.apply(colours), np.int16)
    return found if np.abs(after - before).max() > _SAME else None


def _colours(space: str) -> Image.Image:
    """Return colours from all parts of a space, as a picture."""
    if space == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    grid = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS, indexing="ij"), axis=-1)
    return Image.fromarray(grid.reshape(len(_STEPS), -1, 3))
