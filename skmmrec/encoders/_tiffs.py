"""TIFF files of which Pillow would read other pixels than they hold."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImagePalette
from PIL.TiffImagePlugin import OPEN_INFO

from skmmrec.runtime import ContentError

_BITS, _COLOURS, _FILL_ORDER = 258, 262, 266
_PLANES, _PALETTE, _NUMBERS = 284, 320, 339
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
    if tags.get(_PLANES) == _APART:
        is_one = len(image.getbands()) == 1
        change = _of_one_channel if is_one else _of_16_bits
        image.tile = [change(tile, tags) for tile in tiles]  # type: ignore[attr-defined]
    colours = tags.get(_PALETTE, ()) if image.mode in ("P", "PA") else ()
    if 0 < max(colours, default=0) < 256:
        # They are to have 16 bits, of which Pillow takes the upper 8. Some programs
        # write 8, as libtiff, too, finds by the largest.
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))


def _several(tag: Any) -> tuple[int, ...]:
    return tag if isinstance(tag, tuple) else (tag,)


def _of_one_channel(tile: Any, tags: Any) -> Any:
    """Return a tile of the only plane as Pillow reads it where none is declared.

    By the first letter of that, black becomes white and bytes change places.
    """
    bits, numbers = (_several(tags.get(tag, 1))[:1] for tag in (_BITS, _NUMBERS))
    kind = (tags.prefix, tags.get(_COLOURS, 0), numbers, tags.get(_FILL_ORDER, 1))
    known: Any = OPEN_INFO
    _, name = known.get((*kind, bits, ()), ("", tile.args[0]))
    return tile if tile.codec_name != "raw" else _named(tile, name)


def _of_16_bits(tile: Any, tags: Any) -> Any:
    """Return a tile of a plane as one of 16 bits; Pillow takes it for one of 8.

    A plane is named by one letter. What is compressed is read by libtiff, rightly. A
    ContentError is for inks, of which Pillow knows no such planes.
    """
    plane, is_deep = tile.args[0], set(tags.get(_BITS, ())) == {16}
    if tile.codec_name != "raw" or len(plane) != 1 or not is_deep:
        return tile
    if plane not in "RGBA":
        raise ContentError(
            "holds each ink of 16 bits in a plane of its own, which Pillow cannot "
            "read: save it with 8 bits, or with the inks of a pixel side by side"
        )
    return _named(tile, f"{plane};16{'L' if tags.prefix == b'II' else 'B'}")


def _named(tile: Any, name: str) -> Any:
    return tile._replace(args=(name, *tile.args[1:]))
