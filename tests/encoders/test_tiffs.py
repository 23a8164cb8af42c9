"""TIFF files whose pixels Pillow alone would read wrong."""

import io
import struct
from itertools import product

import numpy as np
import pytest
from PIL import Image

from skmmrec.encoders import ContentError, read_picture

from .conftest import noise_picture

PIXELS = np.asarray(noise_picture(0, size=(24, 18)))
GREY = np.arange(18 * 24, dtype=np.uint8).reshape(18, 24)
# Of a tag: how a number is written, and its type in the file.
SHORT, LONG = ("H", 3), ("I", 4)
WHITE_IS_0, BLACK_IS_0, RGB, INDEXED, INKS = 0, 1, 2, 3, 5


def tiff(strips, n_bits, photometric, order="<", **tags):
    """An uncompressed TIFF of some strips, each of them a channel or all channels."""
    start, places, body = 8, [], b""
    for strip in strips:
        places.append(start + len(body))
        body += strip
    entries = {
        256: (SHORT, [24]),
        257: (SHORT, [18]),
        258: (SHORT, n_bits),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        273: (LONG, places),
        277: (SHORT, [len(n_bits)]),
        278: (SHORT, [18]),
        279: (LONG, [len(strip) for strip in strips]),
        **{int(tag[1:]): (SHORT, values) for tag, values in tags.items()},
    }
    directory = start + len(body)
    rest = directory + 2 + 12 * len(entries) + 4
    packed, far = struct.pack(f"{order}H", len(entries)), b""
    for tag, ((code, kind), values) in sorted(entries.items()):
        data = struct.pack(f"{order}{len(values)}{code}", *values)
        packed += struct.pack(f"{order}HHI", tag, kind, len(values))
        if len(data) > 4:
            packed += struct.pack(f"{order}I", rest + len(far))
            far += data
        else:
            packed += data.ljust(4, b"\0")
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", directory)
    return head + body + packed + bytes(4) + far


def planes(values, order):
    """The bytes of each channel, of 16 bits."""
    deep = (257 * values.astype(int)).astype(f"{order}u2")
    return [deep[..., channel].tobytes() for channel in range(values.shape[2])]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("n_channels", [3, 4])
def test_channels_of_16_bits_that_lie_apart(order, n_channels, tmp_path):
    opaque = np.full((*PIXELS.shape[:2], 1), 255, np.uint8)
    values = np.concatenate([PIXELS, opaque], axis=2)[..., :n_channels]
    alpha = {"t338": [2]} if n_channels == 4 else {}
    bits = [16] * n_channels
    data = tiff(planes(values, order), bits, RGB, order, t284=[2], **alpha)
    path = tmp_path / "apart.tiff"
    path.write_bytes(data)
    for item in (data, path, Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(np.asarray(read_picture(item)), PIXELS)


@pytest.mark.parametrize("scale", [1, 257])
def test_a_palette_of_8_or_16_bits(scale):
    red, green, blue = np.arange(256), np.arange(255, -1, -1), np.full(256, 77)
    colours = scale * np.concatenate([red, green, blue])
    data = tiff([GREY.tobytes()], [8], INDEXED, t320=colours.tolist())
    expected = np.dstack([red[GREY], green[GREY], blue[GREY]])
    for item in (data, Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(np.asarray(read_picture(item)), expected)


def test_signed_numbers_of_8_bits_are_refused(tmp_path):
    """Pillow takes -1 for 255."""
    path = tmp_path / "signed.tif"
    Image.fromarray(GREY.astype(np.uint8)).save(path, tiffinfo={339: 2})
    with pytest.raises(ContentError, match="signed numbers of 8 bits"):
        read_picture(path)


ONE = {
    "grey": (GREY, [8], {}),
    "deep": (GREY.astype(np.uint16) * 257, [16], {}),
    "floating": ((GREY / 255).astype(np.float32), [32], {"t339": [3]}),
    "bilevel": (np.packbits(GREY > 99, axis=1), [1], {}),
    "4 bits": (GREY[:, :12], [4], {}),
    "backwards": (
        np.packbits(GREY > 99, axis=1, bitorder="little"),
        [1],
        {"t266": [2]},
    ),
}


# Pillow does not know such files, in one plane or more.
UNKNOWN = ("deep", ">", WHITE_IS_0)


@pytest.mark.parametrize(
    ("kind", "order", "colour"),
    [case for case in product(ONE, "<>", (WHITE_IS_0, BLACK_IS_0)) if case != UNKNOWN],
)
def test_planes_of_one_channel_are_none(kind, order, colour):
    """Pillow inverts such grey, or swaps its bytes, or takes it for damaged."""
    values, bits, tags = ONE[kind]
    strip = values.astype(values.dtype.newbyteorder(order)).tobytes()
    together, apart = (
        read_picture(tiff([strip], bits, colour, order, t284=[planes], **tags))
        for planes in (1, 2)
    )
    np.testing.assert_array_equal(np.asarray(apart), np.asarray(together))
    if kind == "grey":
        grey = 255 - GREY if colour == WHITE_IS_0 else GREY
        np.testing.assert_array_equal(np.asarray(apart)[..., 0], grey)


@pytest.mark.parametrize("order", ["<", ">"])
def test_inks_of_16_bits_that_lie_apart_are_refused(order):
    values = np.dstack([PIXELS, GREY])
    with pytest.raises(ContentError, match="each ink of 16 bits in a plane"):
        read_picture(tiff(planes(values, order), [16] * 4, INKS, order, t284=[2]))
    eight = [np.ascontiguousarray(values[..., n]).tobytes() for n in range(4)]
    read = read_picture(tiff(eight, [8] * 4, INKS, order, t284=[2]))
    inks = Image.frombytes("CMYK", (24, 18), values.tobytes())
    np.testing.assert_array_equal(np.asarray(read), np.asarray(inks.convert("RGB")))
