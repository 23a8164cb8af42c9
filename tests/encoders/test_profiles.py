"""Pictures show the same colours, whatever profile their numbers are by."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageCms

from skmmrec.encoders import read_picture
from skmmrec.encoders._device_jpegs import plain_size
from skmmrec.encoders._pictures import decode_picture, picture_key
from skmmrec.encoders._profiles import changes

from .conftest import noise_picture

PICTURE = noise_picture(1, size=(24, 16))
PIXELS = np.asarray(PICTURE)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Of 255: conversions round, and compare only some colours.
CLOSE = 3


def tags_of(profile):
    """Signature, offset and size of each tag, with the place of its entry."""
    (n_tags,) = struct.unpack_from(">I", profile, 128)
    return [
        (at, *struct.unpack_from(">4sII", profile, at))
        for at in range(132, 132 + 12 * n_tags, 12)
    ]


def swapped():
    """SRGB whose first number is green, and whose second is red."""
    profile = bytearray(SRGB)
    names = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
    for at, name, *_ in tags_of(SRGB):
        profile[at : at + 4] = names.get(name, name)
    return bytes(profile)


def made(space, tags):
    """Make a profile of a space of some tags."""
    data, table, start = b"", b"", 132 + 12 * len(tags)
    for name, body in tags.items():
        body += bytes(-len(body) % 4)
        table += struct.pack(">4sII", name, start + len(data), len(body))
        data += body
    pcs = b"Lab " if space == b"CMYK" else b"XYZ "
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = bytearray(128)
    struct.pack_into(">I4xI", head, 0, start + len(data), 0x02400000)
    head[12:24] = kind + space + pcs
    head[36:40] = b"acsp"
    struct.pack_into(">3i", head, 68, 63190, 65536, 54061)  # the white point, D50
    return bytes(head) + struct.pack(">I", len(tags)) + table + data


def xyz(x, y, z):
    return struct.pack(">4s4x3i", b"XYZ ", *(round(v * 65536) for v in (x, y, z)))


WHITE = xyz(0.9642, 1.0, 0.8249)
GAMMA_1 = struct.pack(">4s4xI", b"curv", 0)
LINEAR_GREY = made(b"GRAY", {b"wtpt": WHITE, b"kTRC": GAMMA_1})


def grey_ink():
    """A printer of CMYK that prints all inks as the same grey."""
    corners = np.indices((2, 2, 2, 2)).reshape(4, -1).max(axis=0)
    lab = np.stack([255 * (1 - corners), *[np.full(16, 128)] * 2], axis=1)
    ramp = bytes(range(256))
    one = [65536, 0, 0, 0, 65536, 0, 0, 0, 65536]
    table = struct.pack(">4s4x4B9i", b"mft1", 4, 3, 2, 0, *one)
    table += 4 * ramp + lab.astype(np.uint8).tobytes() + 3 * ramp
    return made(b"CMYK", {b"wtpt": WHITE, b"A2B0": table, b"A2B1": table})


def saved(image, kind, profile, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=profile, **options)
    return buffer.getvalue()


FILES = {
    "PNG": {},
    "TIFF": {},
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
}


@pytest.mark.parametrize("kind", FILES)
def test_colours_are_those_of_the_profile(kind):
    """Not its numbers: here the first of them is green."""
    other = Image.fromarray(PIXELS[..., [1, 0, 2]])
    data = saved(other, kind, swapped(), **FILES[kind])
    expected = read_picture(saved(PICTURE, kind, None, **FILES[kind]))
    close = 6 if kind == "JPEG" else CLOSE
    for item in (data, Image.open(io.BytesIO(data))):
        found = read_picture(item)
        np.testing.assert_allclose(
            np.int16(found), np.int16(expected), rtol=0, atol=close
        )
        assert "icc_profile" not in found.info


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("profile", [SRGB, b"", b"no profile", SRGB[:200], LINEAR_GREY])
def test_srgb_and_what_is_no_profile_change_nothing(kind, profile):
    data = saved(PICTURE, kind, profile, **FILES[kind])
    expected = read_picture(saved(PICTURE, kind, None, **FILES[kind]))
    np.testing.assert_array_equal(read_picture(data), expected)


def test_a_fraction_of_a_jpeg_has_the_same_colours():
    big = PICTURE.resize((640, 480))
    other = Image.fromarray(np.asarray(big)[..., [1, 0, 2]])
    data, plain = (saved(i, "JPEG", p) for i, p in ((other, swapped()), (big, None)))
    found, expected = (
        decode_picture(d, lambda *_: (64, 48)).image for d in (data, plain)
    )
    assert found.size == expected.size < (640, 480)
    difference = np.abs(np.int16(found) - np.int16(expected))
    assert difference.mean() < 2


def test_a_profile_of_many_parts_is_joined():
    profile = swapped()
    padded = profile[:0] + struct.pack(">I", 150_000) + profile[4:]
    data = saved(PICTURE, "JPEG", padded.ljust(150_000, b"\0"))
    assert data.count(b"ICC_PROFILE\0") == 3
    without = saved(PICTURE, "JPEG", None)
    assert picture_key(data) != picture_key(without)
    assert not np.array_equal(read_picture(data), read_picture(without))


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_is_as_bright_as_its_profile_says(mode):
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None].repeat(2, 0))
    found = np.asarray(read_picture(saved(ramp.convert(mode), "PNG", LINEAR_GREY)))
    found = found[:, 8:]  # before, the curve is so steep that a conversion rounds it
    linear = np.arange(8, 256) / 255
    srgb = np.where(
        linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    for channel in np.moveaxis(found, -1, 0):
        np.testing.assert_allclose(channel[0], 255 * srgb, rtol=0, atol=CLOSE)


def test_inks_are_what_their_printer_makes_of_them():
    pixels = np.dstack([PIXELS, PIXELS[..., :1] // 4])
    inks = Image.frombytes("CMYK", pixels.shape[1::-1], pixels.tobytes())
    found = np.asarray(read_picture(saved(inks, "TIFF", grey_ink())), np.int16)
    assert np.ptp(found, axis=2).max() <= 3
    assert np.ptp(found) > 100
    other = np.asarray(read_picture(saved(inks, "TIFF", None)), np.int16)
    assert np.ptp(other, axis=2).max() > 100


def test_transparent_parts_are_white_in_all_colours():
    alpha = np.zeros((*PIXELS.shape[:2], 1), np.uint8)
    alpha[0] = 255
    hidden = Image.fromarray(np.dstack([PIXELS, alpha]))
    found = np.asarray(read_picture(saved(hidden, "PNG", swapped())))
    np.testing.assert_allclose(np.int16(found[1:]), 255, rtol=0, atol=CLOSE)


def test_a_gpu_is_given_only_files_of_srgb():
    plain = saved(PICTURE, "JPEG", None)
    assert plain_size(plain) == plain_size(saved(PICTURE, "JPEG", SRGB)) == (24, 16)
    assert plain_size(saved(PICTURE, "JPEG", swapped())) is None


@settings(max_examples=40)
@given(st.binary(max_size=40), st.integers(0, len(SRGB)))
def test_broken_profiles_change_nothing_or_are_read(noise, at):
    profile = SRGB[:at] + noise + SRGB[at + len(noise) :]
    assert changes(profile, "RGB") in (True, False)
    assert read_picture(saved(PICTURE, "PNG", profile)).size == PICTURE.size
