"""Read what a model wrote: a text that can be used, or nothing."""

from __future__ import annotations

import json
import re
from collections import Counter

from skmmrec.llm._safety import tidy, whole_sentences

_WORD = re.compile(r"[^\W\d_]{2,}")
_FENCED = re.compile(r"^\s*```\w*\s*|\s*```\s*$")
_LETTERS = 0.6
"""Share of letters, digits and spaces below which a text is garbage."""
_REPEATED = 0.34
"""Share of the words that one word may make up in a text of ten words or more."""
_DISTINCT = 0.3
"""Share of distinct words below which a text goes round in circles."""


def read_text(answer: str, max_length: int, key: str, facts: str = "") -> str | None:
    """Return the text that a model was asked for, or None if it gave none.

    Parameters
    ----------
    answer : str
        What the model wrote: plain text, or JSON with the text under `key`.
    max_length : int
        Characters at most; a longer text ends with its last whole sentence that fits.
    key : str
        The name of the text, if it comes in JSON.
    facts : str, default=""
        What the text is to be about. If there are words in it, a text that shares none
        of them is about something else.

    Returns
    -------
    str or None
        Plain text in one line, without a last sentence that breaks off after others.
        None for broken JSON, JSON without `key`, nothing,
        endless text without a sentence's end, repetition, and what is hardly letters.

    Examples
    --------
    >>> from skmmrec.llm._reading import read_text
    >>> read_text('{"text": "A film about <b>war</b>."}', 80, "text")
    'A film about war.'
    >>> read_text('{"text": "A film ab', 80, "text") is None
    True
    """
    stripped = _FENCED.sub("", answer.strip())
    said = _from_json(stripped, key) if stripped[:1] in ("{", "[") else stripped
    text = tidy(said or "", max_length)
    text = whole_sentences(text) or text
    return text if _is_language(text) and _is_about(text, facts) else None


def _from_json(answer: str, key: str) -> str | None:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    said = found.get(key) if isinstance(found, dict) else None
    return said if isinstance(said, str) else None


def _is_language(text: str) -> bool:
    usual = sum(letter.isalnum() or letter.isspace() for letter in text)
    words = _WORD.findall(text.lower())
    if not words or usual < _LETTERS * len(text):
        return False
    if len(words) < 10:
        return True
    most = Counter(words).most_common(1)[0][1]
    return most <= _REPEATED * len(words) and len(set(words)) >= _DISTINCT * len(words)


def _is_about(text: str, facts: str) -> bool:
    known = set(_WORD.findall(facts.lower()))
    return not known or bool(known & set(_WORD.findall(text.lower())))
