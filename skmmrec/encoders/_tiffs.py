"""TIFF files of which Pillow would read other pixels than they hold."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImagePalette

from skmmrec.runtime import ContentError

_BITS, _PLANES, _PALETTE, _NUMBERS = 258, 284, 320, 339
_SIGNED = 2
_APART = 2  # each channel in a plane of its own


def correct_reading(image: Image.Image) -> None:
    """Have Pillow load the pixels that an opened picture holds.

    What is loaded already, and what is no TIFF, stays as it is. A ContentError is for
    signed numbers of 8 bits, which Pillow takes for unsigned ones.
    """
    tags: Any = getattr(image, "tag_v2", None)
    tiles: Any = getattr(image, "tile", [])
    if tags is None or not tiles:
        return
    if _SIGNED in _several(tags.get(_NUMBERS)) and 8 in _several(tags.get(_BITS)):
        raise ContentError(
            "holds signed numbers of 8 bits, of which it is not known what is black: "
            "add 128, or scale them, and save them as unsigned ones"
        )
    if tags.get(_PLANES) == _APART and set(tags.get(_BITS, ())) == {16}:
        order = "L" if tags.prefix == b"II" else "B"
        image.tile = [_of_16_bits(tile, order) for tile in tiles]  # type: ignore[attr-defined]
    colours = tags.get(_PALETTE, ()) if image.mode in ("P", "PA") else ()
    if 0 < max(colours, default=0) < 256:
        # They are to have 16 bits, of which Pillow takes the upper 8. Some programs
        # write 8, as libtiff, too, finds by the largest.
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))


def _several(tag: Any) -> tuple[int, ...]:
    return tag if isinstance(tag, tuple) else (tag,)


def _of_16_bits(tile: Any, order: str) -> Any:
    """Return a tile of a plane as one of 16 bits; Pillow takes it for one of 8.

    A plane is named by one letter. What is compressed is read by libtiff, rightly.
    """
    plane = tile.args[0]
    if tile.codec_name != "raw" or len(plane) != 1:
        return tile
    return tile._replace(args=(f"{plane};16{order}", *tile.args[1:]))
