"""Read a model's answer: a usable text, or nothing."""

from __future__ import annotations

import json
import re
from collections import Counter

from skmmrec.llm._safety import tidy, whole_sentences

_WORD = re.compile(r"[^\W\d_]{2,}")
_FENCE = re.compile(r"```\w*")
# Share of letters, digits and spaces below which a text is garbage. Not tuned.
_LETTERS = 0.6
# Largest share of one word in a text of ten words or more: every third. Not tuned.
_REPEATED = 0.34
# Share of distinct words below which a text repeats itself. Not tuned.
_DISTINCT = 0.3


def read_text(answer: str, max_length: int, key: str, facts: str = "") -> str | None:
    """Return the text of a model's answer, or None if it cannot be used.

    Parameters
    ----------
    answer : str
        The answer: plain text, or JSON with the text under `key`.
    max_length : int
        The most characters; a longer text ends with the last whole sentence that fits.
    key : str
        The key of the text, if the answer is JSON.
    facts : str, default=""
        What the text should be about. A text that shares no word with it is rejected,
        unless it has no words.

    Returns
    -------
    str or None
        Plain text in one line; an unfinished last sentence is cut off, unless it is the
        only one. None for an empty answer, broken JSON or JSON without `key`, a long
        text without the end of a sentence, repetition, or too few letters.

    Examples
    --------
    >>> from skmmrec.llm._reading import read_text
    >>> read_text('{"text": "A film about <b>war</b>."}', 80, "text")
    'A film about war.'
    >>> read_text('{"text": "A film ab', 80, "text") is None
    True
    """
    stripped = _unfenced(answer.strip())
    said = _from_json(stripped, key) if stripped[:1] in ("{", "[") else stripped
    text = tidy(said or "", max_length)
    text = whole_sentences(text) or text
    return text if _is_language(text) and _is_about(text, facts) else None


def _unfenced(answer: str) -> str:
    """Take an answer out of the marks that Markdown puts around code."""
    start = _FENCE.match(answer)
    return answer[start.end() if start else 0 :].strip().removesuffix("```").strip()


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
