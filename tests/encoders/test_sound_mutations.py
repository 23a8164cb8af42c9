"""Files whose headers are damaged: the samples, or an error, and never others."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from skmmrec.encoders import ContentError, read_sound

from .sound_files import (
    ID3V1,
    RATE,
    chunk,
    encoded,
    id3,
    lag,
    pcm,
    pcm_format,
    put,
    riff,
    sweep,
)


def tries(number):
    return settings(
        max_examples=number,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


FEW, MANY = tries(200), tries(2000)
SOUND = sweep(0.2)
QUANTIZED = np.round(SOUND * 32767) / 32768


def read(data):
    """Return what a file is read as, None if it is refused."""
    try:
        return read_sound(data, RATE, 600)
    except ContentError:
        return None


def is_same(found, expected, n_more=0):
    """Whether samples are the expected ones, or those and a few more."""
    if not 0 <= len(found) - len(expected) <= n_more:
        return False
    return np.allclose(found[: len(expected)], expected, atol=2e-4, rtol=1e-3)


TEXT = chunk(b"LIST", b"INFOINAM" + struct.pack("<I", 5) + b"title\0")
CHUNKS = {
    "none": (b"", b""),
    "before": (TEXT + chunk(b"bext", bytes(602)), b""),
    "after": (b"", chunk(b"cue ", bytes(28)) + TEXT),
    "both": (chunk(b"JUNK", bytes(28)), TEXT),
}
SIZES = st.one_of(
    st.integers(0, 2**32 - 1),
    st.integers(0, 10_000),
    st.sampled_from([0, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 2]),
)


@st.composite
def wavs_of_wrong_sizes(draw):
    """A WAV with any sizes in one or several of its chunks, in any order before."""
    before, after = CHUNKS[draw(st.sampled_from(list(CHUNKS)))]
    data = riff(chunk(b"fmt ", pcm_format()), before, chunk(b"data", pcm(SOUND)), after)
    places = [4] + [
        data.index(name) + 4 for name in (b"fmt ", b"data", b"LIST") if name in data
    ]
    for place in draw(st.lists(st.sampled_from(places), min_size=1, max_size=2)):
        data = put(data, place, struct.pack("<I", draw(SIZES)))
    return data


@st.composite
def wavs_of_wrong_bytes(draw):
    """A WAV with other bytes in the headers of its chunks."""
    before, after = CHUNKS[draw(st.sampled_from(list(CHUNKS)))]
    body = chunk(b"data", pcm(SOUND))
    head = riff(chunk(b"fmt ", pcm_format()), before, body, after)
    places = range(head.index(b"data") + 8)
    for place in draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        head = put(head, place, bytes([draw(st.integers(0, 255))]))
    return head


def check_riff_sizes(data):
    found = read(data)
    # A chunk behind the sound cannot be told from it if its own size is damaged.
    assert found is None or is_same(found, QUANTIZED, n_more=40)


def check_riff_bytes(data):
    found = read(data)
    names_format = data[20:36] == pcm_format()
    assert found is None or not names_format or is_same(found, QUANTIZED, n_more=40)


@FEW
@given(wavs_of_wrong_sizes())
def test_riff_sizes(data):
    check_riff_sizes(data)


@pytest.mark.slow
@MANY
@given(wavs_of_wrong_sizes())
def test_riff_sizes_at_length(data):
    check_riff_sizes(data)


@FEW
@given(wavs_of_wrong_bytes())
def test_riff_headers(data):
    check_riff_bytes(data)


@pytest.mark.slow
@MANY
@given(wavs_of_wrong_bytes())
def test_riff_headers_at_length(data):
    check_riff_bytes(data)


FLAC = encoded(SOUND, "FLAC", "PCM_16")
N_METADATA = FLAC.index(b"\xff\xf8", 42)


@st.composite
def flacs_of_wrong_bytes(draw):
    """A FLAC with other bytes anywhere in its metadata."""
    data = FLAC
    for place in draw(st.lists(st.integers(4, N_METADATA - 1), min_size=1, max_size=3)):
        data = put(data, place, bytes([draw(st.integers(0, 255))]))
    return data


def check_flac(data):
    found = read(data)
    assert found is None or is_same(found, QUANTIZED)


@FEW
@given(flacs_of_wrong_bytes())
def test_flac_metadata(data):
    check_flac(data)


@pytest.mark.slow
@MANY
@given(flacs_of_wrong_bytes())
def test_flac_metadata_at_length(data):
    check_flac(data)


MP3 = encoded(SOUND, "MP3")
MP3_SOUND = read_sound(MP3, RATE, 600)
N_COUNT = MP3.index(MP3[:2], 4)  # bytes of the frame that counts the others
FRONT = id3(300)


@st.composite
def mp3s_of_wrong_bytes(draw):
    """An MP3 between tags, with other bytes in them and in its first frame."""
    data = FRONT + MP3 + ID3V1
    places = [*range(3, len(FRONT) + N_COUNT), *range(len(data) - 125, len(data))]
    for place in draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        data = put(data, place, bytes([draw(st.integers(0, 255))]))
    return data


def check_mp3(data):
    """Of a damaged tag, what it says of the ends is believed within a frame."""
    found = read(data)
    if found is None:
        return
    assert -576 <= len(found) - len(MP3_SOUND) <= 2 * 1152
    shift = lag(found, MP3_SOUND)
    assert abs(shift) <= 1152
    shifted = found[max(shift, 0) :]
    expected = MP3_SOUND[max(-shift, 0) :]
    n = min(len(shifted), len(expected))
    # Where a frame is lost, half of the next lacks what overlaps with it.
    first = 576 if shift <= -576 else 0
    np.testing.assert_allclose(
        shifted[first:n], expected[first:n], atol=2e-3, rtol=1e-3
    )


@FEW
@given(mp3s_of_wrong_bytes())
def test_mp3_tags(data):
    check_mp3(data)


@pytest.mark.slow
@MANY
@given(mp3s_of_wrong_bytes())
def test_mp3_tags_at_length(data):
    check_mp3(data)


FILES = {
    "WAV": riff(chunk(b"fmt ", pcm_format()), TEXT, chunk(b"data", pcm(SOUND))),
    "RF64": encoded(SOUND, "RF64"),
    "W64": encoded(SOUND, "W64"),
    "AIFF": encoded(SOUND, "AIFF"),
    "CAF": encoded(SOUND, "CAF"),
    "AU": encoded(SOUND, "AU"),
    "FLAC": FLAC,
    "MP3": FRONT + MP3 + ID3V1,
    "OGG": encoded(SOUND, "OGG"),
    "OPUS": encoded(SOUND, "OGG", "OPUS"),
    "ADPCM": encoded(SOUND, "WAV", "IMA_ADPCM"),
}


@st.composite
def files_of_wrong_bytes(draw):
    """A file with other bytes anywhere, cut anywhere, or with bytes twice or moved."""
    data = FILES[draw(st.sampled_from(list(FILES)))]
    places = st.one_of(
        st.integers(0, min(200, len(data) - 1)), st.integers(0, len(data) - 1)
    )
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted([draw(places), draw(places)])
        kind = draw(st.sampled_from(["byte", "cut", "repeat", "move", "insert"]))
        if kind == "byte":
            data = put(data, start, bytes([draw(st.integers(0, 255))]))
        elif kind == "cut":
            data = data[:start] + data[end:]
        elif kind == "repeat":
            data = data[:end] + data[start:]
        elif kind == "move":
            data = data[:start] + data[end:] + data[start:end]
        else:
            data = data[:start] + draw(st.binary(max_size=40)) + data[start:]
    return data


def check_any(data):
    found = read(data)
    if found is not None:
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert len(found)


@FEW
@given(files_of_wrong_bytes())
def test_whatever_is_in_a_file(data):
    check_any(data)


@pytest.mark.slow
@MANY
@given(files_of_wrong_bytes())
def test_whatever_is_in_a_file_at_length(data):
    check_any(data)
