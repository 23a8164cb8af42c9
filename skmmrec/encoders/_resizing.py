"""Pictures of a network's size, as open_clip's transform makes them, only sooner.

The host decodes and resizes, in whole numbers of 8 bits; the device scales and
normalises. A JPEG is decoded at a fraction of its size where that is enough.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.transforms import Normalize

from skmmrec.encoders._pictures import Decoded, decode_picture

# The resized picture may have so many times the pixels of the part that is cropped. Of
# longer pictures Pillow resizes that part alone.
_MOST_PIXELS = 4
# Levels, of 255, by which two ways to resize may differ: each rounds twice.
_TOLERANCE = 3
# Width and height of pictures on which both ways must agree: upright, lying, and long.
_PROBES = ((40, 61), (301, 200), (500, 60))
_RESIZE_LINEAR = torch.ops.aten._upsample_bilinear2d_aa
_RESIZE_CUBIC = torch.ops.aten._upsample_bicubic2d_aa


class Part(NamedTuple):
    """A part of a resized picture: its place, and the size of the whole.

    Parameters
    ----------
    width, height : int
        To which the whole picture is resized.
    left, top : int
        Where the part begins; negative where the picture is padded.
    """

    width: int
    height: int
    left: int
    top: int


class Resizer:
    """Resizes pictures to the size of a network's input, as 8 bits per value.

    Parameters
    ----------
    config : PreprocessCfg
        Of open_clip: size, interpolation, mode of resizing, and colour of padding.
    """

    def __init__(self, config: PreprocessCfg) -> None:
        size = config.size if isinstance(config.size, int) else tuple(config.size)
        self._height, self._width = (size, size) if isinstance(size, int) else size
        self._mode = config.resize_mode or "shortest"
        self._fill = config.fill_color if self._mode == "longest" else 0
        is_square = self._height == self._width
        # In the mode "shortest", open_clip ignores the interpolation if the size is no
        # square.
        is_told = is_square or self._mode != "shortest"
        self._is_linear = is_told and config.interpolation == "bilinear"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of what the network is given of a picture."""
        return 3, self._height, self._width

    def is_modest(self, width: int, height: int) -> bool:
        """Tell whether a whole picture is resized to little more than its part."""
        wide, high = self.needed(width, height)
        return 0 < wide * high <= _MOST_PIXELS * self._width * self._height

    def part(self, width: int, height: int) -> Part:
        """Return the part of a picture that is taken."""
        whole = self.needed(width, height)
        left, top = _offset(whole[0], self._width), _offset(whole[1], self._height)
        return Part(*whole, left, top)

    def needed(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height to which a whole picture is resized."""
        ratios = width / self._width, height / self._height
        if self._mode == "squash":
            return self._width, self._height
        if self._mode == "longest":
            return round(width / max(ratios)), round(height / max(ratios))
        if self._width != self._height:
            return round(width / min(ratios)), round(height / min(ratios))
        short, long = min(width, height), max(width, height)
        longer = int(self._width * long / short)
        return (self._width, longer) if width <= height else (longer, self._width)

    def __call__(self, picture: Decoded) -> torch.Tensor:
        """Return a picture as a uint8 tensor of shape (3, height, width)."""
        part = self.part(*picture.full)
        pixels = self._by_torch(picture, part)
        if pixels is None:
            pixels = self._by_pillow(picture, part)
        return torch.from_numpy(self._padded(pixels, part))

    def _by_torch(self, picture: Decoded, part: Part) -> np.ndarray | None:
        """Resize in the processor's wide registers; None where that does not pay."""
        if not self.is_modest(*picture.full):
            return None
        pixels = _pixels(picture.image) if _has_kernels() else None
        if pixels is None:
            return None
        # interpolate() would take the size from the image, not from what it holds.
        resize = _RESIZE_LINEAR if self._is_linear else _RESIZE_CUBIC
        scales = [part.height / picture.size[1], part.width / picture.size[0]]
        resized = resize(pixels, [part.height, part.width], False, *scales)
        (x, x_end), (y, y_end) = self._seen(part)
        return resized[0, :3, y:y_end, x:x_end].numpy()

    def on_device(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resize whole upright pictures of one size on a device.

        Both have shape (n, 3, height, width) and are uint8; the result has the
        network's size.
        """
        part = self.part(pixels.shape[3], pixels.shape[2])
        mode = "bilinear" if self._is_linear else "bicubic"
        size = (part.height, part.width)
        resized = interpolate(pixels.float(), size, mode=mode, antialias=True)
        (x, x_end), (y, y_end) = self._seen(part)
        seen = resized[..., y:y_end, x:x_end].round_().clamp_(0, 255).to(torch.uint8)
        if seen.shape[1:] == self.shape:
            return seen
        out = seen.new_full((len(pixels), *self.shape), self._fill)
        x, y = max(-part.left, 0), max(-part.top, 0)
        out[..., y : y + seen.shape[2], x : x + seen.shape[3]] = seen
        return out

    def _by_pillow(self, picture: Decoded, part: Part) -> np.ndarray:
        (x, x_end), (y, y_end) = self._seen(part)
        width, height = picture.size
        step, down = width / max(part.width, 1), height / max(part.height, 1)
        end, bottom = min(x_end * step, width), min(y_end * down, height)
        resampling = Image.Resampling
        kind = resampling.BILINEAR if self._is_linear else resampling.BICUBIC
        box = (x * step, y * down, end, bottom)
        resized = picture.image.resize((x_end - x, y_end - y), kind, box)
        return np.array(resized).transpose(2, 0, 1)

    def _seen(self, part: Part) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return where the part begins and ends in the resized picture, per axis."""
        return (
            (max(part.left, 0), min(part.left + self._width, part.width)),
            (max(part.top, 0), min(part.top + self._height, part.height)),
        )

    def _padded(self, pixels: np.ndarray, part: Part) -> np.ndarray:
        if pixels.shape == self.shape:
            return np.ascontiguousarray(pixels)
        out = np.full(self.shape, self._fill, np.uint8)
        x, y = max(-part.left, 0), max(-part.top, 0)
        out[:, y : y + pixels.shape[1], x : x + pixels.shape[2]] = pixels
        return out


class PictureTransform:
    """open_clip's transform of pictures in two steps, on the host and on the device.

    Parameters
    ----------
    config : PreprocessCfg
        Of open_clip.

    Notes
    -----
    Where the steps do not give what the transform gives, as with another version of
    open_clip, the transform itself is taken.
    """

    def __init__(self, config: PreprocessCfg) -> None:
        self.whole: Any = image_transform_v2(config, is_train=False)
        self.resizer: Resizer | None = None
        self._scale = self._shift = torch.zeros(())
        last = self.whole.transforms[-1]
        if isinstance(last, Normalize):
            mean, std = _as_column(last.mean), _as_column(last.std)
            self._scale, self._shift = 1 / (255 * std), -mean / std
            self.resizer = self._checked(Resizer(config))

    def read(self, item: Any) -> torch.Tensor:
        """Read a picture; return a tensor of shape (3, height, width)."""
        if self.resizer is None:
            return self.whole(decode_picture(item).image)
        return self.resizer(decode_picture(item, self.resizer.needed))

    def to(self, device: torch.device) -> PictureTransform:
        """Move to a device what `normalise` needs; return the transform itself."""
        self._scale, self._shift = self._scale.to(device), self._shift.to(device)
        return self

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """Turn a batch of what `read` returns into the network's input, as float32."""
        if batch.is_floating_point():
            return batch.float()
        return batch.float().mul_(self._scale).add_(self._shift)

    def __str__(self) -> str:
        """Return what tells two transforms apart, and two ways to do the same."""
        return f"{self.whole}" if self.resizer is None else f"uint8 {self.whole}"

    def _checked(self, resizer: Resizer) -> Resizer | None:
        """Return a resizer if it does what the whole transform does."""
        for image in map(probe_picture, _PROBES):
            expected = self.whole(image)
            given = self.normalise(resizer(Decoded(image, image.size, image.size)))
            tolerance = _TOLERANCE * self._scale.abs().max()
            if given.shape != expected.shape:
                return None
            if (given - expected).abs().max() > tolerance:
                return None
        return resizer


def _offset(length: int, part: int) -> int:
    """Return where the middle part of a length begins, as open_clip rounds it."""
    return round((length - part) / 2) if length >= part else -((part - length) // 2)


def _pixels(image: Image.Image) -> torch.Tensor | None:
    """Return the memory of an RGB image, without a copy, as shape (1, 4, H, W).

    Pillow lends it since version 11.2, if it is in one piece: up to 16 MB.
    """
    if not hasattr(image, "__arrow_c_array__"):
        return None
    try:
        values = pyarrow.array(image).values
    except ValueError:
        return None
    pixels = torch.utils.dlpack.from_dlpack(values).view(image.height, image.width, 4)
    return pixels.permute(2, 0, 1)[None]


def _has_kernels() -> bool:
    """Tell whether torch resizes 8 bits by wide instructions, and in one thread."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX")


def _as_column(values: Any) -> torch.Tensor:
    return torch.tensor([float(value) for value in values]).view(-1, 1, 1)


def probe_picture(size: tuple[int, int]) -> Image.Image:
    """Return a picture of a size, with something to see at each place."""
    x, y = np.meshgrid(*(np.arange(n) / n for n in size))
    waves = [np.sin(9 * x + 4 * y), np.cos(5 * x * y), x - y]
    return Image.fromarray(np.uint8(127 + 100 * np.stack(waves, axis=2)))
