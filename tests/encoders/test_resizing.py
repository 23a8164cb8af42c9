"""Pictures of 8 bits: the geometry of open_clip, JPEGs at a fraction of their size."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from skmmrec.encoders import ContentError, ImageEncoder, _resizing, read_picture
from skmmrec.encoders._metadata import strip
from skmmrec.encoders._pictures import decode_picture
from skmmrec.encoders._resizing import PictureTransform, Resizer
from tests.valueless import valueless_gpus

from .conftest import noise_picture

SIZES = [32, (24, 40), (40, 24)]
MODES = ["shortest", "longest", "squash"]
INTERPOLATIONS = ["bicubic", "bilinear", "random"]


def scene(width, height):
    """A picture that is smooth, and different at each place."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = [np.sin(9 * x + 4 * y), np.cos(7 * x * y), x - y]
    return Image.fromarray(np.uint8(127 + 100 * np.stack(waves, axis=2)))


def jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def levels(transform, picture):
    """What the network is given, in levels of 8 bits, by both ways."""
    given_ = transform.normalise(transform.read(picture)[None])[0]
    expected = transform.whole(read_picture(picture))
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    return ((x * std + mean).numpy() * 255 for x in (given_, expected))


MEAN, STD = PreprocessCfg().mean, PreprocessCfg().std


def assert_same(transform, picture, atol=3):
    given_, expected = levels(transform, picture)
    np.testing.assert_allclose(given_, expected, rtol=0, atol=atol)


def transform_of(**settings_):
    return PictureTransform(PreprocessCfg(**settings_))


def fraction(width, height, size=32, **options):
    """Return the size that a JPEG is decoded at."""
    data = jpeg(scene(width, height), **options)
    return decode_picture(data, Resizer(PreprocessCfg(size)).needed).image.size


# -- geometry --------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("has_kernels", [True, False])
def test_pictures_are_those_of_open_clip(
    monkeypatch, size, mode, interpolation, has_kernels
):
    if not has_kernels:
        monkeypatch.setattr(_resizing, "_has_kernels", lambda: False)
    transform = transform_of(
        size=size, resize_mode=mode, interpolation=interpolation, fill_color=200
    )
    for shape in [(32, 32), (31, 50), (50, 31), (90, 60), (9, 7), (400, 35), (35, 400)]:
        picture = scene(*shape)
        assert transform.read(picture).dtype == torch.uint8
        assert_same(transform, picture)


@settings(max_examples=40)
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from(SIZES),
    st.sampled_from(MODES),
    st.integers(0, 255),
)
def test_pictures_of_any_size_are_those_of_open_clip(width, height, size, mode, fill):
    transform = transform_of(size=size, resize_mode=mode, fill_color=fill)
    picture = scene(width, height)
    if min(transform.resizer.needed(width, height)) > 0:
        assert_same(transform, picture)
        return
    for way in (transform.whole, transform.read):  # nothing is left of so long a one
        with pytest.raises(ValueError, match="height and width must be > 0"):
            way(picture)


def test_sharp_pictures_are_nearly_those_of_open_clip():
    """Overshoots are cut off at 0 and 255 after each of two passes."""
    given_, expected = levels(transform_of(size=64), noise_picture(0, size=(50, 60)))
    assert np.abs(given_ - expected).mean() < 1


def test_another_transform_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(Resizer, "needed", lambda self, width, height: (40, 40))
    transform = transform_of(size=32)
    picture = scene(50, 80)
    expected = image_transform_v2(PreprocessCfg(32), is_train=False)(picture)
    given_ = transform.normalise(transform.read(picture)[None])[0]
    np.testing.assert_array_equal(given_.numpy(), expected.numpy())


def test_one_that_ends_otherwise_is_taken_as_it_is(monkeypatch):
    class Reversed:
        transforms = ("last is no Normalize",)

        def __call__(self, image):
            return torch.from_numpy(np.array(image)).permute(2, 0, 1).double()

    monkeypatch.setattr(_resizing, "image_transform_v2", lambda *a, **k: Reversed())
    transform = transform_of()
    batch = transform.normalise(transform.read(scene(4, 3))[None])
    assert batch.dtype == torch.float32
    np.testing.assert_array_equal(batch[0].permute(1, 2, 0).numpy(), scene(4, 3))


def test_memory_that_pillow_does_not_lend_is_not_needed(monkeypatch):
    transform = transform_of(size=32)
    expected = transform.read(scene(50, 80)).numpy().astype(int)
    monkeypatch.setattr(_resizing, "_pixels", lambda image: None)
    given_ = transform.read(scene(50, 80)).numpy().astype(int)
    np.testing.assert_allclose(given_, expected, rtol=0, atol=2)


# -- fractions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((200, 300), (50, 75)),
        ((600, 400), (75, 50)),
        ((85, 85), (85, 85)),  # half of it is less than 4/3 of 32
        ((86, 86), (43, 43)),
        ((191, 191), (96, 96)),  # a quarter of it is less than 3/2 of 32
        ((192, 192), (48, 48)),
        ((1000, 90), (500, 45)),
    ],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_are_decoded_at_the_least_fraction(size, decoded, progressive):
    assert fraction(*size, progressive=progressive) == decoded


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_fractions_are_for_colours_and_grey(mode):
    data = jpeg(scene(200, 300).convert(mode))
    picture = decode_picture(data, Resizer(PreprocessCfg(32)).needed)
    assert picture.full == (200, 300)
    assert picture.image.mode == "RGB"
    assert picture.image.size == ((200, 300) if mode == "CMYK" else (50, 75))
    assert_same(transform_of(size=32), data)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_other_formats_are_decoded_whole(file_format):
    buffer = io.BytesIO()
    scene(200, 300).save(buffer, file_format)
    picture = decode_picture(buffer.getvalue(), Resizer(PreprocessCfg(32)).needed)
    assert picture.image.size == picture.size == picture.full == (200, 300)
    assert_same(transform_of(size=32), buffer.getvalue())


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xCB])
def test_only_codings_that_decoders_scale_have_fractions(marker):
    data = jpeg(scene(40, 60)).replace(b"\xff\xc0", bytes([0xFF, marker]))
    assert strip(data).has_fractions == (marker in (0xC0, 0xC1, 0xC2))


