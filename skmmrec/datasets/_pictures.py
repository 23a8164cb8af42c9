"""Draw the pictures of generated items."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw

from skmmrec.datasets._files import to_png

Colour = tuple[int, int, int]

# Top and bottom of the background, then three colours for motifs, light to dark.
PALETTES: dict[str, tuple[str, str, str, str, str]] = {
    "ember": ("#ffd08a", "#f2603c", "#ffb347", "#c9283e", "#5c1a33"),
    "ocean": ("#d8f3f5", "#5fb4d9", "#7fd6d2", "#1f78b4", "#0b3558"),
    "meadow": ("#f4f7c5", "#8ccf7e", "#c7e06b", "#3c9d5b", "#14532d"),
    "dusk": ("#f8c8dc", "#8e6fc1", "#e58fc0", "#6a3fa0", "#2b1a52"),
    "paper": ("#f7efe2", "#e0c9a6", "#d3b083", "#a5794a", "#4e3826"),
    "neon": ("#0d0d1a", "#1d1440", "#22e3d5", "#ff3ea5", "#f9f871"),
}


def draw_picture(
    attributes: Mapping[str, str], rng: np.random.Generator, size: int
) -> bytes:
    """Draw the picture of one item.

    `attributes` has a value for each name in `ATTRIBUTES`; chance decides what no taste
    depends on: positions, sizes, small shifts of colour. Returns a PNG file (RGB) of
    `size` pixels a side.
    """
    palette = [_shifted(c, rng) for c in PALETTES[attributes["palette"]]]
    canvas = _Canvas(2 * size, palette, rng)
    MOTIFS[attributes["motif"]](canvas)
    TEXTURES[attributes["texture"]](canvas)
    return to_png(canvas.image.reduce(2))


class _Canvas:
    """A picture in progress, drawn at twice its size for smooth edges."""

    def __init__(
        self, side: int, palette: list[Colour], rng: np.random.Generator
    ) -> None:
        self.side = side
        self.ink = palette[2:]
        self.rng = rng
        self.image = _gradient(side, palette[0], palette[1])
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def between(self, low: float, high: float) -> float:
        """Draw a length between two shares of the side, in pixels."""
        return self.side * self.rng.uniform(low, high)

    def disc(self, x: float, y: float, r: float, colour: Colour, alpha: int) -> None:
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=(*colour, alpha))


def _hills(canvas: _Canvas) -> None:
    side, rng = canvas.side, canvas.rng
    canvas.disc(
        canvas.between(0.25, 0.75),
        canvas.between(0.18, 0.35),
        canvas.between(0.09, 0.15),
        canvas.ink[0],
        235,
    )
    x = np.linspace(0, side, 41)
    for depth, colour in enumerate(_blend(canvas.ink, 4)):
        level = side * (0.48 + 0.13 * depth)
        phase, waves = rng.uniform(0, 2 * np.pi, 2), rng.uniform(1.2, 3.0, 2)
        ridge = level - side * 0.07 * (
            np.sin(waves[0] * 2 * np.pi * x / side + phase[0])
            + 0.5 * np.sin(2.3 * waves[1] * 2 * np.pi * x / side + phase[1])
        )
        outline = [(0.0, side), *zip(x, ridge, strict=True), (side, side)]
        canvas.draw.polygon(outline, fill=colour)


def _bubbles(canvas: _Canvas) -> None:
    for n in range(16):
        x, y = canvas.rng.uniform(0.0, canvas.side, 2)
        radius = canvas.between(0.05, 0.2)
        canvas.disc(x, y, radius, canvas.ink[n % 3], 150)
        canvas.disc(x - radius / 3, y - radius / 3, radius / 4, (255, 255, 255), 110)


def _waves(canvas: _Canvas) -> None:
    side, rng = canvas.side, canvas.rng
    x = np.linspace(0, side, 81)
    length, slope = rng.uniform(1.5, 3.0), rng.uniform(-0.3, 0.3)
    for band in range(7):
        swing = np.sin(length * 2 * np.pi * x / side + 0.7 * band)
        top = side * (0.08 + 0.14 * band) + 0.05 * side * swing + slope * (x - side / 2)
        ribbon = [
            *zip(x, top, strict=True),
            *zip(x[::-1], top[::-1] + 0.075 * side, strict=True),
        ]
        canvas.draw.polygon(ribbon, fill=(*canvas.ink[band % 3], 225))


def _shards(canvas: _Canvas) -> None:
    cells = 5
    grid = np.stack(np.meshgrid(range(cells + 1), range(cells + 1)), -1) / cells
    inner = slice(1, cells)
    grid[inner, inner] += canvas.rng.uniform(-0.08, 0.08, (cells - 1, cells - 1, 2))
    points = grid * canvas.side
    for row, column in np.ndindex(cells, cells):
        a, b = points[row, column], points[row, column + 1]
        c, d = points[row + 1, column], points[row + 1, column + 1]
        for corners in ((a, b, c), (b, d, c)):
            colour = canvas.ink[canvas.rng.integers(3)]
            alpha = int(canvas.rng.integers(60, 240))
            canvas.draw.polygon([tuple(p) for p in corners], fill=(*colour, alpha))


def _rings(canvas: _Canvas) -> None:
    x, y = canvas.between(0.35, 0.65), canvas.between(0.35, 0.65)
    widest, rings = canvas.between(0.42, 0.6), int(canvas.rng.integers(6, 9))
    for ring in range(rings):
        canvas.disc(x, y, widest * (1 - ring / rings), canvas.ink[ring % 3], 235)


def _skyline(canvas: _Canvas) -> None:
    side, rng = canvas.side, canvas.rng
    left = -canvas.between(0.0, 0.05)
    while left < side:
        width, height = canvas.between(0.1, 0.2), canvas.between(0.3, 0.8)
        wall, light = (2, 0) if rng.random() < 0.5 else (1, 2)
        box = (left, side - height, left + width - 0.012 * side, side)
        canvas.draw.rectangle(box, fill=canvas.ink[wall])
        _windows(canvas, box, canvas.ink[light])
        left += width


def _windows(
    canvas: _Canvas, box: tuple[float, float, float, float], light: Colour
) -> None:
    left, top, right, bottom = box
    step = 0.05 * canvas.side
    for y in np.arange(top + step / 2, bottom - step / 2, step):
        for x in np.arange(left + step / 2, right - step / 2, step):
            if canvas.rng.random() < 0.6:
                canvas.draw.rectangle(
                    (x, y, x + step / 2.4, y + step / 2.4), fill=light
                )


def _plain(canvas: _Canvas) -> None:
    """Leave the picture as it is."""


def _dotted(canvas: _Canvas) -> None:
    step = canvas.side / 16
    centres = np.arange(step / 2, canvas.side, step)
    for row, y in enumerate(centres):
        for x in centres + (row % 2) * step / 2:
            canvas.disc(x, y, step / 5, (255, 255, 255), 130)


def _hatched(canvas: _Canvas) -> None:
    step, width = canvas.side / 16, max(2, canvas.side // 64)
    for x in np.arange(-canvas.side, canvas.side, step):
        line = (x, canvas.side, x + canvas.side, 0)
        canvas.draw.line(line, fill=(0, 0, 0, 90), width=width)


def _gradient(side: int, top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0, 1, side)[:, None]
    column = np.rint((1 - share) * np.array(top) + share * np.array(bottom))
    return Image.fromarray(np.repeat(column[:, None], side, axis=1).astype(np.uint8))


def _blend(colours: list[Colour], n: int) -> list[Colour]:
    """Interpolate `n` colours between `colours`."""
    at = np.linspace(0, len(colours) - 1, n)
    mixed = [np.interp(at, range(len(colours)), c) for c in zip(*colours, strict=True)]
    return [(int(r), int(g), int(b)) for r, g, b in zip(*mixed, strict=True)]


def _shifted(colour: str, rng: np.random.Generator) -> Colour:
    channels = np.frombuffer(bytes.fromhex(colour[1:]), dtype=np.uint8)
    r, g, b = np.clip(channels + rng.integers(-12, 13, 3), 0, 255)
    return int(r), int(g), int(b)


MOTIFS: dict[str, Callable[[_Canvas], None]] = {
    "hills": _hills,
    "bubbles": _bubbles,
    "waves": _waves,
    "shards": _shards,
    "rings": _rings,
    "skyline": _skyline,
}
TEXTURES: dict[str, Callable[[_Canvas], None]] = {
    "plain": _plain,
    "dotted": _dotted,
    "hatched": _hatched,
}
ATTRIBUTES = {
    "palette": tuple(PALETTES),
    "motif": tuple(MOTIFS),
    "texture": tuple(TEXTURES),
}
