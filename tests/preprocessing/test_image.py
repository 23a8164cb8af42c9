"""Pictures are cropped, resized and denoised, whatever holds them."""

import io

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from skmmrec.preprocessing import ImageCropper, ImageDenoiser, ImageResizer


def framed(border=0, content=200, size=(40, 64)):
    picture = np.full((*size, 3), border, np.uint8)
    picture[10:30, 5:60] = content
    return picture


def encoded(picture, file_format):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, file_format)
    return buffer.getvalue()


@pytest.mark.parametrize("border", [0, 255, 90])
def test_borders_of_one_colour_are_cut_off(border, tmp_path):
    picture = framed(border)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture, "PNG"))
    holders = [picture, Image.fromarray(picture), path, str(path), path.read_bytes()]
    for cropped in ImageCropper().fit_transform(holders):
        assert cropped.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(cropped), picture[10:30, 5:60])


def test_the_tolerance_forgives_noise_of_compression():
    rough = encoded(framed(), "JPEG")
    forgiving, strict = (
        ImageCropper(tolerance=tolerance).fit_transform([rough])[0].size
        for tolerance in (60, 0)
    )
    assert forgiving == (55, 20)
    assert strict != (55, 20)


def test_a_uniform_picture_stays_whole():
    plain = np.full((8, 9, 3), 7, np.uint8)
    assert ImageCropper().fit_transform([plain])[0].size == (9, 8)


def test_lists_of_pictures_stay_lists():
    (pictures,) = ImageCropper().fit_transform([[framed(), None, framed(255)]])
    assert [picture.size for picture in pictures] == [(55, 20)] * 2


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("contain", 32, (32, 20)),
        ("cover", 32, (32, 32)),
        ("pad", 32, (32, 32)),
        ("contain", (128, 40), (64, 40)),
    ],
)
def test_sizes_follow_the_mode(mode, size, expected):
    picture = framed(0, 0)
    (resized,) = ImageResizer(size=size, mode=mode).fit_transform([picture])
    assert resized.size == expected
    assert np.asarray(resized).max() == (255 if mode == "pad" else 0)


@pytest.mark.parametrize("size", [0, (3,), (3, 0), (2.5, 3), "big"])
def test_a_wrong_size_is_named(size):
    with pytest.raises(ValueError, match="'size' parameter of ImageResizer"):
        ImageResizer(size=size).fit([None])


def test_specks_leave_and_edges_stay():
    picture = framed()
    speckled = picture.copy()
    rng = np.random.default_rng(0)
    rows, columns = rng.integers(0, 40, 60), rng.integers(0, 64, 60)
    speckled[rows, columns] = 255 - speckled[rows, columns]
    (denoised,) = ImageDenoiser().fit_transform([speckled])
    before = np.abs(speckled.astype(int) - picture).mean()
    after = np.abs(np.asarray(denoised).astype(int) - picture).mean()
    assert after < before / 5


@pytest.mark.parametrize("transformer", [ImageCropper(), ImageResizer()])
def test_a_broken_picture_names_its_row_and_file(transformer, tmp_path):
    (tmp_path / "bad.png").write_bytes(encoded(framed(), "PNG")[:60])
    with pytest.raises(ValueError, match=r"row 1 \('.*bad\.png'\): is a damaged"):
        transformer.fit_transform([framed(), tmp_path / "bad.png"])


@given(st.tuples(*[st.integers(1, 300)] * 2), st.tuples(*[st.integers(1, 40)] * 2))
def test_a_thin_picture_keeps_a_pixel(picture, size):
    """Of none, nothing would be left, and a padded one would be white."""
    whole = Image.new("RGB", picture, "black")
    for mode in ("contain", "pad"):
        (found,) = ImageResizer(size=size, mode=mode).fit_transform([whole])
        assert min(found.size) >= 1
        assert max(found.size[0] - size[0], found.size[1] - size[1]) <= 0
        assert found.getextrema()[0][0] == 0


@pytest.mark.parametrize("size", [10**6, (2**20, 2**20)])
def test_a_size_that_no_memory_holds_is_refused(size):
    with pytest.raises(ValueError, match="must have at most 134217728 pixels"):
        ImageResizer(size=size).fit([None])
