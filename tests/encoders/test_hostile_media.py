"""Files made to fill memory or time: an error of the item, and soon."""

import io
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from skmmrec.encoders import (
    ContentError,
    _containers,
    _pictures,
    read_picture,
    read_sound,
)
from skmmrec.encoders._clips import Span, frames_at, read_waveform
from skmmrec.encoders._pictures import MAX_PIXELS
from skmmrec.encoders._sound_files import _parts

from .sound_files import chunk, encoded, pcm_format, riff

RATE = 16_000


def by_av(codec, container, layout, rate, parts):
    """Encode parts of integers, (n, n_channels), each with the sample it starts at."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        for place, part in parts:
            row = np.ascontiguousarray(part, np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(row, "s16", layout)
            frame.sample_rate, frame.pts = rate, place
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("layout", "n_channels"), [("5.1", 6), ("7.1", 8), ("hexadecagonal", 16)]
)
@pytest.mark.parametrize("codec", ["pcm_s16le", "flac"])
def test_channels_beyond_the_eight_that_a_frame_has_room_for(codec, layout, n_channels):
    """PyAV reads beyond its list of eight channels, wherever that leads."""
    if codec == "flac" and n_channels > 8:
        pytest.skip("FLAC has eight channels at most")
    samples = np.random.default_rng(0).integers(-9000, 9000, (4000, n_channels))
    data = by_av(codec, "matroska", layout, RATE, [(0, samples)])
    mean = samples.mean(axis=1) / 2**15
    np.testing.assert_allclose(read_sound(data, RATE), mean, atol=1e-6, rtol=1e-6)
    heard, rate = read_waveform(data, Span(0, len(samples) / RATE))
    assert rate == RATE
    np.testing.assert_allclose(heard, mean, atol=1e-6, rtol=1e-6)


def test_a_rate_that_would_fill_memory_is_refused():
    """Three packets in four minutes: of the rate that they declare, 4 GB."""
    few = np.zeros((1000, 1))
    parts = [(n * 120 * 4_000_000, few) for n in range(3)]
    data = by_av("pcm_s16le", "matroska", "mono", 4_000_000, parts)
    for read_it in (
        lambda: read_sound(data, RATE),
        lambda: read_waveform(data, Span(0, 240)),
    ):
        with pytest.raises(ContentError, match="declares 4000000 Hz, more than"):
            read_it()


def test_joined_recordings_do_not_become_any_number_of_samples():
    """A second of sound, at the rate of the first recording, would be 8 GB."""
    first, second = (
        encoded(np.zeros(2), "WAV", "PCM_16", rate=rate) for rate in (2**31 - 1, 8000)
    )
    assert len(read_sound(first, RATE)) == 1
    with pytest.raises(ContentError, match="declares 2147483647 Hz, more than"):
        read_sound(first + second, RATE)


def png(side):
    buffer = io.BytesIO()
    Image.new("L", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_of_a_video_that_is_larger_than_declared(monkeypatch):
    """The container declares 64 x 64; FFmpeg itself would decode 268 million pixels."""
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov") as out:
        stream = out.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "gray"
        for n in range(20):
            packet = av.Packet(png(100 if n == 19 else 64))
            packet.stream, packet.pts, packet.dts = stream, n, n
            packet.time_base, packet.duration = Fraction(1, 10), 1
            packet.is_keyframe = True
            out.mux(packet)
    times, data = [0.05, 1.95], buffer.getvalue()
    assert [p.size for p in frames_at(data, times)] == [(64, 64), (100, 100)]
    assert {"max_pixels": str(MAX_PIXELS)} == _containers._CODEC_OPTIONS
    monkeypatch.setitem(_containers._CODEC_OPTIONS, "max_pixels", "5000")
    with pytest.raises(ContentError, match="is not a readable video"):
        list(frames_at(data, times))


class Counted(io.BytesIO):
    """A file that counts how often it is read, and how much."""

    n_reads = n_bytes = 0

    def read(self, size=-1):
        data = super().read(size)
        self.n_reads += 1
        self.n_bytes += len(data)
        return data


WAV = encoded(np.zeros(2), "WAV", "PCM_16")
FLAC = encoded(np.zeros(400), "FLAC", "PCM_16")
OGG = encoded(np.zeros(400), "OGG", "VORBIS")


@pytest.mark.parametrize("one", [WAV, FLAC, OGG], ids=["WAV", "FLAC", "Ogg"])
def test_as_many_joined_recordings_are_read_as_anybody_joins(one):
    assert len(_parts(io.BytesIO(30 * one), 10.0)) == 30
    file = Counted(1100 * one)
    with pytest.raises(ContentError, match="joins more recordings than the 1000"):
        _parts(file, 10.0)
    assert file.n_reads < 100 * 1100


def test_pages_of_ogg_between_other_bytes_are_found_without_reading_all_of_the_rest():
    page = b"OggS\0\0" + bytes(20) + b"\0"
    file = Counted(5000 * (page + b"x"))
    assert len(_parts(file, 10.0)) == 1
    assert file.n_bytes < 100 * len(file.getvalue())


def test_many_chunks_of_sound_are_followed_once():
    sounds = [chunk(b"data", b"\0\0") for _ in range(900)]
    file = Counted(riff(chunk(b"fmt ", pcm_format()), *sounds))
    assert len(_parts(file, 10.0)) == 900
    assert file.n_reads < 100 * 900


@pytest.mark.parametrize("most", ["_MOST_FRAME_PIXELS", "MAX_PIXELS"])
def test_a_later_page_is_no_larger_than_a_first_one_may_be(monkeypatch, most):
    buffer = io.BytesIO()
    blank, page = Image.new("L", (1, 1)), Image.effect_noise((40, 30), 90)
    blank.save(buffer, "TIFF", save_all=True, append_images=[page])
    assert read_picture(buffer.getvalue()).size == (40, 30)
    monkeypatch.setattr(_pictures, most, 1000)
    if most == "MAX_PIXELS":
        with pytest.raises(ContentError, match="declares 40 x 30 pixels, more than"):
            read_picture(buffer.getvalue())
    else:
        assert read_picture(buffer.getvalue()).size == (1, 1)
