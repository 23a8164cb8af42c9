"""Characters that are part of the letter before them: vowels, accents."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

# The basic plane. Beyond it are marks of old scripts and few others; with them, Python
# takes ten times as long for a class of characters.
_N_CODES = 0x10000


def is_mark(letter: str) -> bool:
    """Tell whether a character is part of the letter before it.

    Vowels of Hindi, Tamil or Thai are, and accents that are not composed.
    """
    return unicodedata.category(letter).startswith("M")


def has_marks(text: str) -> bool:
    """Tell whether a text has marks, which Python takes for the end of a word."""
    return not text.isascii() and _any_mark().search(text) is not None


@cache
def marks() -> str:
    """Return all marks, as the inside of a class of characters."""
    codes = [code for code in range(_N_CODES) if is_mark(chr(code))]
    gaps = [n for n, (a, b) in enumerate(pairwise(codes), 1) if b != a + 1]
    starts, ends = [0, *gaps], [*gaps, len(codes)]
    return "".join(
        f"{chr(codes[start])}-{chr(codes[end - 1])}"
        for start, end in zip(starts, ends, strict=True)
    )


@cache
def _any_mark() -> re.Pattern[str]:
    return re.compile(f"[{marks()}]")
