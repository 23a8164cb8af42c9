"""What is shown of a video: mirrored, transparent, and wherever its streams lie."""

import io
import struct
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from skmmrec.encoders import (
    ContentError,
    _clips as clips,
    _containers,
    read_picture,
)
from skmmrec.encoders._clips import Span, find_extents

from .test_video import RATE, av, late_tone, make_video, solid, two_colors

CORNERS = {(-1, -1): "red", (1, -1): "lime", (-1, 1): "blue", (1, 1): "white"}
ONE = 2**16
# Where right and down of the stored picture are to be shown.
AXES = [(x, 0, 0, y) for x in (1, -1) for y in (1, -1)]
AXES += [(0, x, y, 0) for x in (1, -1) for y in (1, -1)]


def with_matrix(data, a, b, c, d):
    """An MP4 whose header says how its pictures are to be shown."""
    place = data.index(b"tkhd") + 44  # version 0: 40 bytes are in between
    assert struct.unpack_from(">i", data, place) == (ONE,)
    numbers = (a, b, 0, c, d, 0, 0, 0, 2**30 // ONE)
    matrix = struct.pack(">9i", *(round(number * ONE) for number in numbers))
    return data[:place] + matrix + data[place + len(matrix) :]


def corners():
    picture = solid("red", (64, 32))
    for (x, y), colour in CORNERS.items():
        box = (16 * (x + 1), 8 * (y + 1), 16 * (x + 1) + 32, 8 * (y + 1) + 16)
        picture.paste(colour, box)
    return picture


def assert_corners(shown, a, b, c, d):
    width, height = shown.size
    for (x, y), colour in CORNERS.items():
        right, down = a * x + c * y, b * x + d * y
        place = (width * (2 + right) // 4, height * (2 + down) // 4)
        expected = solid(colour, (1, 1)).getpixel((0, 0))
        np.testing.assert_allclose(shown.getpixel(place), expected, rtol=0, atol=60)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("size", [1, 0.5])
def test_mirrored_and_turned_videos_are_shown_as_their_header_says(axes, size):
    a, b, c, d = axes
    data = make_video([(t, corners()) for t in (0, 0.5)], container="mp4")
    (shown,) = clips.frames_at(with_matrix(data, size * a, size * b, c, d), [0.2])
    assert shown.size == ((64, 32) if a else (32, 64))
    assert_corners(shown, a, b, c, d)


def test_a_video_that_leans_is_turned():
    data = make_video([(t, solid("white", (64, 32))) for t in (0, 0.5)], None, "mp4")
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    (shown,) = clips.frames_at(with_matrix(data, cos, sin, -sin, cos), [0.2])
    assert shown.width > 64
    assert shown.height > 55
    (shown,) = clips.frames_at(with_matrix(data, 1, 0.001, -0.001, 1), [0.2])
    assert shown.size == (64, 32)


def transparent(codec, container, pixels):
    """A video of a black picture, transparent except for a part that moves."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, pixels
        if codec.startswith("libvpx"):
            stream.codec_context.options = {"auto-alt-ref": "0", "crf": "4"}
        for i in range(5):
            frame = av.VideoFrame.from_ndarray(np.asarray(sticker(i)), format="rgba")
            frame = frame.reformat(format=pixels)
            frame.pts, frame.time_base = i, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def sticker(i):
    picture = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (8 + i, 8, 24 + i, 24))
    picture.paste((0, 0, 0, 128), (40 + i, 8, 56 + i, 24))
    return picture


@pytest.mark.parametrize(
    ("codec", "container", "pixels"),
    [
        ("apng", "apng", "rgba"),
        ("png", "mov", "rgba"),
        ("qtrle", "mov", "argb"),
        ("ffv1", "matroska", "yuva420p"),
        ("prores_ks", "mov", "yuva444p10le"),
        ("libvpx", "webm", "yuva420p"),
        ("libvpx-vp9", "webm", "yuva420p"),
    ],
)
def test_transparent_parts_of_a_video_are_white(codec, container, pixels):
    """As those of pictures are: else a black thing on nothing is black all over."""
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    data = transparent(codec, container, pixels)
    (shown,) = clips.frames_at(data, [0.25])
    expected = read_picture(sticker(2))
    np.testing.assert_allclose(
        np.asarray(shown, int), np.asarray(expected, int), rtol=0, atol=12
    )


@pytest.mark.skipif(
    "libvpx-vp9" not in av.codecs_available, reason="this FFmpeg has no libvpx-vp9"
)
def test_transparent_vp9_is_as_limited_as_other_videos(monkeypatch):
    data = transparent("libvpx-vp9", "webm", "yuva420p")
    for share in (0.3, 0.6, 0.9):
        with suppress(ContentError):
            list(clips.frames_at(data[: int(share * len(data))], [0.2]))
    monkeypatch.setitem(_containers._CODEC_OPTIONS, "max_pixels", "100")
    with pytest.raises(ContentError, match="is not a readable video"):
        list(clips.frames_at(data, [0.2]))


def test_an_animation_is_one_picture_as_a_video_and_as_a_picture():
    for file_format in ("PNG", "GIF"):
        buffer = io.BytesIO()
        first, *others = (sticker(i) for i in range(4))
        first.save(
            buffer, file_format, save_all=True, append_images=others, duration=100
        )
        (shown,) = clips.frames_at(buffer.getvalue(), [0.05])
        expected = read_picture(buffer.getvalue())
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(expected))


def one_after_the_other(data, first):
    """The same Matroska file, with packets of one kind in front of the others.

    Those of some seconds, as far as FFmpeg lets streams get apart.
    """
    buffer = io.BytesIO()
    with av.open(io.BytesIO(data)) as source:
        packets = [packet for packet in source.demux() if packet.size]
        with av.open(buffer, "w", format="matroska") as out:
            streams = {
                stream.index: out.add_stream_from_template(stream)
                for stream in source.streams
            }
            packets.sort(key=lambda packet: packet.stream.type != first)
            for packet in packets:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize("first", ["video", "audio"])
def test_streams_that_lie_one_after_the_other_are_both_found(first):
    """Within a limit, too, that the first stream alone exceeds."""
    whole = make_video(two_colors(0.5, 15, 0.5), late_tone(1, 15))
    data = one_after_the_other(whole, first)
    with av.open(io.BytesIO(data)) as container:
        packets = [
            (p.stream.type, p.pts * p.time_base) for p in container.demux() if p.size
        ]
    n_first = [kind == first for kind, _ in packets].index(False)
    assert packets[n_first - 1][1] > 3
    extents = clips.find_extents(data, 2)
    for span in extents:
        np.testing.assert_allclose(span, (0, 2), rtol=0, atol=0.05)
    waveform, rate = clips.read_waveform(data, Span(0, 2))
    assert rate == RATE
    assert np.flatnonzero(np.abs(waveform) > 0.1)[0] / rate == pytest.approx(
        1, abs=0.02
    )


def test_a_stream_without_times_is_told_what_it_lacks(tmp_path):
    path = tmp_path / "raw.h264"
    with av.open(path, "w", format="h264") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for value in range(0, 200, 20):
            pixels = np.full((64, 64, 3), value, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    with pytest.raises(ContentError, match="tells no times of its pictures"):
        find_extents(str(path), 10)
