"""Whatever is in a file: an error that names its row, or a masked row.

A cut or damaged file may also be read, where its format cannot tell or only what
follows the content is lost. Its neighbours in the column never change.
"""

import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from skmmrec.encoders import AudioEncoder, ImageEncoder
from skmmrec.encoders._audio import SoundModel
from skmmrec.encoders._panns import _definitions
from skmmrec.encoders._panns_networks import (
    _PowerSpectrogram,
    _TaggingNetwork,
    second_cost,
)
from skmmrec.runtime import weights_hash

from .conftest import noise_picture, tone

few = settings(
    max_examples=30,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SOUND_FORMATS = ["WAV", "FLAC", "OGG", "MP3"]
PICTURE_FORMATS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]


def picture_bytes(file_format):
    buffer = io.BytesIO()
    noise_picture(0, size=(12, 9)).save(buffer, file_format)
    return buffer.getvalue()


def sound_bytes(file_format, seconds=0.3, rate=16_000):
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(440, seconds, rate)[0], rate, format=file_format)
    return buffer.getvalue()


PICTURES = {name: picture_bytes(name) for name in PICTURE_FORMATS}
SOUNDS = {name: sound_bytes(name) for name in SOUND_FORMATS}


@pytest.fixture(scope="module")
def eyes(image_model):
    """A strict and a lenient encoder of pictures, and a good picture."""
    return pair(ImageEncoder, noise_picture(1), model=image_model)


class SmallEars(AudioEncoder):
    """An AudioEncoder of which all is real but the trunk of its network."""

    def _load_model(self, device):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = SmallNetwork(_definitions(), 16).eval()
        parts = (weights_hash(network), device, self._windowing())
        return SoundModel(network, *parts, second_cost(network))


class SmallNetwork(_TaggingNetwork):
    """The front end of the published networks, then one convolution."""

    def __init__(self, definitions, dim):
        super().__init__(definitions, dim)
        self.spectrogram_extractor = _PowerSpectrogram()
        self.conv = torch.nn.Conv2d(1, dim, 8, stride=8)

    def trunk(self, x):
        return torch.relu(self.conv(x))


@pytest.fixture(scope="module")
def ears():
    """A strict and a lenient encoder of sounds, and a good sound."""
    return pair(SmallEars, tone(880, 0.2), model="MobileNetV1", pretrained=False)


def pair(kind, good, **options):
    """A strict and a lenient encoder, a good item and its vector."""
    strict = kind(device="cpu", **options).fit(["any"])
    lenient = kind(device="cpu", on_error="missing", **options).fit(["any"])
    return strict, lenient, good, strict.transform([good])[0]


def read(encoders, item):
    """Return an item's vector, or None if it is refused, both ways the same."""
    strict, lenient, good, expected = encoders
    with warnings.catch_warnings(record=True) as caught:  # Pillow warns as well
        warnings.simplefilter("always")
        vectors = lenient.transform([good, item, None])
        is_reported = any("1 of 3 rows could not be read" in str(w) for w in caught)
        np.testing.assert_allclose(vectors[0], expected, atol=1e-5)
        assert not vectors[2].any()
        assert is_reported != vectors[1].any()
        if is_reported:
            with pytest.raises(ValueError, match=rf"^{type(strict).__name__}: row 1"):
                strict.transform([good, item])
            return None
        vector = strict.transform([good, item])[1]
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[1], vector, atol=1e-5)
    return vector


@few
@given(name=st.sampled_from(PICTURE_FORMATS), share=st.floats(0, 1, exclude_max=True))
def test_a_picture_cut_at_any_byte(eyes, name, share):
    data = PICTURES[name]
    vector = read(eyes, data[: int(share * len(data))])
    assert vector is None or share > 0.5


