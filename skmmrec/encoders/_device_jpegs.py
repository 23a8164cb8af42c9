"""JPEG files that a GPU decodes and resizes, many at once.

What the host does for a picture is then to read its file: decoding takes most of the
time of its cores, of which a GPU has few beside it. Only files are taken that nobody
could understand in two ways; the host decodes all others, as everywhere.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import torch

from skmmrec.encoders._metadata import (
    JPEG_FRAMES,
    exif_or_xmp,
    is_jpeg,
    is_profile,
    joined_profile,
    jpeg_segments,
)
from skmmrec.encoders._pictures import MAX_PIXELS
from skmmrec.encoders._profiles import changes
from skmmrec.encoders._resizing import PictureTransform, Resizer, probe_picture
from skmmrec.runtime import batches, is_out_of_memory, open_file

_log = logging.getLogger("skmmrec.encoders")

# Baseline JPEG, which the decoders of GPUs read; progressive files are the host's.
_BASELINE = 0xC0
# Brightness at every pixel; colours at every one, every second, or every fourth.
_SAMPLINGS = {b"\x11\x11\x11", b"\x21\x11\x11", b"\x22\x11\x11"}
# The header of a scan that holds all three channels, not one of them.
_SCAN = b"\xff\xda\x00\x0c\x03"
# The segment that lists further pictures behind the first: its marker, and its name.
_MORE_PICTURES = 0xE2, b"MPF\0"
# Three channels, as torchvision numbers the ways to read a picture.
_RGB = 3
# The end of a JPEG, and how many bytes may follow it: some programs fill up a block.
_END, _PADDING = b"\xff\xd9", 64
# Pixels that are decoded, and resized, at a time: 0.4 GB as bytes, 0.2 GB as floats.
_DECODED, _RESIZED = 2**27, 2**24
# Mean and largest difference, in levels of 255, from the picture that the host decodes:
# decoders differ in how they round, and in how they interpolate subsampled colours.
_MEAN_TOLERANCE, _TOLERANCE = 1.5, 16


class JpegFile(NamedTuple):
    """A file that a GPU can decode.

    Parameters
    ----------
    data : tensor of shape (n_bytes,), uint8
        The file.
    width, height : int
        Of the picture, in pixels.
    """

    data: torch.Tensor
    width: int
    height: int


class DeviceJpegs:
    """Decodes and resizes JPEG files on a GPU.

    Parameters
    ----------
    transform : PictureTransform
        Decodes and resizes on the host.
    resizer : Resizer
        Says which part of a picture is taken, and of which size.
    device : torch.device
        The GPU.
    """

    def __init__(
        self, transform: PictureTransform, resizer: Resizer, device: torch.device
    ) -> None:
        self._transform = transform
        self._resizer = resizer
        self._device = device

    def read(self, item: Any) -> JpegFile | None:
        """Read a file that the GPU can decode; None for all other pictures."""
        if isinstance(item, str | os.PathLike):
            with open_file(item) as file:
                item = file.read() if is_jpeg(file.peek(3)) else None
        if not isinstance(item, bytes):
            return None
        size = plain_size(item)
        if size is None or not self._resizer.is_modest(*size):
            return None
        return JpegFile(torch.frombuffer(bytearray(item), dtype=torch.uint8), *size)

    def pictures(self, files: list[JpegFile]) -> torch.Tensor:
        """Return pictures of the network's size: (n, 3, height, width), uint8.

        A file on which the GPU fails is left to the host, which says what is wrong.
        """
        try:
            return torch.cat([self._resized(part) for part in _parts(files, _DECODED)])
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            _log.debug("left to the host, for a GPU said: %s", error)
        read = [self._transform.read(bytes(file.data.numpy())) for file in files]
        return torch.stack(read).to(self._device)

    def _resized(self, files: list[JpegFile]) -> torch.Tensor:
        data = [file.data for file in files]
        decoded = decode(data, self._device)
        out = torch.empty(
            (len(files), *self._resizer.shape), dtype=torch.uint8, device=self._device
        )
        for rows in _alike(files):
            pixels = torch.stack([decoded[row] for row in rows])
            for row, picture in zip(rows, self._resizer.on_device(pixels), strict=True):
                out[row] = picture
        return out


def decode(data: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Decode files of JPEG by torchvision, as uint8 of shape (3, height, width).

    By its operators: its functions announce that they will move to another package.
    """
    if device.type == "cuda":
        decoded: list[torch.Tensor] = torch.ops.image.decode_jpegs_cuda(
            data, _RGB, device
        )
        return decoded
    return [torch.ops.image.decode_jpeg(one, _RGB, False) for one in data]


