"""Words in texts of any script."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise

from skmmrec.runtime import has_marks, marks

# Scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana, Han.
_UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")


def find_words(text: str, n_least: int, suffix: str = "") -> list[str]:
    """Find words with so many letters; marks are part of their letter.

    Python's own classes take many marks for the end of a word. `suffix` is a pattern of
    what else belongs to a word.

    Examples
    --------
    >>> from skmmrec.llm._letters import find_words
    >>> find_words("War and 12 हिन्दी, by us", 3)
    ['War', 'and', 'हिन्दी']
    """
    return _word(n_least, suffix, has_marks(text)).findall(text)


def share_words(text: str, other: str, n_least: int) -> bool | None:
    """Tell whether two texts share a word; None if the other has none.

    Where a script has no spaces, two characters in a row are as good as a word.

    Examples
    --------
    >>> from skmmrec.llm._letters import share_words
    >>> share_words("A film of war", "War!", 2), share_words("戦争映画", "この戦争", 2)
    (True, True)
    >>> share_words("A film", "Peace", 2), share_words("A film", "12", 2)
    (False, None)
    """
    text, other = text.lower(), other.lower()
    spaced = {*_spaced_words(other, n_least)}
    runs = {*_pairs(_UNSPACED_RUN.findall(other))}
    if not spaced and not runs:
        return None
    return any(run in text for run in runs) or bool(
        spaced & {*_spaced_words(text, n_least)}
    )


def _spaced_words(text: str, n_least: int) -> list[str]:
    return find_words(_UNSPACED_RUN.sub(" ", text), n_least)


def _pairs(runs: Iterable[str]) -> Iterable[str]:
    for run in runs:
        yield from ("".join(pair) for pair in pairwise(run)) if run[1:] else [run]


@cache
def _word(n_least: int, suffix: str, with_marks: bool) -> re.Pattern[str]:
    """Return the pattern of a word; the one without marks is seven times as fast."""
    letter = rf"(?:[^\W\d_][{marks()}]*)" if with_marks else r"[^\W\d_]"
    return re.compile(f"{letter}{{{n_least},}}{suffix}")
