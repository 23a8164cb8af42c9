"""Read a model's answer: a usable text, or nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice

from skmmrec.llm._letters import find_words, share_words
from skmmrec.llm._safety import tidy, whole_sentences
from skmmrec.runtime import is_mark

_THINKING = r"(?:think|thinking|reasoning)"
_THOUGHT = re.compile(rf"\A.*(?:</{_THINKING}>|\[/THINK\])", re.I | re.S)
_UNFINISHED = re.compile(rf"<{_THINKING}>|\[THINK\]", re.I)
_NAMES = (
    r"(?:answer|description|explanation|json|output|profile|reason|sentences?|summary|"
    r"text|version)"
)
_PREAMBLE = re.compile(
    r"\A[*_#\s]*(?:(?:sure|certainly|of course|absolutely|ok|okay|yes)\b[\s,.!:-]*)?"
    rf"(?:here(?:['\u2019]s| is| are)\b[^\n:.]{{0,120}}?\b{_NAMES}\b[^\n:.]{{0,120}}|"
    rf"{_NAMES})[*_\s]*:[*_]*\s*",
    re.I,
)
_REFUSAL = re.compile(
    r"\A\W*(?:(?:unfortunately|sorry|apologies)\W+(?:but )?)?I(?:"
    r"(?: am|['\u2019]m) (?:\w+ )?(?:sorry|unable|not able)|"
    r" (?:can(?:['\u2019]t|not| not)|won['\u2019]t|will not|"
    r"do(?: not|n['\u2019]t) have))\b|"
    r"\bas an? (?:(?:AI|large) )?(?:language model|AI assistant)\b",
    re.I,
)
_FENCED = re.compile(r"```(?:\w*\n)?(.*?)(?:```|\Z)", re.S)
_JSON = re.compile(r"\A[{]|\A\[\s*[\[{\"]|[{]\s*\"")
_QUOTES = {'"': '"', "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb"}
# Objects in an answer that are tried. One is usual. Not tuned.
_MOST_OBJECTS = 50
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
        The answer: plain text, or JSON with the text under `key`. Thoughts before it,
        an introduction such as "Here is the description:" and quotes are left out.
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
        only one. None for an empty answer, unfinished thoughts, a refusal in English,
        broken JSON or JSON without `key`, a long text without the end of a sentence,
        repetition, or too few letters.

    Examples
    --------
    >>> from skmmrec.llm._reading import read_text
    >>> read_text('{"text": "A film about <b>war</b>."}', 80, "text")
    'A film about war.'
    >>> read_text('{"text": "A film ab', 80, "text") is None
    True
    """
    stripped = _unfenced(_without_preamble(without_thoughts(answer).strip()))
    said = _from_json(stripped, key) if _JSON.search(stripped) else stripped
    text = _unquoted(tidy(said or "", max_length))
    text = whole_sentences(text) or text
    usable = _is_language(text) and not _refuses(text, facts)
    return text if usable and share_words(text, facts, 2) is not False else None


def without_thoughts(answer: str) -> str:
    """Return what a model says after it has thought aloud; "" if it has not finished.

    Examples
    --------
    >>> from skmmrec.llm._reading import without_thoughts
    >>> without_thoughts("<think>A or B?</think>B"), without_thoughts("<think>A or")
    ('B', '')
    """
    said = _THOUGHT.sub("", answer)
    return "" if _UNFINISHED.match(said.lstrip()) else said


def _without_preamble(answer: str) -> str:
    return _PREAMBLE.sub("", answer)


def _unfenced(answer: str) -> str:
    """Take an answer out of the marks that Markdown puts around code."""
    fenced = _FENCED.match(answer)
    return (fenced[1] if fenced else answer).strip().removesuffix("```").strip()


def _unquoted(text: str) -> str:
    """Take a text out of quotes around the whole of it."""
    inner, closing = text[1:-1], _QUOTES.get(text[:1])
    whole = closing is not None and text.endswith(closing) and len(text) > 1
    return inner if whole and not {text[0], closing} & {*inner} else text


def _from_json(answer: str, key: str) -> str | None:
    """Return the text under the key of the first object that has one."""
    decoder = json.JSONDecoder()
    for brace in islice(re.finditer("[{]", answer), _MOST_OBJECTS):
        try:
            found, _ = decoder.raw_decode(answer, brace.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(found.get(key), str):
            return found[key]
    return None


def _refuses(text: str, facts: str) -> bool:
    """Tell whether a text says, in English, that a model does not write one."""
    found = _REFUSAL.search(text)
    return found is not None and found[0].strip().lower() not in facts.lower()


def _is_language(text: str) -> bool:
    usual = sum(c.isalnum() or c.isspace() or is_mark(c) for c in text)
    words = find_words(text.lower(), 2)
    if not words or usual < _LETTERS * len(text):
        return False
    if len(words) < 10:
        return True
    most = Counter(words).most_common(1)[0][1]
    return most <= _REPEATED * len(words) and len(set(words)) >= _DISTINCT * len(words)
