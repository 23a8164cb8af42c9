"""Fonts for texts in any script."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

# Families with Chinese, Japanese and Korean, of Linux, macOS and Windows. Older
# versions of matplotlib know a file of several families by the first.
_CJK = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
    "SimHei",
)


def font_families() -> list[str]:
    """Families to draw with: matplotlib's own setting, then one for Chinese.

    Returns
    -------
    list of str
        For the ``fontfamily`` of a text. matplotlib takes each character from the first
        family that has it.
    """
    from matplotlib import rcParams
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [*rcParams["font.family"], *[f for f in _CJK if f in installed][:1]]


def drawable(text: str) -> str | None:
    """Leave out of a text what no font has.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    str or None
        The text without symbols that no font has, such as emoji; None if letters are
        among them, so that what is left would say little.
    """
    fonts = [_font(family) for family in font_families()]
    lacking = {c for c in text if not c.isspace() and not _has(fonts, c)}
    if any(c.isalnum() for c in lacking):
        return None
    return "".join(c for c in text if c not in lacking)


def _has(fonts: list[Any], character: str) -> bool:
    return any(font.get_char_index(ord(character)) for font in fonts)


@lru_cache(maxsize=64)
def _font(family: str) -> Any:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return get_font(findfont(FontProperties(family=[family])))
