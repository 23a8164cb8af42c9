"""JPEG files that are decoded many at once give the pictures that the host gives.

Without a GPU, torchvision's decoder on the host stands in for that of a GPU.
"""

import io

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image

from skmmrec.encoders import ImageEncoder
from skmmrec.encoders._device_jpegs import (
    DeviceJpegs,
    device_jpegs,
    jpegs_agree,
    plain_size,
)
from skmmrec.encoders._resizing import PictureTransform, probe_picture
from skmmrec.runtime import ContentError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def jpeg(size=(90, 60), mode="RGB", **options):
    """A smooth picture as a file."""
    file = io.BytesIO()
    probe_picture(size).convert(mode).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(exif=exif.tobytes())


def with_mpf():
    """A picture with a second one behind it, such as a preview."""
    file = io.BytesIO()
    first, second = (probe_picture(size) for size in ((90, 60), (45, 30)))
    first.save(file, "MPO", save_all=True, append_images=[second])
    return file.getvalue()


def in_scans():
    """A head that announces the pixels of one channel, as if others followed."""
    at = (data := jpeg()).find(b"\xff\xda")
    return data[:at] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + data[at + 14 :]


def made(size=32, mode="shortest", device=CPU):
    transform = PictureTransform(PreprocessCfg(size=size, resize_mode=mode))
    return DeviceJpegs(transform, transform.resizer, device), transform


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_whole_upright_files_in_colours_are_taken(subsampling):
    data = jpeg((90, 60), subsampling=subsampling)
    assert plain_size(data) == (90, 60)
    assert plain_size(data + b"\0" * 32) == (90, 60)
    comment = data[:2] + b"\xff\xfe\x00\x05abc" + data[2:]
    assert plain_size(comment) == (90, 60)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(jpeg(progressive=True), id="progressive"),
        pytest.param(jpeg(mode="L"), id="grey"),
        pytest.param(jpeg(mode="CMYK"), id="CMYK"),
        pytest.param(jpeg(keep_rgb=True), id="channels that are not those of JFIF"),
        pytest.param(turned(6), id="turned"),
        pytest.param(with_mpf(), id="several pictures"),
        pytest.param(in_scans(), id="one channel after the other"),
        pytest.param(jpeg()[:-40], id="cut off"),
        pytest.param(jpeg() + b"x" * 500, id="something behind it"),
        pytest.param(jpeg()[:100], id="head alone"),
        pytest.param(b"\xff\xd8\xff\xd9", id="nothing in it"),
        pytest.param(b"", id="empty"),
    ],
)
def test_all_others_are_left_to_the_host(data):
    assert plain_size(data) is None
    assert made()[0].read(data) is None


def test_pictures_that_are_no_files_are_left_to_the_host(tmp_path):
    path = tmp_path / "a.png"
    probe_picture((40, 30)).save(path)
    jpegs, _ = made()
    for item in (path, np.zeros((8, 8, 3), np.uint8), probe_picture((9, 9))):
        assert jpegs.read(item) is None


def test_a_strip_is_left_to_the_host():
    """Resized whole, it would have a hundred times the pixels that are taken."""
    assert made()[0].read(jpeg((3000, 20))) is None


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [32, (24, 40), (40, 24)])
def test_pictures_are_those_of_the_host(mode, size, tmp_path):
    jpegs, transform = made(size, mode)
    rng = np.random.default_rng(0)
    sizes = [tuple(int(n) for n in rng.integers(60, 120, 2)) for _ in range(12)]
    files = []
    for number, pair in enumerate([*sizes, *sizes[:4]]):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(jpeg(pair, subsampling=0))
        files.append(path)
    given = jpegs.pictures([jpegs.read(path) for path in files])
    for path, picture in zip(files, given, strict=True):
        away = (picture.float() - transform.read(path).float()).abs()
        assert away.max() <= 16, path
        assert away.mean() <= 1.5, path


def test_they_agree_on_files_of_all_kinds():
    jpegs, transform = made(64)
    assert jpegs_agree(jpegs, transform, jpeg((301, 200), subsampling=0))
    assert not jpegs_agree(jpegs, transform, jpeg(progressive=True))


def test_where_there_is_no_gpu_the_host_decodes():
    assert device_jpegs(made()[1], CPU) is None


@pytest.fixture
def encoder(image_model):
    """An encoder whose model decodes files many at once, without a GPU."""
    encoder = ImageEncoder(image_model, device="cpu", batch_size=8).fit(["any"])
    model = encoder._model
    transform = model._transform
    before, model._jpegs = model._jpegs, DeviceJpegs(transform, transform.resizer, CPU)
    yield encoder
    model._jpegs = before


def test_vectors_of_a_column_are_in_its_order(encoder, image_model):
    column = [
        jpeg((40 + i, 50), subsampling=0) if i % 3 else probe_picture((50, 40 + i))
        for i in range(30)
    ]
    vectors = encoder.transform(column)
    encoder._model._jpegs = None
    expected = encoder.transform(column)
    assert ((vectors * expected).sum(axis=1) > 0.999).all()
    assert np.abs(vectors - expected).max() > 0


def damaged():
    """A file that looks whole, and cannot be decoded."""
    data = bytearray(jpeg((80, 70)))
    table = data.find(b"\xff\xc4")  # of Huffman's code
    data[table + 5 : table + 21] = b"\xff" * 16
    assert plain_size(bytes(data)) == (80, 70)
    return bytes(data)


def test_a_file_that_cannot_be_decoded_is_named(encoder):
    column = [jpeg((40, 50)), damaged(), jpeg((50, 40))]
    with pytest.raises(ContentError, match=r"row 1.*damaged picture"):
        encoder.transform(column)
    encoder.set_params(on_error="missing")
    with pytest.warns(UserWarning, match="1 of 3 rows could not be read"):
        vectors = encoder.transform(column)
    assert vectors.any(axis=1).tolist() == [True, False, True]


@pytest.mark.gpu
def test_a_gpu_gives_the_pictures_of_the_host():
    transform = made(224)[1]
    jpegs = device_jpegs(transform, CUDA)
    assert jpegs is not None
    files = [jpeg((300 + 7 * i, 400), subsampling=i % 3) for i in range(9)]
    given = jpegs.pictures([jpegs.read(data) for data in files]).cpu()
    for data, picture in zip(files, given, strict=True):
        away = (picture.float() - transform.read(data).float()).abs()
        assert away.mean() <= 1.5
        assert away.max() <= 16


@pytest.mark.gpu
def test_vectors_of_a_gpu_are_those_of_the_host(image_model):
    column = [jpeg((90 + i, 60), subsampling=2) for i in range(20)] + [damaged()]
    encoder = ImageEncoder(image_model, device="cuda", on_error="missing").fit(["a"])
    host = ImageEncoder(image_model, device="cpu", on_error="missing").fit(["a"])
    with pytest.warns(UserWarning, match="1 of 21 rows"):
        vectors = encoder.transform(column)
    with pytest.warns(UserWarning, match="1 of 21 rows"):
        expected = host.transform(column)
    assert ((vectors * expected).sum(axis=1)[:20] > 0.99).all()
    assert not vectors[20].any()
