"""Fit text into a box."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

from skmmrec.inspection._fonts import families_for

_ELLIPSIS = "…"


def fit_text(text: str, size: float, width: float, n_lines: int) -> list[str]:
    """Break a text into lines, and mark by an ellipsis what does not fit.

    Parameters
    ----------
    text : str
        The text.
    size : float
        Font size in points.
    width : float
        Width of the box in points.
    n_lines : int
        The most lines.

    Returns
    -------
    list of str
        At most `n_lines`, each no wider than `width` in the fonts that it needs.
    """
    lines: list[str] = []
    words = _breakable(text)
    while words and len(lines) < n_lines:
        taken = _words_that_fit(words, size, width)
        if taken < len(words) and len(lines) == n_lines - 1:
            return [*lines, _shorten("".join(words).strip(), size, width)]
        if taken == 0:
            return [*lines, _shorten(words[0], size, width)]
        lines.append("".join(words[:taken]).strip())
        words = words[taken:]
    return lines


def _breakable(text: str) -> list[str]:
    """Cut a text where a line may end: after words, and in scripts without spaces.

    The parts put together are the text, with single spaces.
    """
    parts = []
    for word in text.split():
        is_cut = any(_ends_anywhere(letter) for letter in word)
        parts += list(word) if is_cut else [word]
        parts[-1] += " "
    return parts


def _ends_anywhere(letter: str) -> bool:
    """Tell whether a line may end beside a letter: Chinese, Japanese and Korean.

    East Asian Width, Unicode Standard Annex 11, is W or F for them.
    """
    return unicodedata.east_asian_width(letter) in "WF"


def _words_that_fit(words: list[str], size: float, width: float) -> int:
    taken = 0
    while (
        taken < len(words)
        and text_width("".join(words[: taken + 1]).strip(), size) <= width
    ):
        taken += 1
    return taken


def _shorten(text: str, size: float, width: float) -> str:
    while text and text_width(text.rstrip(" ,;:-") + _ELLIPSIS, size) > width:
        text = text[:-1]
    return text.rstrip(" ,;:-") + _ELLIPSIS


@lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """Measure a line in the fonts that it needs.

    Parameters
    ----------
    text : str
        One line.
    size : float
        Font size in points.

    Returns
    -------
    float
        Width in points.
    """
    path, properties = _font(*families_for(text))
    width, _, _ = path.get_text_width_height_descent(text, properties, ismath=False)
    return width * size / properties.get_size_in_points()


@lru_cache(maxsize=64)
def _font(*families: str) -> tuple[Any, Any]:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path, FontProperties(family=list(families))
