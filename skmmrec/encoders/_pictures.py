"""Read pictures: turn any file or array into an upright RGB image, or raise."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from skmmrec.encoders._grey import eight_bits, is_deep, loses_depth, require_depth
from skmmrec.encoders._metadata import Stripped, can_strip, orientation_of, strip
from skmmrec.encoders._profiles import in_srgb, space_of
from skmmrec.encoders._tiffs import correct_reading
from skmmrec.runtime import (
    ContentError,
    RawBytes,
    digest,
    hash_of_content,
    how_to_give,
    is_missing,
    open_file,
    reading,
    refuse_mask,
    what_it_is,
)

# Pictures that declare more are refused before they are decoded. As RGB this is 403 MB.
# Pillow warns from two thirds of it on.
MAX_PIXELS = 2**27
# Files of more bytes are decoded as they are, without a copy of them in memory.
_MOST_BYTES = 2**30
# Frames of an animation that are looked at for one that shows something: 4 s at 25 per
# second. Fading in takes one or two.
_MOST_FRAMES = 100
# Pixels of all these frames: of large ones, fewer are looked at, which takes seconds.
_MOST_FRAME_PIXELS = 2**28
# A frame whose channels vary by no more, out of 255, shows one colour: codecs with
# losses add as much to it, and `ImageCropper` takes the same for a border.
_ONE_COLOUR = 16
# How much larger than needed a JPEG must still be at an eighth, a quarter or half of
# its size to be decoded at it. A decoder averages pixels there, which lets fine
# patterns through. With these margins the vectors of MovieLens posters, enlarged to
# such sizes, keep a mean cosine of 0.999 for EfficientNet-Lite0, 0.99999 for ViT-B-32.
_FRACTIONS = ((8, 3 / 2), (4, 3 / 2), (2, 4 / 3))

# What the largest grey value of a PNG file is multiplied by to become 255.
_FACTORS = {"L;2": 85, "L;4": 17}

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def picture_key(item: Any) -> Any:
    """Return a key that is equal for equal pictures; a path is its own key."""
    if isinstance(item, list):
        return tuple(picture_key(picture) for picture in present_pictures(item))
    if isinstance(item, str | os.PathLike):
        return os.fspath(item)
    if isinstance(item, RawBytes):
        return digest(bytes(item))
    if isinstance(item, np.ndarray):
        array = _checked_array(item)
        return (array.shape, digest(array))
    if isinstance(item, Image.Image):
        rgb = decode_picture(item).image
        return (rgb.size, digest(rgb.tobytes()))
    raise ContentError(_unknown(item))


def picture_hash(item: Any) -> bytes:
    """Return a hash of the content itself: of files' bytes, not their names."""
    if isinstance(item, list):
        return digest(b"".join(map(picture_hash, present_pictures(item))))
    return hash_of_content(item, picture_key)


def present_pictures(item: Any) -> list[Any]:
    """Return the pictures of a list that are not missing, or the item itself."""
    if not isinstance(item, list):
        return [item]
    return [picture for picture in item if not is_missing(picture)]


def read_picture(item: Any) -> Image.Image:
    """Return an item as an upright RGB image.

    Parameters
    ----------
    item : str, path, bytes, PIL image or ndarray of shape (H, W[, 1, 3 or 4])
        The picture; an array is uint8, from 0 to 255, or bool. Colours of another ICC
        profile become those of sRGB, and transparent parts white. Grey of more than 8
        bits is scaled by the least depth of 8, 10, 12, 14 or 16 bits that holds its
        largest value; floating grey is in [0, 1] or [0, 255]. An animation or a file of
        several pages is the first frame, among 100, that does not show a single colour;
        a PIL image is the frame that it is at.

    Raises
    ------
    ContentError
        If the item is missing, damaged, too large or not a picture, or it cannot be
        told which of its values is white.
    """
    image = decode_picture(item).image.copy()
    image.info = {}
    return image


class Decoded(NamedTuple):
    """A decoded picture, perhaps at a fraction of its size.

    Parameters
    ----------
    image : PIL image
        Upright and RGB; not to be changed.
    size : tuple of float
        Width and height of the whole picture in the pixels of `image`, the last of
        which may lie partly outside.
    full : tuple of int
        Width and height in pixels of the file.
    """

    image: Image.Image
    size: tuple[float, float]
    full: tuple[int, int]


