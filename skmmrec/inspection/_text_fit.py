"""Fit text into a box."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from skmmrec.inspection._fonts import families_for

_ELLIPSIS = "…"
# What stays in one line: a word, or a Chinese or Japanese character with the brackets
# before it and the punctuation after it. Korean has words.
_WIDE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_OPENING = "\u300a\u3008\u300c\u300e\u3010\u201c\u2018\uff08"
_CLOSING = (
    "\u3001\u3002\u300b\u3009\u300d\u300f\u3011\u201d\u2019\u2026"
    "\uff01\uff09\uff0c\uff1a\uff1b\uff1f"
)
# What an ellipsis does not stand behind.
_TAIL = f" ,;:-{_CLOSING}"
_PIECE = re.compile(rf"\s*(?:[{_OPENING}]*[{_WIDE}][{_CLOSING}]*|[^\s{_WIDE}]+)")


def fit_text(text: str, size: float, width: float, n_lines: int) -> list[str]:
    """Break a text into lines, and mark by an ellipsis what does not fit.

    `size`, that of the font, and `width`, that of the box, are in points. Returns at
    most `n_lines`, each no wider than the box in the fonts that it needs.
    """
    lines: list[str] = []
    pieces = _PIECE.findall(" ".join(text.split()))
    while pieces and len(lines) < n_lines:
        taken = _pieces_that_fit(pieces, size, width)
        if taken < len(pieces) and len(lines) == n_lines - 1:
            return [*lines, _shorten(_line(pieces), size, width)]
        if taken == 0:
            return [*lines, _shorten(_line(pieces[:1]), size, width)]
        lines.append(_line(pieces[:taken]))
        pieces = pieces[taken:]
    return lines


def _line(pieces: list[str]) -> str:
    return "".join(pieces).strip()


def _pieces_that_fit(pieces: list[str], size: float, width: float) -> int:
    taken = 0
    while taken < len(pieces) and text_width(_line(pieces[: taken + 1]), size) <= width:
        taken += 1
    return taken


def _shorten(text: str, size: float, width: float) -> str:
    while text and text_width(text.rstrip(_TAIL) + _ELLIPSIS, size) > width:
        text = text[:-1]
    return text.rstrip(_TAIL) + _ELLIPSIS


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Measure a line in the fonts that it needs.

    Font size and width are in points.
    """
    path, properties = _font(*families_for(text))
    width, _, _ = path.get_text_width_height_descent(text, properties, ismath=False)
    return width * size / properties.get_size_in_points()


@lru_cache(maxsize=64)
def _font(*families: str) -> tuple[Any, Any]:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path, FontProperties(family=list(families))
