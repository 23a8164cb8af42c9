"""No picture is flattened: whatever holds it is read right, or refused with advice."""

import io
import struct
import zlib

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import EpsImagePlugin, Image

from skmmrec.encoders import ContentError, _pictures, picture_key, read_picture

from .conftest import noise_picture

GREY = np.kron(np.arange(0, 256, 4).reshape(8, 8), np.ones((3, 3))).astype(int)
PICTURE = noise_picture(0, size=(24, 18))
PIXELS = np.asarray(PICTURE)
OTHER = noise_picture(5, size=PICTURE.size)


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def tiff(values):
    return encoded(Image.fromarray(values), "TIFF")


def png(pixels, colour, depth=16, extra=b""):
    """A PNG of big-endian numbers, which Pillow cannot write for colours."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + packed(row, depth) for row in pixels)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


def packed(row, depth):
    """The bytes of a row: several values share one, where they have fewer bits."""
    if depth >= 8:
        return row.astype(f">u{depth // 8}").tobytes()
    bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, -depth:]
    return np.packbits(bits.ravel()).tobytes()


def seen(item):
    image = read_picture(item)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def assert_grey(item, expected=GREY, atol=1):
    pixels = seen(item)
    for channel in range(3):
        np.testing.assert_allclose(pixels[..., channel], expected, rtol=0, atol=atol)


def test_programs_that_draw_are_not_run(tmp_path, monkeypatch):
    """Ghostscript reads files, and content may be a stranger's."""

    def run(*args, **options):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    data = encoded(PICTURE, "EPS")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for content in (data, path):
        with pytest.raises(ContentError, match="is an EPS file, which is a program"):
            read_picture(content)


# -- deep and floating grey ------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
def test_deep_grey_is_scaled_by_the_bits_it_needs(bits, dtype):
    values = GREY * 2 ** (bits - 8) + (2 ** (bits - 8) - 1)
    if dtype == ">u2":
        big = Image.frombytes("I;16B", values.shape[::-1], values.astype(dtype))
        data = encoded(big, "TIFF")
    else:
        data = tiff(values.astype(dtype))
    assert_grey(data)
    assert_grey(Image.open(io.BytesIO(data)))


def test_grey_of_a_png_and_of_a_portable_map():
    assert_grey(png(GREY * 257, 0))
    assert_grey(png(GREY * 16, 0))
    head = b"P5 %d %d 4095\n" % GREY.shape[::-1]
    assert_grey(head + (GREY * 16).astype(">u2").tobytes())


def test_grey_of_the_whole_range_of_int32():
    assert_grey(tiff((GREY * 2**23).astype(np.int32)))


@pytest.mark.parametrize("white", [1, 255])
def test_floating_grey_in_either_range(white):
    assert_grey(tiff((GREY / 255 * white).astype(np.float32)))
    overshot = GREY / 255 * 1.06 - 0.03  # as by cubic resizing
    assert_grey(tiff((overshot * white).astype(np.float32)), GREY, atol=8)


@pytest.mark.parametrize(
    "values",
    [
        GREY * 257.0,
        GREY / 127.5 - 1,
        GREY - 128.0,
        GREY / 64,
        np.where(GREY < 9, np.nan, GREY / 255),
        np.where(GREY < 9, np.inf, GREY / 255),
    ],
    ids=["to 65535", "to -1", "to -128", "to 4", "nan", "inf"],
)
def test_floats_of_an_unknown_range_are_refused(values):
    with pytest.raises(ContentError, match=r"neither .* scale it so that white is 255"):
        read_picture(tiff(values.astype(np.float32)))