Needed = Callable[[int, int], tuple[int, int]]
"""Maps the width and height of a picture to those that it will be resized to."""


def decode_picture(item: Any, needed: Needed | None = None) -> Decoded:
    """Decode a picture as `read_picture` does, at a fraction of its size if it may be.

    Without `needed`, it is decoded at its full size.
    """
    if isinstance(item, np.ndarray):
        return _whole(_to_rgb(Image.fromarray(_checked_array(item))))
    if isinstance(item, Image.Image):
        return _whole(_upright(item))
    if isinstance(item, RawBytes):
        return _decode(strip(bytes(item)), needed)
    if isinstance(item, str | os.PathLike):
        with open_file(item) as file:
            return _decode(_stripped(file), needed)
    raise ContentError(_unknown(item))


def _whole(image: Image.Image) -> Decoded:
    return Decoded(image, image.size, image.size)


def _stripped(file: BufferedReader) -> Stripped:
    """Return a file without metadata, in memory, or itself if they do no harm."""
    n_bytes = os.fstat(file.fileno()).st_size
    if n_bytes <= _MOST_BYTES and can_strip(file.peek(64)):
        return strip(file.read())
    return Stripped(file, None)


def _opened(source: Any) -> Image.Image:
    try:
        return Image.open(source)
    except UnidentifiedImageError as error:  # its message names an object in memory
        known = what_it_is(source, "picture")
        raise ContentError(
            f"is not a readable picture: {known or 'it is no file of a known format'}"
        ) from error


def _decode(file: Stripped, needed: Needed | None) -> Decoded:
    source, turn = file.data, file.orientation
    with reading("is not a readable picture"):
        image = _opened(io.BytesIO(source) if isinstance(source, bytes) else source)
    _require_no_program(image)
    _require_modest_size(image)
    with reading("is a damaged picture"):
        if turn is None or not file.has_fractions or needed is None:
            shown = _first_that_shows(image, file.profile)
            return _whole(_turned(shown, turn or orientation_of(image)))
        return _at_fraction(image, file, turn, needed)