def device_jpegs(
    transform: PictureTransform, device: torch.device
) -> DeviceJpegs | None:
    """Return what decodes on a GPU; None where it gives other pictures, or fails."""
    if device.type != "cuda" or transform.resizer is None:
        return None
    jpegs = DeviceJpegs(transform, transform.resizer, device)
    try:
        is_alike = all(jpegs_agree(jpegs, transform, data) for data in _probes())
    except Exception as error:
        _log.info("pictures are decoded on the host, for the GPU said: %s", error)
        return None
    if not is_alike:
        _log.info("pictures are decoded on the host: the GPU's are others")
    return jpegs if is_alike else None


def jpegs_agree(jpegs: DeviceJpegs, transform: PictureTransform, data: bytes) -> bool:
    """Tell whether a GPU makes of a file what the host makes of it."""
    file = jpegs.read(data)
    if file is None:
        return False
    given = jpegs._resized([file, file]).cpu().float()
    away = (given - transform.read(data).float()).abs()
    return bool(away.mean() <= _MEAN_TOLERANCE and away.max() <= _TOLERANCE)


def plain_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a whole, upright baseline JPEG in colours, else None.

    None for all that decoders may read in several ways: channels that are not those of
    JFIF, turned pictures, other colours than those of sRGB, uneven sampling, channels
    or pictures one after the other, and files whose end is missing.
    """
    if not is_jpeg(data) or data.rfind(_END, -_PADDING) < 0:
        return None
    segments = list(jpeg_segments(data))
    if not segments or not data.startswith(_SCAN, segments[-1][1]):
        return None
    frame = None
    for _, _, marker, body in segments:
        if marker == 0xEE or exif_or_xmp(body) or (marker, body[:4]) == _MORE_PICTURES:
            return None
        if marker in JPEG_FRAMES:
            if frame is not None or marker != _BASELINE:
                return None
            frame = body
    parts = [body for _, _, marker, body in segments if is_profile(marker, body)]
    if frame is None or changes(joined_profile(parts), "RGB"):
        return None
    return _size_of(frame)


def _size_of(frame: bytes) -> tuple[int, int] | None:
    """Return width and height of a frame of 8 bits in brightness and two colours."""
    if len(frame) != 15 or frame[0] != 8 or frame[5] != 3:
        return None
    if frame[6::3] != b"\x01\x02\x03" or frame[7::3] not in _SAMPLINGS:
        return None
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    return (width, height) if 0 < width * height <= MAX_PIXELS else None


def _parts(files: list[JpegFile], most: int) -> Iterator[list[JpegFile]]:
    """Cut files into lists of so many pixels at most, or of one file."""
    part: list[JpegFile] = []
    n_pixels = 0
    for file in files:
        own = file.width * file.height
        if part and n_pixels + own > most:
            yield part
            part, n_pixels = [], 0
        part.append(file)
        n_pixels += own
    yield part


def _alike(files: list[JpegFile]) -> Iterator[list[int]]:
    """Yield the places of files of one size, a few at a time."""
    places = sorted(range(len(files)), key=lambda i: files[i][1:])
    for (width, height), some in groupby(places, key=lambda i: files[i][1:]):
        yield from batches(some, max(1, _RESIZED // (width * height)))


def _probes() -> Iterator[bytes]:
    """Make files of the samplings that are common, upright and lying."""
    for size, subsampling in (((40, 61), 0), ((301, 200), 2), ((640, 480), 2)):
        file = io.BytesIO()
        probe_picture(size).save(file, "JPEG", quality=90, subsampling=subsampling)
        yield file.getvalue()
