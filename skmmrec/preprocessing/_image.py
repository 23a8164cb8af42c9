"""Crop, resize and denoise pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from functools import reduce
from numbers import Integral
from typing import Any, ClassVar

from PIL import Image, ImageChops, ImageFilter, ImageOps
from sklearn.utils._param_validation import Interval, Options, StrOptions

from skmmrec.encoders import MAX_PIXELS, picture_key, present_pictures, read_picture
from skmmrec.preprocessing._base import BaseContentTransformer


class _PictureTransformer(BaseContentTransformer):
    """Change pictures, or each picture of a list of them."""

    def _content_key(self, item: Any) -> Hashable:
        return picture_key(item)

    def _change(self, item: Any) -> Any:
        if isinstance(item, list):
            return [
                self._change_picture(read_picture(i)) for i in present_pictures(item)
            ]
        return self._change_picture(read_picture(item))

    @abstractmethod
    def _change_picture(self, image: Image.Image) -> Image.Image:
        """Return a changed RGB image."""


class ImageCropper(_PictureTransformer):
    """Crop pictures to their content, without borders of a single colour.

    A picture is a path, the bytes of a file, a PIL image, a uint8 array of shape
    (H, W, 3), or a list of such. The result is an upright RGB PIL image.

    Parameters
    ----------
    tolerance : int, default=16
        How far, out of 255, a channel of a border pixel may differ from that of the top
        left pixel.
    on_error : {"raise", "missing"}, default="raise"
        Whether an item that cannot be read raises an error that names its row, or
        becomes None; one warning then counts these rows.

    Attributes
    ----------
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a pandas or polars column with a name.

    Notes
    -----
    A picture of a single colour is not cropped.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.preprocessing import ImageCropper
    >>> letterboxed = np.zeros((40, 64, 3), np.uint8)
    >>> letterboxed[10:30] = 200
    >>> ImageCropper().fit_transform([letterboxed])[0].size
    (64, 20)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseContentTransformer._parameter_constraints,
        "tolerance": [Interval(Integral, 0, 254, closed="both")],
    }

    def __init__(self, *, tolerance: int = 16, on_error: str = "raise") -> None:
        self.tolerance = tolerance
        self.on_error = on_error

    def _change_picture(self, image: Image.Image) -> Image.Image:
        border = Image.new("RGB", image.size, image.getpixel((0, 0)))
        channels = ImageChops.difference(image, border).split()
        distance = reduce(ImageChops.lighter, channels)
        table = [255 * (value > self.tolerance) for value in range(256)]
        return image.crop(distance.point(table).getbbox())


class ImageResizer(_PictureTransformer):
    """Resize pictures to one size.

    A picture is a path, the bytes of a file, a PIL image, a uint8 array of shape
    (H, W, 3), or a list of such. The result is an upright RGB PIL image.

    Parameters
    ----------
    size : int or tuple of (int, int), default=256
        Width and height in pixels; one number is both.
    mode : {"contain", "cover", "pad"}, default="contain"
        ``"contain"`` scales the picture to fit into the size, ``"cover"`` scales it to
        fill the size and crops it around the centre, ``"pad"`` scales it to fit and
        fills the rest with white. All keep the aspect ratio.
    on_error : {"raise", "missing"}, default="raise"
        Whether an item that cannot be read raises an error that names its row, or
        becomes None; one warning then counts these rows.

    Attributes
    ----------
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a pandas or polars column with a name.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.preprocessing import ImageResizer
    >>> poster = np.zeros((300, 200, 3), np.uint8)
    >>> ImageResizer(size=30).fit_transform([poster])[0].size
    (20, 30)
    >>> ImageResizer(size=(40, 30), mode="cover").fit_transform([poster])[0].size
    (40, 30)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseContentTransformer._parameter_constraints,
        "size": [Interval(Integral, 1, None, closed="left"), tuple],
        "mode": [StrOptions({"contain", "cover", "pad"})],
    }

    def __init__(
        self,
        *,
        size: int | tuple[int, int] = 256,
        mode: str = "contain",
        on_error: str = "raise",
    ) -> None:
        self.size = size
        self.mode = mode
        self.on_error = on_error

    def _validate_params(self) -> None:
        super()._validate_params()
        sides = self.size if isinstance(self.size, tuple) else (self.size,) * 2
        if len(sides) != 2 or not all(isinstance(s, Integral) and s > 0 for s in sides):
            raise ValueError(
                "The 'size' parameter of ImageResizer must be a positive int or a "
                f"tuple of two. Got {self.size!r} instead."
            )
        if sides[0] * sides[1] > MAX_PIXELS:
            raise ValueError(
                f"The 'size' parameter of ImageResizer must have at most {MAX_PIXELS} "
                f"pixels. Got {self.size!r} instead."
            )

    def _change_picture(self, image: Image.Image) -> Image.Image:
        size = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        if self.mode == "cover":
            return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
        contained = image.resize(_fitting(image, size), Image.Resampling.BICUBIC)
        if self.mode == "contain":
            return contained
        padded = Image.new(image.mode, size, "white")
        left = round((size[0] - contained.width) / 2)
        top = round((size[1] - contained.height) / 2)
        padded.paste(contained, (left, top))
        return padded


def _fitting(image: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """Largest size of the picture's shape within another; a thin one keeps a pixel."""
    scale = min(size[0] / image.width, size[1] / image.height)
    width, height = round(scale * image.width), round(scale * image.height)
    return max(width, 1), max(height, 1)


class ImageDenoiser(_PictureTransformer):
    """Remove isolated wrong pixels by a median filter.

    A picture is a path, the bytes of a file, a PIL image, a uint8 array of shape
    (H, W, 3), or a list of such. The result is an upright RGB PIL image.

    Parameters
    ----------
    size : {3, 5, 7}, default=3
        Each pixel becomes the median of a square with this many pixels per side.
    on_error : {"raise", "missing"}, default="raise"
        Whether an item that cannot be read raises an error that names its row, or
        becomes None; one warning then counts these rows.

    Attributes
    ----------
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a pandas or polars column with a name.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.preprocessing import ImageDenoiser
    >>> speck = np.zeros((9, 9, 3), np.uint8)
    >>> speck[4, 4] = 255
    >>> ImageDenoiser().fit_transform([speck])[0].getextrema()
    ((0, 0), (0, 0), (0, 0))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseContentTransformer._parameter_constraints,
        "size": [Options(Integral, {3, 5, 7})],
    }

    def __init__(self, *, size: int = 3, on_error: str = "raise") -> None:
        self.size = size
        self.on_error = on_error

    def _change_picture(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.MedianFilter(self.size))
