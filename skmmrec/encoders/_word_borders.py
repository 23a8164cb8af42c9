"""Which words a tokenizer reads by themselves, whatever stands beside them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

# Normalizers that change a character at a time, or those that are put over one letter.
_LOCAL = {"Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled", "StripAccents"}
# Also several spaces may become one. Words between which there are several are not
# known to be read apart in any case.
_ONE_SPACE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}


def reads_words(tokenizer: Any) -> bool:
    """Tell whether all that lies between two spaces is tokenised apart, as by BERT."""
    from tokenizers import models, normalizers, pre_tokenizers

    return (
        type(tokenizer.normalizer) is normalizers.BertNormalizer
        and type(tokenizer.pre_tokenizer) is pre_tokenizers.BertPreTokenizer
        and type(tokenizer.model) is models.WordPiece
    )


def word_test(tokenizer: Any) -> Callable[[str], bool] | None:
    """Return what tells whether a word between two spaces is tokenised apart.

    There is none where no word is known to be.
    """
    added = [one.content for one in tokenizer.get_added_tokens_decoder().values()]
    if any(" " in content for content in added):
        return None
    if reads_words(tokenizer):
        return lambda word: True
    mark = tokenizer.pre_tokenizer and _mark(tokenizer.pre_tokenizer)
    if mark is None or not _is_local(tokenizer.normalizer):
        return None
    return _Marked(tokenizer.normalizer, mark, added)


class _Marked:
    """Of tokenizers that put a mark before each word, as that of XLM-R.

    A space may have a token of its own beside another one, and beside a token that was
    added.
    """

    def __init__(self, normalizer: Any, mark: str, added: list[str]) -> None:
        self._normalizer = normalizer
        self._mark = mark
        self._added = added

    def __call__(self, word: str) -> bool:
        """Tell whether no space lies at an end of a word, and no token in it."""
        plain = word
        if self._normalizer is not None:
            plain = self._normalizer.normalize_str(word)
        if not plain or any(token in word or token in plain for token in self._added):
            return False
        # What is put over a letter would be put over the space.
        is_over = unicodedata.category(word[0]).startswith("M")
        ends = plain[0], plain[-1]
        return not is_over and not any(c.isspace() or c == self._mark for c in ends)


def _mark(pre_tokenizer: Any) -> str | None:
    """Return what is put before each word, where texts are cut at spaces alone."""
    *before, last = _parts(pre_tokenizer, "pretokenizers")
    is_cut = all(part["type"] == "WhitespaceSplit" for part in before)
    if not is_cut or last["type"] != "Metaspace":
        return None
    is_always = last["split"] and last["prepend_scheme"] == "always"
    return str(last["replacement"]) if is_always else None


def _is_local(normalizer: Any) -> bool:
    """Tell whether a word is normalised alike, whatever stands beside it."""
    parts = _parts(normalizer, "normalizers")
    return all(part["type"] in _LOCAL or part == _ONE_SPACE for part in parts)


def _parts(part: Any, name: str) -> list[dict[str, Any]]:
    """Return what a part of a tokenizer does in turn, as its file would say it."""
    if part is None:
        return []
    state = json.loads(part.__getstate__())
    parts: list[dict[str, Any]] = state.get(name, [state])
    return parts
