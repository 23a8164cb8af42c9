"""References of HTML to characters by their numbers, of any length."""

from __future__ import annotations

import re

_ZEROS = re.compile(r"&#0+(?=[0-9])")
# No character has a number of eight digits.
_LONG = re.compile(r"&#[1-9][0-9]{7,}")
# The first number that no character can have.
_NO_CHARACTER = f"&#{0x110000}"


def short_references(text: str) -> str:
    """Write references to characters by few digits, which mean the same.

    Python turns no number of more than 4,300 decimal digits into an int, so that
    `html.unescape` and `html.parser` raise an error where a text has such a reference.

    Examples
    --------
    >>> from html import unescape
    >>> from skmmrec.runtime import short_references
    >>> unescape(short_references("&#" + 5000 * "0" + "65;"))
    'A'
    """
    return _LONG.sub(_NO_CHARACTER, _ZEROS.sub("&#", text))