@pytest.mark.parametrize("values", [GREY - 1, GREY // 64, GREY * 2**12, -GREY * 2**23])
def test_integers_of_an_unknown_range_are_refused(values):
    with pytest.raises(ContentError, match=r"holds grey values .* white is 255"):
        read_picture(tiff(values.astype(np.int32)))


@settings(max_examples=200, database=None)
@given(
    dtype=st.sampled_from(["<u2", "<i4", "<f4"]),
    scale=st.floats(1e-4, 1e8),
    shift=st.floats(-2, 300),
)
def test_deep_grey_is_never_flattened(dtype, scale, shift):
    """What is read keeps the order and the contrast of its values."""
    values = (GREY / 255 * scale + shift).astype(np.float64)
    limit = {"<u2": 2**16 - 1, "<i4": 2**31 - 1, "<f4": 1e9}[dtype]
    values = np.clip(values, 0 if dtype == "<u2" else -limit, limit).astype(dtype)
    try:
        pixels = seen(tiff(values))[..., 0]
    except ContentError:
        return
    assert (np.diff(pixels.ravel()[np.argsort(values.ravel())]) >= 0).all()
    share = (float(values.max()) - float(values.min())) / max(float(values.max()), 1e-9)
    assert np.ptp(pixels) >= min(share * 16, 255) - 2


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_white_may_be_zero(compression):
    data = bytearray(
        encoded(
            Image.fromarray((GREY * 257).astype(np.uint16)),
            "TIFF",
            compression=compression,
        )
    )
    place = data.index(struct.pack("<HHI", 262, 3, 1))
    data[place + 8 : place + 10] = struct.pack("<H", 0)
    assert_grey(bytes(data), 255 - GREY)


def test_transparent_deep_grey_is_white():
    tag = struct.pack(">I", 2) + b"tRNS" + struct.pack(">H", 257 * int(GREY[0, 5]))
    tag += struct.pack(">I", zlib.crc32(tag[4:]))
    hidden = GREY[0, 5]
    expected = np.where(hidden == GREY, 255, GREY)
    assert_grey(png(GREY * 257, 0, extra=tag), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_transparent_shallow_grey_is_white(depth):
    largest = 2**depth - 1
    shallow = np.round(GREY / 255 * largest).astype(int)
    hidden = int(shallow[0, 5])
    tag = struct.pack(">I", 2) + b"tRNS" + struct.pack(">H", hidden)
    tag += struct.pack(">I", zlib.crc32(tag[4:]))
    grey = shallow * 255 // largest
    assert_grey(png(shallow, 0, depth), grey)
    expected = np.where(shallow == hidden, 255, grey)
    data = png(shallow, 0, depth, extra=tag)
    assert_grey(data, expected)
    opened = Image.open(io.BytesIO(data))
    assert_grey(opened, expected)
    assert opened.info["transparency"] == hidden


# -- colours of 16 bits ----------------------------------------------------------------


@pytest.mark.parametrize(("colour", "n_bands"), [(2, 3), (6, 4), (4, 2)])
def test_colours_of_16_bits(colour, n_bands):
    deep = np.repeat((GREY * 257)[..., None], n_bands, axis=2)
    if n_bands != 3:
        deep[..., -1] = 65535
    assert_grey(png(deep, colour))
    deep[..., : n_bands - (n_bands != 3)] //= 16
    with pytest.raises(ContentError, match=r"below 4096.*white is 255"):
        read_picture(png(deep, colour))


# -- arrays ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (PIXELS.transpose(2, 0, 1), r"transpose it by array.transpose\(1, 2, 0\)$"),
        (PIXELS[None, ..., 0], r"transpose"),
        (PIXELS / 255, r"scale it to 0 \.\.\. 255 and cast it by .astype\(np.uint8\)$"),
        (PIXELS.astype(np.uint16), "scale it"),
        (PIXELS.astype(np.int64), "scale it"),
        ((PIXELS / 255).transpose(2, 0, 1), "transpose.* and scale"),
        (PIXELS[None], r"uint8 of shape \(1, 18, 24, 3\)$"),
        (PIXELS[..., :2], r"uint8 of shape \(18, 24, 2\)$"),
        (PIXELS.astype(complex), "complex128"),
        (PIXELS.astype(str), "expected a uint8 array"),
        (PIXELS[0, 0, 0], "expected a path"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused_with_advice(array, advice):
    for function in (read_picture, picture_key):
        with pytest.raises(ContentError, match=advice):
            function(array)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_arrays_of_0_and_1_are_no_black_pictures(shape):
    mask = np.zeros(shape, np.uint8)
    assert not seen(np.zeros((4, 5, 3), np.uint8)).any()
    mask[0, 0] = 1
    for function in (read_picture, picture_key):
        with pytest.raises(ContentError, match=r"0 and 1.*as bool.*by 255"):
            function(mask)
    mask[0, 0] = 2
    read_picture(mask)


@pytest.mark.parametrize("tensor", [torch.zeros(3, 4, 5), torch.zeros(4, 5, 3)])
def test_a_tensor_is_refused_with_advice(tensor):
    for function in (read_picture, picture_key):
        with pytest.raises(ContentError, match=r"got Tensor: .*\.permute\(1, 2, 0\)"):
            function(tensor)


def test_arrays_of_every_layout(tmp_path):
    np.testing.assert_array_equal(seen(PIXELS), PIXELS)
    np.testing.assert_array_equal(seen(np.asfortranarray(PIXELS)), PIXELS)
    np.testing.assert_array_equal(seen(PIXELS[::-1, ::2]), PIXELS[::-1, ::2])
    assert_grey(GREY.astype(np.uint8))
    assert_grey(GREY.astype(np.uint8)[..., None])
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(seen(opaque), PIXELS)
    assert_grey(GREY > 99, np.where(GREY > 99, 255, 0))
    colours = seen(PIXELS > 99)
    np.testing.assert_array_equal(colours, np.where(PIXELS > 99, 255, 0))
    path = tmp_path / "pixels.npy"
    np.save(path, PIXELS)
    mapped = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(seen(mapped), PIXELS)
    assert picture_key(mapped) == picture_key(PIXELS)


# -- several frames --------------------------------------------------------------------

ANIMATED = {
    "GIF": {},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def frames(file_format, *images):
    options = ANIMATED[file_format]
    first, *others = (image.copy() for image in images)
    return encoded(first, file_format, save_all=True, append_images=others, **options)


def one_colour(*colour):
    return Image.new("RGB", PICTURE.size, colour)


def likeness(item, expected=PIXELS):
    return np.corrcoef(seen(item).ravel(), np.ravel(expected))[0, 1]


@pytest.mark.parametrize("file_format", ANIMATED)
def test_a_first_frame_of_one_colour_does_not_stand_for_the_others(
    file_format, tmp_path
):
    black, dark = one_colour(0, 0, 0), one_colour(9, 3, 0)
    path = tmp_path / "animated"
    path.write_bytes(frames(file_format, black, dark, PICTURE, OTHER))
    for item in (path, path.read_bytes()):
        assert likeness(item) > 0.9


@pytest.mark.parametrize("file_format", ANIMATED)
def test_a_first_frame_that_shows_something_is_taken(file_format):
    data = frames(file_format, PICTURE, one_colour(0, 0, 0), OTHER)
    assert likeness(data) > 0.9


@pytest.mark.parametrize("file_format", ANIMATED)
def test_frames_of_one_colour_each_are_a_picture_of_one_colour(file_format):
    data = frames(file_format, one_colour(200, 0, 0), one_colour(0, 0, 200))
    np.testing.assert_allclose(seen(data)[0, 0], [200, 0, 0], rtol=0, atol=6)


def test_the_frame_that_varies_most_is_taken_if_none_varies_much():
    faint = PIXELS // 40
    data = frames("PNG", one_colour(0, 0, 0), Image.fromarray(faint))
    np.testing.assert_array_equal(seen(data), faint)


def test_not_every_frame_of_a_long_animation_is_looked_at():
    many = [one_colour(i // 2, i % 2, 0) for i in range(120)]
    assert np.ptp(seen(frames("GIF", *many, PICTURE)), axis=(0, 1)).max() == 0


@pytest.mark.parametrize("file_format", ANIMATED)
def test_an_opened_image_is_the_frame_that_it_is_at(file_format):
    data = frames(file_format, one_colour(0, 0, 200), PICTURE)
    image = Image.open(io.BytesIO(data))
    np.testing.assert_allclose(seen(image)[0, 0], [0, 0, 200], rtol=0, atol=6)
    image.seek(1)
    assert likeness(image) > 0.9
    assert image.tell() == 1


def test_a_damaged_frame_is_refused_only_where_it_counts():
    cut = frames("GIF", one_colour(0, 0, 0), PICTURE)[:-300]
    with pytest.raises(ContentError, match="damaged"):
        read_picture(cut)
    assert likeness(frames("GIF", PICTURE, OTHER)[:-300]) > 0.9


# -- what was always right -------------------------------------------------------------


def adobe_cmyk():
    """A JPEG of inverted ink, as Photoshop writes it."""
    return encoded(PICTURE.convert("CMYK"), "JPEG", quality=100)


LAB = encoded(Image.new("LAB", (5, 4), (128, 128, 128)), "TIFF")
KINDS = {
    "CMYK JPEG": (adobe_cmyk(), None),
    "CMYK TIFF": (encoded(PICTURE.convert("CMYK"), "TIFF"), PIXELS),
    "YCbCr JPEG": (encoded(PICTURE, "JPEG", quality=100, subsampling=0), None),
    "grey JPEG": (encoded(PICTURE.convert("L"), "JPEG", quality=100), "grey"),
    "grey PNG": (encoded(PICTURE.convert("L"), "PNG"), "grey"),
    "grey and alpha PNG": (encoded(PICTURE.convert("LA"), "PNG"), "grey"),
    "alpha WebP": (encoded(PICTURE.convert("RGBA"), "WEBP", lossless=True), PIXELS),
    "AVIF": (encoded(PICTURE, "AVIF", quality=100, subsampling="4:4:4"), None),
    "BMP": (encoded(PICTURE, "BMP"), PIXELS),
    "MPO": (
        encoded(
            PICTURE,
            "MPO",
            save_all=True,
            append_images=[OTHER.copy()],
            quality=100,
            subsampling=0,
        ),
        None,
    ),
    "JPEG 2000": (encoded(PICTURE, "JPEG2000"), PIXELS),
    "LZW TIFF": (encoded(PICTURE, "TIFF", compression="tiff_lzw"), PIXELS),
    "PPM": (encoded(PICTURE, "PPM"), PIXELS),
}
# Before Pillow 13, it did not read the rest of what it had written.
if int(PIL.__version__.split(".")[0]) >= 13:
    KINDS["YCbCr TIFF"] = encoded(PICTURE.convert("YCbCr"), "TIFF"), None


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_shows_the_picture(kind):
    data, expected = KINDS[kind]
    if expected is None:  # stored with losses
        assert likeness(data) > 0.85
        np.testing.assert_allclose(seen(data).mean(), PIXELS.mean(), rtol=0, atol=12)
    elif isinstance(expected, str):
        grey = np.asarray(PICTURE.convert("L")).astype(int)
        assert_grey(data, grey, atol=4)
    else:
        np.testing.assert_array_equal(seen(data), expected)


def test_adobes_ink_is_not_inverted():
    data = adobe_cmyk()
    assert b"Adobe" in data
    white = encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")
    assert seen(white).min() > 250


def test_a_palette_and_its_transparency():
    palette = PICTURE.quantize(256)
    np.testing.assert_array_equal(
        seen(encoded(palette, "PNG")), np.asarray(palette.convert("RGB"))
    )
    hidden = encoded(palette, "PNG", transparency=palette.getpixel((0, 0)))
    assert seen(hidden)[0, 0].tolist() == [255, 255, 255]


def test_the_transparent_colour_of_an_rgb_png_is_white():
    hidden = encoded(PICTURE, "PNG", transparency=PICTURE.getpixel((3, 2)))
    expected = PIXELS.copy()
    expected[2, 3] = 255
    np.testing.assert_array_equal(seen(hidden), expected)


@pytest.mark.parametrize("largest", [0, 1])
def test_colours_that_alpha_hides_everywhere_are_refused(largest):
    alpha = np.full((*PIXELS.shape[:2], 1), largest, np.uint8)
    alpha[0, 0] = 0
    hidden = np.concatenate([PIXELS, alpha], axis=2)
    image = Image.fromarray(hidden)
    files = [encoded(image, file_format) for file_format in ("PNG", "TGA", "TIFF")]
    for item in (hidden, image, *files):
        with pytest.raises(
            ContentError, match=r"transparent everywhere.*255 is opaque"
        ):
            read_picture(item)
    alpha[1, 1] = 255
    shown = seen(np.concatenate([PIXELS, alpha], axis=2))
    np.testing.assert_array_equal(shown[1, 1], PIXELS[1, 1])


def test_a_transparent_picture_of_one_colour_is_white():
    assert seen(Image.new("RGBA", (5, 4), (9, 9, 9, 0))).min() == 255
    palette = Image.new("P", (5, 4), 3)
    assert seen(encoded(palette, "GIF", transparency=3)).min() == 255


def test_a_transparent_frame_of_an_animation_shows_nothing():
    hidden = Image.fromarray(np.dstack([PIXELS, np.zeros_like(PIXELS[..., 0])]))
    data = frames("PNG", hidden, OTHER.convert("RGBA"))
    assert likeness(data, np.asarray(OTHER)) > 0.99


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "RGBX", "PA", "La", "RGBa"])
def test_other_modes_of_pillow(mode):
    if mode in ("La", "RGBa"):  # premultiplied, made from their straight kind
        image = PICTURE.convert(mode.upper() if mode == "RGBa" else "LA").convert(mode)
    elif mode == "PA":
        image = PICTURE.convert("L").convert("PA")
    else:
        image = PICTURE.convert(mode)
    expected = PICTURE.convert("L") if mode in ("La", "PA") else PICTURE
    assert likeness(image, np.asarray(expected.convert("RGB"))) > 0.99


def test_lab_is_converted():
    assert np.ptp(seen(LAB)[0, 0]) < 8
    assert 100 < seen(LAB).mean() < 140


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_black_and_white(file_format):
    data = encoded(Image.fromarray(GREY > 99), file_format)
    assert_grey(data, np.where(GREY > 99, 255, 0))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (7, 80, 200)])
@pytest.mark.parametrize("size", [(1, 1), (9, 4)])
def test_a_picture_of_one_colour_is_a_picture(colour, size):
    image = Image.new("RGB", size, colour)
    for item in (image, encoded(image, "PNG"), encoded(image, "GIF")):
        assert seen(item).reshape(-1, 3).tolist() == [list(colour)] * (
            size[0] * size[1]
        )


def test_the_given_image_stays_as_it_is():
    image = Image.open(io.BytesIO(encoded(PICTURE, "PNG", exif=b"II*\0")))
    info = dict(image.info)
    read_picture(image).putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(np.asarray(image), PIXELS)
    assert image.info == info


def test_of_large_frames_fewer_are_looked_at(monkeypatch):
    monkeypatch.setattr(_pictures, "_MOST_FRAME_PIXELS", 3 * 16)
    shown = Image.fromarray(np.arange(0, 160, 10, np.uint8).reshape(4, 4))
    blank = [Image.new("L", (4, 4), grey) for grey in (0, 1, 2, 3)]
    for n_blank, is_found in ((2, True), (3, False)):
        buffer = io.BytesIO()
        frames = [*blank[1:n_blank], shown]
        blank[0].save(buffer, "TIFF", save_all=True, append_images=frames)
        found = np.asarray(read_picture(buffer.getvalue()))
        assert (found.max() > 3) == is_found
