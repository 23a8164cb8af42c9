"""Fonts for texts in any script: what matplotlib's own lacks is looked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Shown for a character that no font has.
_BOX = "\u25a1"
# Fonts of many scripts, in the order in which they are asked; then come all others.
_LIKED = ("noto sans", "cjk", "arial unicode", "dejavu", "droid sans", "sans")
# Matplotlib's own last resort has a box for everything; emoji are pictures, which it
# cannot draw as letters.
_USELESS = ("last resort", "lastresort", "emoji")


def families_for(text: str) -> list[str]:
    """Name the font families that a text needs, matplotlib's own first.

    They are for ``family=`` of matplotlib's texts.
    """
    from matplotlib import rcParams

    found = (_family_of(letter) for letter in set(text) if not letter.isspace())
    return [*rcParams["font.family"], *sorted({name for name in found if name})]


def drawable(text: str, otherwise: str | None = None) -> str:
    """Replace the characters that no font has by a box.

    A text of which most characters would be boxes is replaced by `otherwise`.
    """
    letters = [" " if _is_control(letter) else letter for letter in text]
    shown = ["" if _family_of(v) is None else v for v in letters]
    n_letters = sum(not letter.isspace() for letter in letters)
    n_lacking = sum(not letter for letter in shown)
    if otherwise is not None and n_lacking > n_letters / 2:
        return drawable(otherwise)
    return "".join(letter or _BOX for letter in shown)


def as_label(text: str) -> str:
    """Return a text from data as a label that can be drawn.

    Between two dollars matplotlib would read mathematics, and drop them or fail.
    """
    return drawable(text).replace("$", r"\$")


def _is_control(letter: str) -> bool:
    return not letter.isprintable() and not letter.isspace()


@lru_cache(maxsize=8192)
def _family_of(letter: str) -> str | None:
    """Find a family with a character; "" is matplotlib's own, None: there is none."""
    from matplotlib.font_manager import FontProperties, findfont

    code = ord(letter)
    if letter.isspace() or _has(findfont(FontProperties()), code):
        return ""
    return next((_added(path) for path in _others() if _has(path, code)), None)


@lru_cache(maxsize=1)
def _others() -> list[str]:
    """List the files of all other fonts, the better ones first."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {font.fname: font.name for font in fontManager.ttflist}
    files = {*known, *findSystemFonts()}
    return sorted(files, key=lambda path: _rank(f"{path} {known.get(path, '')}"))


def _rank(name: str) -> tuple[int, bool, str]:
    name = name.lower().replace("notosans", "noto sans")
    liked = next((n for n, part in enumerate(_LIKED) if part in name), len(_LIKED))
    is_plain = any(part in name for part in ("regular", "book", "medium"))
    return liked, not is_plain, name


def _has(path: str, code: int) -> bool:
    codes = _codes(path)
    place = int(np.searchsorted(codes, code))
    return place < len(codes) and codes[place] == code


@lru_cache(maxsize=1024)
def _codes(path: str) -> NDArray[np.int64]:
    """Sorted code points of a font; none of one that cannot be used."""
    if any(word in path.lower() for word in _USELESS):
        return np.empty(0, np.int64)
    try:
        return np.sort(np.fromiter(_font(path).get_charmap(), np.int64))
    except (OSError, RuntimeError, ValueError):  # no scalable font, or a damaged one
        return np.empty(0, np.int64)


def _font(path: str) -> Any:
    from matplotlib.ft2font import FT2Font

    return FT2Font(path)


def _added(path: str) -> str:
    """Make a font known to matplotlib, whose list may be older than the font."""
    from matplotlib.font_manager import fontManager

    names = list(_names(path))
    if not names:
        fontManager.addfont(path)
        names = list(_names(path))
    return names[0]


def _names(path: str) -> Iterator[str]:
    from matplotlib.font_manager import fontManager

    for font in fontManager.ttflist:
        if font.fname == path:
            yield font.name