@few
@given(name=st.sampled_from(SOUND_FORMATS), share=st.floats(0, 1, exclude_max=True))
def test_a_sound_cut_at_any_byte(ears, name, share):
    data = SOUNDS[name][: int(share * len(SOUNDS[name]))]
    declares_length = name in ("WAV", "FLAC")
    is_padding = len(SOUNDS[name]) - len(data) == 1
    assert read(ears, data) is None or not declares_length or is_padding


@few
@given(
    name=st.sampled_from(PICTURE_FORMATS),
    places=st.lists(st.integers(0, 2**16), min_size=1, max_size=8),
    value=st.integers(0, 255),
)
def test_a_picture_with_damaged_bytes(eyes, name, places, value):
    read(eyes, damaged(PICTURES[name], places, value))


@few
@given(
    name=st.sampled_from(SOUND_FORMATS),
    places=st.lists(st.integers(0, 2**16), min_size=1, max_size=8),
    value=st.integers(0, 255),
)
def test_a_sound_with_damaged_bytes(ears, name, places, value):
    read(ears, damaged(SOUNDS[name], places, value))


def damaged(data, places, value):
    changed = bytearray(data)
    for place in places:
        changed[place % len(changed)] = value
    return bytes(changed)


@few
@given(data=st.binary(max_size=200))
def test_bytes_of_no_kind(eyes, ears, data):
    assert read(eyes, data) is None
    assert read(ears, data) is None


@few
@given(
    name=st.sampled_from([*PICTURES, *SOUNDS]), ending=st.sampled_from(["jpg", "wav"])
)
def test_the_name_of_a_file_does_not_count(eyes, ears, tmp_path, name, ending):
    path = tmp_path / f"file.{ending}"
    path.write_bytes({**PICTURES, **SOUNDS}[name])
    assert (read(eyes, path) is not None) == (name in PICTURES)
    assert (read(ears, path) is not None) == (name in SOUNDS)


@pytest.mark.parametrize("kind", ["eyes", "ears"])
def test_an_empty_file(kind, request, tmp_path):
    (tmp_path / "empty.jpg").touch()
    encoders = request.getfixturevalue(kind)
    assert read(encoders, tmp_path / "empty.jpg") is None
    assert read(encoders, b"") is None


@pytest.mark.parametrize("name", PICTURE_FORMATS)
def test_a_picture_of_one_pixel(eyes, name):
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), "red").save(buffer, name)
    assert read(eyes, buffer.getvalue()) is not None


def png(width, height, rows):
    """A PNG of grey pixels that declares a size and holds some compressed rows."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def with_size(name, size):
    """Return a picture's bytes with another size in its header."""
    width, height = struct.pack(">H", size), struct.pack(">H", size)
    data = bytearray(PICTURES[name])
    if name == "JPEG":
        start = data.index(b"\xff\xc0")
        data[start + 5 : start + 9] = height + width
    elif name == "GIF":
        data[6:10] = struct.pack("<HH", size, size)
        start = data.index(b"\x2c\0\0\0\0")  # the first frame
        data[start + 5 : start + 9] = struct.pack("<HH", size, size)
    else:
        data[18:26] = struct.pack("<ii", size, size)
    return bytes(data)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "BMP"])
def test_a_picture_that_declares_too_many_pixels(eyes, name):
    item = png(20_000, 20_000, b"") if name == "PNG" else with_size(name, 20_000)
    assert read(eyes, item) is None
    with pytest.raises(ValueError, match="pixels"):
        eyes[0].transform([item])


@few
@given(
    samples=st.lists(
        st.sampled_from([0.0, 0.5, -1.0, np.nan, np.inf, -np.inf]), max_size=4
    ),
    rate=st.sampled_from([0, -1, 0.5, 1, 8000, 192_000, np.nan, np.inf, None]),
)
def test_samples_and_rates_of_any_kind(ears, samples, rate):
    is_good = bool(samples) and bool(np.isfinite(samples).all())
    is_rate = rate in (1, 8000, 192_000)
    vector = read(ears, (np.array(samples), rate))
    assert (vector is not None) == (is_good and is_rate)