def test_a_file_without_a_frame_has_no_fractions():
    assert not strip(b"\xff\xd8\xff\xd9").has_fractions
    assert not strip(b"no picture").has_fractions


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(400, 600), (401, 605), (150, 90), (1203, 907)])
@pytest.mark.parametrize("mode", MODES)
def test_fractions_lie_where_the_whole_does(orientation, size, mode):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(scene(*size), exif=exif)
    for target in SIZES:
        given_, expected = levels(transform_of(size=target, resize_mode=mode), data)
        np.testing.assert_allclose(given_, expected, rtol=0, atol=6)
        assert np.abs(given_ - expected).mean() < 1


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_file_is_refused_at_a_fraction_too(progressive):
    data = jpeg(noise_picture(0, size=(80, 96)), progressive=progressive)
    transform = transform_of(size=8)
    for end in range(2, len(data), 61):
        assert failure(transform.read, data[:end]) == failure(read_picture, data[:end])


@settings(max_examples=80)
@given(st.data())
def test_damage_is_refused_at_a_fraction_where_it_is_refused_at_all(data):
    good = bytearray(jpeg(noise_picture(0, size=(80, 96))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(2, len(good) - 1))
        good[at] = data.draw(st.integers(0, 255))
    damaged = bytes(good)
    reads = transform_of(size=8).read
    assert failure(reads, damaged) == failure(read_picture, damaged)


def failure(function, item):
    """Return how a function fails, in the first words of its message."""
    try:
        function(item)
    except ContentError as error:
        return str(error).split(":")[0]
    return None


# -- whose memory it is ----------------------------------------------------------------


def test_a_picture_that_was_read_is_ones_own():
    original = Image.new("RGB", (4, 3), "red")
    original.info = {"note": "mine"}
    copy = read_picture(original)
    copy.paste("blue", (0, 0, 4, 3))
    assert original.getpixel((0, 0)) == (255, 0, 0)
    assert original.info == {"note": "mine"}
    assert copy.info == {}
    assert type(read_picture(jpeg(original))) is Image.Image


def test_what_was_prepared_stays_when_the_picture_changes():
    original = Image.new("RGB", (32, 32), "red")
    prepared = transform_of(size=32).read(original)
    original.paste("blue", (0, 0, 32, 32))
    assert prepared[:, 0, 0].tolist() == [255, 0, 0]


# -- on the device ---------------------------------------------------------------------


def test_a_batch_is_normalised_where_it_lies():
    transform = transform_of(size=8)
    with valueless_gpus(allow_non_fake_inputs=True):
        moved = transform.to(torch.device("cuda"))
        batch = torch.zeros(3, 3, 8, 8, dtype=torch.uint8, device="cuda")
        result = moved.normalise(batch)
    assert result.device.type == "cuda"
    assert result.dtype == torch.float32
    assert result.shape == batch.shape


def test_contents_are_eight_bits_and_start_gives_what_encode_gives(image_encoder):
    model = image_encoder._model
    contents = [model.prepare(noise_picture(i)) for i in range(3)]
    assert {picture.dtype for [picture] in contents} == {torch.uint8}
    waits = [model.start(contents[:2]), model.start(contents[2:])]
    vectors = np.concatenate([wait() for wait in waits])
    np.testing.assert_allclose(vectors, model.encode(contents), rtol=1e-5, atol=1e-6)


def test_vectors_of_another_way_to_prepare_are_not_taken_from_a_cache(image_encoder):
    transform = image_encoder._model._transform
    assert str(transform) != str(transform.whole)
    other = transform_of(size=32, mean=(0.1, 0.2, 0.3))
    assert str(other) != str(transform)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pictures_take_the_type_of_the_weights(image_model, dtype):
    from skmmrec.encoders._image import VisionModel

    encoder = ImageEncoder(image_model).fit(["any"])
    expected = encoder.transform([scene(40, 50)])[0]
    network, transform = _loaded(image_model)
    device = torch.device("cpu")
    whole = VisionModel(network, transform, device)
    assert not whole.own_precision
    half = VisionModel(network.to(dtype), transform, device)
    assert half.own_precision
    [vector] = half.encode([half.prepare(scene(40, 50))])
    assert vector.dtype == np.float32
    assert vector @ expected / np.linalg.norm(vector) > 0.999


def _loaded(folder):
    from skmmrec.encoders._open_clip import load_open_clip

    return load_open_clip(folder, "unused")


@pytest.mark.gpu
def test_a_batch_is_started_without_waiting(image_model):
    model = ImageEncoder(image_model, device="cuda").fit(["any"])._model
    contents = [model.prepare(noise_picture(i)) for i in range(4)]
    model.encode(contents)
    torch.cuda.set_sync_debug_mode("error")
    try:
        wait = model.start(contents)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    np.testing.assert_allclose(wait(), model.encode(contents), rtol=1e-2, atol=1e-2)
