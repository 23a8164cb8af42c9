"""Draw moving pictures, and write them with a sound into video files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from skmmrec.datasets import _pictures

Path = Callable[[float], tuple[float, float]]

FPS = 10
# Width and height: upright, as shorts are on a phone. Codecs want multiples of 16.
SIZE = (144, 256)
# Samples per frame of AAC.
_BLOCK = 1024
_CARD = (44, 47, 56)


def _polygon(radii: Sequence[float]) -> list[tuple[float, float]]:
    """Return corners at equal angles, the first one on top, in a box from -1 to 1."""
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii) - np.pi / 2
    return [
        (float(r * np.cos(a)), float(r * np.sin(a)))
        for r, a in zip(radii, angles, strict=True)
    ]


_OUTLINES = {
    "ball": _polygon([0.9] * 40),
    "star": _polygon([1.0, 0.42] * 5),
    "kite": [(0.0, -1.0), (0.62, -0.25), (0.0, 1.0), (-0.62, -0.25)],
    "cross": [
        (-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3),
        (0.3, 1), (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3),
    ],
}  # fmt: skip
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "palette": _pictures.ATTRIBUTES["palette"],
    "motif": _pictures.ATTRIBUTES["motif"],
    "shape": tuple(_OUTLINES),
}


def draw_film(
    attributes: Mapping[str, str], rng: np.random.Generator, n_frames: int, n_card: int
) -> list[Image.Image]:
    """Draw a shape that moves in front of a landscape, after a plain card.

    `attributes` has a value for each name in `ATTRIBUTES`; chance decides what no taste
    depends on: path, size, and how the camera moves. Of `n_frames` pictures (RGB, of
    `SIZE`), the first `n_card` show the card alone.
    """
    width, height = SIZE
    backdrop = _backdrop({**attributes, "texture": "plain"}, rng)
    sprite = _sprite(attributes["shape"], round(width * rng.uniform(0.42, 0.56)))
    path, turns = _path(rng), rng.uniform(-1.0, 1.0)
    from_left = rng.random() < 0.5
    frames = []
    for share in np.linspace(0, 1, n_frames - n_card):
        pan = share if from_left else 1 - share
        left = round(pan * (backdrop.width - width))
        frame = backdrop.crop((left, 0, left + width, height))
        turned = sprite.rotate(360 * turns * share, Image.Resampling.BILINEAR)
        x, y = path(share)
        corner = (round(x * width - turned.width / 2), round(y * height))
        frame.paste(turned, corner, turned)
        frames.append(frame)
    return [draw_card()] * n_card + frames


def draw_card() -> Image.Image:
    """Draw a card that tells nothing: a triangle, as players show, on dark grey."""
    width, height = SIZE
    card = Image.new("RGB", SIZE, _CARD)
    x, y, size = width / 2, height / 2, width / 8
    corners = [(x - size, y - size), (x - size, y + size), (x + size, y)]
    ImageDraw.Draw(card).polygon(corners, fill=(150, 154, 163))
    return card


def _backdrop(attributes: Mapping[str, str], rng: np.random.Generator) -> Image.Image:
    picture = _pictures.draw_picture(attributes, rng, SIZE[1])
    return Image.open(io.BytesIO(picture)).convert("RGB")


def _sprite(shape: str, side: int) -> Image.Image:
    """Draw a white shape with a dark rim, in a box that holds it at any angle."""
    side *= 4  # reduced afterwards, for smooth edges
    sprite = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(sprite)
    for scale, colour in ((0.49, (35, 38, 46)), (0.43, (250, 250, 245))):
        corners = [
            (side / 2 + scale * side * x, side / 2 + scale * side * y)
            for x, y in _OUTLINES[shape]
        ]
        draw.polygon(corners, fill=(*colour, 255))
    return sprite.reduce(4)


def _path(rng: np.random.Generator) -> Path:
    """Choose a path; a place is the shape's middle and top, as shares of the frame."""
    phase, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.6)
    start, end = rng.uniform(0.25, 0.75, 2)

    def drift(share: float) -> tuple[float, float]:
        return start + (end - start) * share, 0.1 + 0.5 * share

    def bounce(share: float) -> tuple[float, float]:
        high = abs(np.sin(phase + 2 * np.pi * speed * share))
        return start + (end - start) * share, 0.6 - 0.45 * high

    def orbit(share: float) -> tuple[float, float]:
        angle = phase + 2 * np.pi * speed * share
        return 0.5 + 0.25 * np.cos(angle), 0.36 + 0.22 * np.sin(angle)

    return (drift, bounce, orbit)[int(rng.integers(3))]


def write_video(
    frames: Sequence[Image.Image] | None, sound: NDArray | None, rate: int
) -> bytes:
    """Write an MP4 file.

    `frames` are `FPS` pictures per second, and `sound` is n numbers between -1 and 1,
    at `rate` samples per second; one of them may be None. The file has H.264, or MPEG-4
    where PyAV comes without its encoder, and AAC. An ImportError says that PyAV is not
    installed.
    """
    av = _import_av()
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        packets: list[Any] = []  # nothing is written before all streams are there
        if frames is not None:
            pictures = map(av.VideoFrame.from_image, frames)
            packets += _encoded(_picture_stream(out), pictures)
        if sound is not None:
            samples = out.add_stream("aac", rate, layout="mono")
            packets += _encoded(samples, _blocks(sound, rate))
        for packet in packets:
            out.mux(packet)
    return buffer.getvalue()


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "Videos are written by PyAV: pip install 'skmmrec[video]'"
        ) from error
    return av


def _picture_stream(out: Any) -> Any:
    import av

    # Browsers play H.264. With one thread, and without looking ahead as the slower
    # presets do, x264 writes the same bytes in every run.
    has_h264 = "libx264" in av.codecs_available
    stream = out.add_stream(
        "libx264" if has_h264 else "mpeg4",
        rate=FPS,
        options={"preset": "ultrafast", "threads": "1"} if has_h264 else {},
    )
    stream.width, stream.height = SIZE
    stream.pix_fmt = "yuv420p"
    return stream


def _encoded(stream: Any, frames: Iterator[Any]) -> list[Any]:
    packets = [packet for frame in frames for packet in stream.encode(frame)]
    return packets + stream.encode(None)


def _blocks(sound: Any, rate: int) -> Iterator[Any]:
    import av

    samples = np.rint(np.clip(sound, -1, 1) * 32767).astype(np.int16)
    edges = [*range(0, len(samples), _BLOCK), len(samples)]
    for start, end in pairwise(edges):
        frame = av.AudioFrame.from_ndarray(samples[None, start:end], "s16", "mono")
        frame.sample_rate, frame.pts = rate, start
        yield frame
