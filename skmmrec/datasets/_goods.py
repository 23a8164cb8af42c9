"""Draw photos of the goods of a generated shop."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from skmmrec.datasets._files import to_png

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

# What is seen of a good: its ground, and what a pattern puts on it.
COLOURS: dict[str, tuple[Colour, Colour]] = {
    "red": ((196, 49, 45), (246, 214, 196)),
    "blue": ((38, 92, 168), (205, 226, 246)),
    "green": ((52, 122, 74), (216, 236, 196)),
    "yellow": ((240, 186, 46), (122, 78, 20)),
    "violet": ((118, 74, 152), (234, 214, 242)),
    "white": ((238, 236, 230), (84, 88, 96)),
}
_TRIM: Colour = (62, 54, 50)
_STUDIO: Colour = (244, 244, 242)
_TABLES: tuple[Colour, ...] = ((176, 132, 88), (120, 104, 92), (150, 160, 150))


class Look(NamedTuple):
    """What a photo shows.

    Attributes
    ----------
    kind, colour, pattern : str
        Keys of `KINDS` and `COLOURS`, and one of `PATTERNS`.
    """

    kind: str
    colour: str
    pattern: str


def photograph(
    look: Look, rng: np.random.Generator, size: int, *, is_snapshot: bool = False
) -> bytes:
    """Draw the photo of one good.

    Chance decides what no taste depends on: place, size, tilt and shade. A snapshot was
    taken by a customer, tilted, on a table and in some light, rather than by the shop.
    Returns a PNG file (RGB) of `size` pixels a side.
    """
    side = 2 * size  # drawn large for smooth edges
    good = _draw_good(look, side, rng)
    good = good.rotate(
        rng.uniform(-1, 1) * (14 if is_snapshot else 3), Image.Resampling.BILINEAR
    )
    scene = _table(side, rng) if is_snapshot else Image.new("RGB", (side,) * 2, _STUDIO)
    shift = tuple((side * rng.uniform(-0.05, 0.05, 2)).astype(int))
    _put(scene, good, shift)
    if is_snapshot:
        scene = ImageEnhance.Brightness(scene).enhance(rng.uniform(0.75, 1.1))
    return to_png(scene.reduce(2))


def _draw_good(look: Look, side: int, rng: np.random.Generator) -> Image.Image:
    """Draw a good on a transparent ground."""
    pen = _Pen(side, rng.uniform(0.8, 0.95))
    KINDS[look.kind](pen)
    cloth = _cloth(look, side, rng)
    good = Image.composite(
        cloth.convert("RGBA"), Image.new("RGBA", cloth.size), pen.body
    )
    good.alpha_composite(pen.trim)
    return good


class _Pen:
    """Draws in units of the side: the body, which has the cloth, and its trim."""

    def __init__(self, side: int, scale: float) -> None:
        self.side, self.scale = side, scale
        self.body = Image.new("L", (side, side))
        self.trim = Image.new("RGBA", (side, side))
        self._body, self._trim = ImageDraw.Draw(self.body), ImageDraw.Draw(self.trim)

    def at(self, *units: float) -> list[float]:
        return [self.side * (0.5 + self.scale * (unit - 0.5)) for unit in units]

    def block(self, box: Box, radius: float) -> None:
        self._body.rounded_rectangle(self.at(*box), self._long(radius), fill=255)

    def shape(self, *corners: float) -> None:
        self._body.polygon(self.at(*corners), fill=255)

    def ring(self, box: Box, width: float) -> None:
        self._body.ellipse(self.at(*box), outline=255, width=self._long(width))

    def half_disc(self, box: Box) -> None:
        self._body.chord(self.at(*box), 0, 180, fill=255)

    def line(self, *points: float, width: float = 0.012) -> None:
        self._trim.line(self.at(*points), fill=_TRIM, width=self._long(width))

    def bar(self, box: Box, radius: float = 0.02) -> None:
        self._trim.rounded_rectangle(self.at(*box), self._long(radius), fill=_TRIM)

    def disc(self, box: Box) -> None:
        self._trim.ellipse(self.at(*box), fill=_TRIM)

    def frame(self, box: Box, radius: float) -> None:
        self._trim.rounded_rectangle(
            self.at(*box), self._long(radius), outline=_TRIM, width=self._long(0.012)
        )

    def _long(self, unit: float) -> int:
        return max(1, round(self.side * self.scale * unit))


def _mug(pen: _Pen) -> None:
    pen.ring((0.56, 0.36, 0.88, 0.70), 0.065)
    pen.block((0.20, 0.24, 0.68, 0.84), 0.07)
    pen.disc((0.23, 0.23, 0.65, 0.33))


def _bottle(pen: _Pen) -> None:
    pen.block((0.34, 0.34, 0.66, 0.94), 0.08)
    pen.shape(0.36, 0.40, 0.45, 0.22, 0.55, 0.22, 0.64, 0.40)
    pen.bar((0.43, 0.08, 0.57, 0.22))


def _lamp(pen: _Pen) -> None:
    pen.shape(0.34, 0.10, 0.66, 0.10, 0.84, 0.54, 0.16, 0.54)
    pen.line(0.5, 0.54, 0.5, 0.86, width=0.035)
    pen.disc((0.32, 0.82, 0.68, 0.92))


def _cushion(pen: _Pen) -> None:
    pen.shape(0.08, 0.10, 0.50, 0.17, 0.92, 0.10, 0.85, 0.50)
    pen.shape(0.92, 0.10, 0.85, 0.50, 0.92, 0.90, 0.50, 0.83)
    pen.shape(0.92, 0.90, 0.50, 0.83, 0.08, 0.90, 0.15, 0.50)
    pen.shape(0.08, 0.90, 0.15, 0.50, 0.08, 0.10, 0.50, 0.17)
    pen.shape(0.50, 0.17, 0.85, 0.50, 0.50, 0.83, 0.15, 0.50)
    pen.disc((0.48, 0.48, 0.52, 0.52))


def _shirt(pen: _Pen) -> None:
    left = [0.50, 0.25, 0.41, 0.15, 0.31, 0.15, 0.06, 0.36, 0.18, 0.50, 0.28, 0.42]
    right = [0.72, 0.42, 0.82, 0.50, 0.94, 0.36, 0.69, 0.15, 0.59, 0.15]
    pen.shape(*left, 0.28, 0.90, 0.72, 0.90, *right)
    pen.line(0.41, 0.15, 0.50, 0.25, 0.59, 0.15, width=0.02)


def _backpack(pen: _Pen) -> None:
    pen.frame((0.40, 0.06, 0.60, 0.30), 0.08)
    pen.block((0.20, 0.16, 0.80, 0.92), 0.18)
    pen.frame((0.30, 0.54, 0.70, 0.82), 0.05)
    pen.line(0.24, 0.40, 0.76, 0.40, width=0.018)


def _bowl(pen: _Pen) -> None:
    pen.half_disc((0.08, -0.06, 0.92, 0.84))
    pen.disc((0.08, 0.33, 0.92, 0.46))
    pen.bar((0.38, 0.81, 0.62, 0.88))


def _notebook(pen: _Pen) -> None:
    pen.block((0.22, 0.08, 0.80, 0.92), 0.03)
    pen.bar((0.22, 0.08, 0.31, 0.92))
    pen.line(0.71, 0.08, 0.71, 0.92, width=0.02)


KINDS: dict[str, Callable[[_Pen], None]] = {
    "mug": _mug,
    "bottle": _bottle,
    "lamp": _lamp,
    "cushion": _cushion,
    "T-shirt": _shirt,
    "backpack": _backpack,
    "bowl": _bowl,
    "notebook": _notebook,
}


def _cloth(look: Look, side: int, rng: np.random.Generator) -> Image.Image:
    """Draw ground and pattern over the whole side, lit from the left."""
    ground, mark = (_shifted(colour, rng) for colour in COLOURS[look.colour])
    place = np.arange(side, dtype=np.float32) / (side * rng.uniform(0.10, 0.14)) % 1
    x, y = place[None, :], place[:, None]
    marked = _PATTERNS[look.pattern](x, y)[..., None]
    light = np.linspace(1.06, 0.78, side, dtype=np.float32)[:, None]
    pixels = np.where(marked, mark * light, ground * light)
    full = np.broadcast_to(np.minimum(pixels, 255), (side, side, 3))
    return Image.fromarray(full.astype(np.uint8))


# Which points of a pattern are marked, by their place between two repeats, from 0 to 1.
_PATTERNS: dict[str, Callable[[NDArray, NDArray], NDArray[np.bool_]]] = {
    "plain": lambda x, y: (x < 0) & (y < 0),
    "stripes": lambda x, _y: x < 0.4,
    "dots": lambda x, y: np.hypot(x - 0.5, y - 0.5) < 0.28,
    "checks": lambda x, y: (x < 0.5) ^ (y < 0.5),
}
PATTERNS = tuple(_PATTERNS)


def _table(side: int, rng: np.random.Generator) -> Image.Image:
    """Draw the planks of a table."""
    wood = np.array(_TABLES[int(rng.integers(len(_TABLES)))])
    planks = rng.normal(1, 0.07, 9)[np.arange(side) * 9 // side]
    grain = rng.normal(0, 4, (side, 1))
    pixels = planks[:, None, None] * wood + grain[..., None] + np.zeros((1, side, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _put(scene: Image.Image, good: Image.Image, shift: tuple[int, ...]) -> None:
    """Put a good with its shadow into a scene."""
    below = scene.width // 40
    alpha = good.getchannel("A").filter(ImageFilter.GaussianBlur(below))
    shadow = alpha.point([value // 3 for value in range(256)])
    scene.paste((20, 18, 16), (shift[0] + below, shift[1] + below), shadow)
    scene.paste(good, (shift[0], shift[1]), good)


def _shifted(colour: Colour, rng: np.random.Generator) -> NDArray[np.float32]:
    shifted: NDArray[np.float32] = np.clip(
        np.array(colour, np.float32) + rng.integers(-10, 11, 3), 0, 255
    )
    return shifted