def _at_fraction(
    image: Image.Image, file: Stripped, turn: int, needed: Needed
) -> Decoded:
    """Decode a JPEG at the smallest fraction of its size that is enough."""
    width, height = image.size
    full = (height, width) if turn >= 5 else (width, height)
    divisor = _divisor(full, needed(*full), is_turned=turn > 1)
    done = None
    if divisor > 1 and image.mode in ("RGB", "L"):
        done = image.draft(None, (width // divisor, height // divisor))
    upright = _turned(_loaded(image, file.profile), turn)
    size: tuple[float, float] = upright.size
    if done is not None and turn <= 1:
        size = done[1][2], done[1][3]
    return Decoded(upright, size, full)


def _divisor(full: tuple[int, int], needed: tuple[int, int], is_turned: bool) -> int:
    """Return by how much a JPEG's size is divided.

    What is over lies at the end; that of a turned picture would be at its beginning.
    """
    ratio = min(full[0] / max(needed[0], 1), full[1] / max(needed[1], 1))
    for divisor, margin in _FRACTIONS:
        is_even = full[0] % divisor == 0 and full[1] % divisor == 0
        if ratio >= divisor * margin and (is_even or not is_turned):
            return divisor
    return 1


def _upright(image: Image.Image) -> Image.Image:
    """Return the current frame of an image of someone else as upright RGB."""
    _require_modest_size(image)
    with reading("is a damaged picture"):
        return _turned(_loaded(image), orientation_of(image))


def _require_no_program(image: Image.Image) -> None:
    """Refuse EPS before it is drawn: Pillow has Ghostscript run it, as a program."""
    if image.format == "EPS":
        raise ContentError("is an EPS file, which is a program: draw it as a PNG file")


def _require_modest_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ContentError(
            f"declares {image.width} x {image.height} pixels, more than the "
            f"{MAX_PIXELS} that are allowed"
        )


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image upright; itself if it is."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _first_that_shows(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return as RGB the first of several frames that has more than one colour.

    If there is none among the first ones, return the one that varies most.
    """
    best = _loaded(image, profile)
    if not getattr(image, "is_animated", False):
        return best
    best = best.copy()  # it may be the image itself, which goes on
    most, frames = _variation(best), _later_frames(image, profile)
    while most <= _ONE_COLOUR and (frame := next(frames, None)) is not None:
        if _variation(frame) > most:
            best, most = frame.copy(), _variation(frame)
    return best


def _variation(image: Image.Image) -> int:
    """Return the range of the channel that varies most."""
    return int(np.ptp(np.asarray(image), axis=(0, 1)).max())


def _later_frames(image: Image.Image, profile: bytes | None) -> Iterator[Image.Image]:
    """Yield frames behind the first; each may have a size of its own."""
    n_left = _MOST_FRAME_PIXELS - image.width * image.height
    for number in range(1, _MOST_FRAMES):
        try:
            image.seek(number)
        except EOFError:
            return
        n_left -= image.width * image.height
        if n_left < 0:
            return
        _require_modest_size(image)
        yield _loaded(image, profile)


def _loaded(image: Image.Image, profile: bytes | None = None) -> Image.Image:
    """Return the current frame of an image as RGB, in the colours of sRGB.

    A `profile` was in the file before it was stripped; others are with the image.
    """
    correct_reading(image)
    is_cut, factor = loses_depth(image), _grey_factor(image)
    image.load()
    if is_cut:
        require_depth(image)
    hidden = image.info.get("transparency")
    if factor > 1 and isinstance(hidden, int):
        image = image.copy()  # it may be the caller's
        image.info["transparency"] = factor * hidden
    profile = profile or image.info.get("icc_profile")
    if profile is None:
        return _to_rgb(image)
    space = space_of(image.mode)
    if space == "CMYK":
        return _to_rgb(in_srgb(image, profile, space))
    return in_srgb(_to_rgb(image), profile, space)


def _grey_factor(image: Image.Image) -> int:
    """Return by what Pillow multiplies grey of 2 or 4 bits when it loads it.

    The value that a PNG file declares to be transparent stays as it was.
    """
    tiles: Any = getattr(image, "tile", [])
    return max((_FACTORS.get(str(tile[3]), 1) for tile in tiles), default=1)


def _checked_array(array: np.ndarray) -> np.ndarray:
    """Return an array as uint8 of shape (H, W[, 3 or 4])."""
    refuse_mask(array, "pixels")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype not in (np.uint8, bool) or not is_picture or array.size == 0:
        raise ContentError(
            "expected a uint8 array of shape (H, W, 3), "
            f"got {array.dtype} of shape {array.shape}{_advice(array)}"
        )
    if array.dtype == bool:
        array = array * np.uint8(255)
    elif array.max() == 1:
        raise ContentError(
            "holds no values but 0 and 1, which is black: pass a mask as bool, by "
            ".astype(bool), and multiply floats in [0, 1] by 255 before they are cast"
        )
    return np.ascontiguousarray(array)


def _advice(array: np.ndarray) -> str:
    """Say what to do with an array that is not a picture."""
    steps = []
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (3, 4):
        steps.append("transpose it by array.transpose(1, 2, 0)")
    if array.dtype.kind in "fiu" and array.dtype != np.uint8:
        steps.append("scale it to 0 ... 255 and cast it by .astype(np.uint8)")
    return f": {' and '.join(steps)}" if steps else ""


def _unknown(item: Any) -> str:
    advice = how_to_give(item)
    if isinstance(item, list | tuple | set):
        advice = ": give several pictures as one list of these"
    if hasattr(item, "__array__"):
        advice = ": turn it into a uint8 array of shape (H, W, 3)"
    if hasattr(item, "permute"):
        advice += ", a tensor of shape (3, H, W) by .permute(1, 2, 0).numpy()"
    kind = type(item).__name__
    return f"expected a path, bytes, a PIL image or an array, got {kind}{advice}"


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return an image as RGB and on white; itself if it is."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if is_deep(image):
        return eight_bits(image).convert("RGB")
    is_animated = getattr(image, "is_animated", False)
    if image.has_transparency_data:
        # Pillow converts premultiplied grey to its straight kind alone.
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        if not is_animated:
            _require_seen(image)
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _require_seen(image: Image.Image) -> None:
    """Raise if an alpha channel hides all of a picture that has several colours.

    Renderers and scanners leave alpha at 0, and masks are 0 and 1; on white, such a
    picture would be white.
    """
    largest = int(np.asarray(image.getchannel("A")).max())
    if largest <= 1 and _variation(image.convert("RGB")) > _ONE_COLOUR:
        raise ContentError(
            f"is transparent everywhere: no alpha is above {largest} of 255, which "
            "hides its colours. Leave alpha out, or scale it so that 255 is opaque"
        )