@pytest.mark.parametrize("n_samples", [1, 2, 100])
@pytest.mark.parametrize("name", ["WAV", "FLAC", "OGG"])
def test_a_sound_of_few_samples(ears, name, n_samples):
    assert read(ears, sound_bytes(name, n_samples / 16_000)) is not None


def test_samples_that_are_not_finite_in_a_file(ears):
    buffer = io.BytesIO()
    samples = np.array([0, np.nan, 0.1], np.float32)
    soundfile.write(buffer, samples, 8000, format="WAV", subtype="FLOAT")
    assert read(ears, buffer.getvalue()) is None


def test_a_file_of_zero_hertz(ears):
    data = bytearray(SOUNDS["WAV"])
    data[24:28] = bytes(4)
    assert read(ears, bytes(data)) is None


def test_a_file_that_declares_three_hours(ears):
    n_samples = 3 * 3600 * 16_000
    wav = bytearray(SOUNDS["WAV"])
    wav[4:8] = struct.pack("<I", 2 * n_samples + 36)
    wav[40:44] = struct.pack("<I", 2 * n_samples)
    assert read(ears, bytes(wav)) is None
    flac = bytearray(SOUNDS["FLAC"])
    flac[22:26] = struct.pack(">I", n_samples)
    assert read(ears, bytes(flac)) is None


def test_a_recording_of_unknown_length_is_read(ears):
    whole = read(ears, SOUNDS["WAV"])
    for declared in (0, 2**32 - 1):
        data = bytearray(SOUNDS["WAV"])
        data[4:8] = struct.pack("<I", declared)
        np.testing.assert_allclose(read(ears, bytes(data)), whole, atol=1e-6)


@pytest.mark.parametrize("kind", ["eyes", "ears"])
@pytest.mark.parametrize("url", ["https://example.org/a", "ftp://a/b.wav", "s3://a/b"])
def test_nothing_is_read_from_the_network(kind, url, request):
    encoders = request.getfixturevalue(kind)
    assert read(encoders, url) is None
    with pytest.raises(ValueError, match="is a URL; nothing is read from the network"):
        encoders[0].transform([url])


@pytest.mark.parametrize("kind", ["eyes", "ears"])
def test_a_url_of_a_file_says_how_to_give_its_path(kind, request, tmp_path):
    """Engines such as Spark name files so."""
    encoders, path = request.getfixturevalue(kind), tmp_path / "a b #1.media"
    for url in (path.as_uri(), f"file:{path}", Path(path.as_uri())):
        with pytest.raises(ValueError, match=r"is a URL of a file.*url2pathname"):
            encoders[0].transform([url])
    assert url2pathname(urlsplit(path.as_uri()).path) == str(path)


BOMBS = """
import io, resource, struct, sys, zlib
import numpy as np, soundfile
from skmmrec.encoders import read_picture, read_sound
from skmmrec.runtime import ContentError

picture, sound = (open(path, "rb").read() for path in sys.argv[1:])
read_sound((np.zeros(800), 8000), 32_000, 1)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak()
try:
    read_picture(picture)
except ContentError as error:
    assert "pixels" in str(error)
else:
    raise AssertionError("the picture was decoded")
assert len(read_sound(sound, 32_000, 5)) == 5 * 32_000
print(peak() - before)
"""


def test_bombs_take_little_memory(tmp_path):
    """400 MB of pixels in 0.4 MB, and 3 hours of sound in 0.3 MB."""
    squeeze = zlib.compressobj(1)
    rows = b"".join(squeeze.compress(bytes(20_001)) for _ in range(20_000))
    (tmp_path / "a.png").write_bytes(png(20_000, 20_000, rows + squeeze.flush()))
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 8000, 1) as file:
        for _ in range(3 * 60):
            file.write(np.zeros(60 * 8000, np.int16))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3e6
    command = [sys.executable, "-c", BOMBS, tmp_path / "a.png", tmp_path / "a.flac"]
    grown = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(grown.stdout) < 30  # megabytes
