"""Which words a tokenizer reads by themselves, whatever stands beside them."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
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


@dataclass(frozen=True)
class WordTest:
    """Tells whether a word between two spaces is tokenised apart.

    Parameters
    ----------
    lead : str
        What is tokenised with each word but the first: the space before it, or nothing.
    """

    lead: str = ""

    def __call__(self, word: str) -> bool:
        """Tell whether its tokens are the same, whatever stands beside it."""
        return True


@dataclass(frozen=True)
class _Bordered(WordTest):
    """Of tokenizers that keep the spaces, in a mark or as a byte.

    As those of XLM-R and RoBERTa. A space may have a token of its own beside another
    one, and beside a token that was added.
    """

    normalizer: Any = None
    added: tuple[str, ...] = ()
    mark: str = ""

    def __call__(self, word: str) -> bool:
        """Tell whether no space lies at an end of a word, and no token in it."""
        plain = word
        if self.normalizer is not None:
            plain = self.normalizer.normalize_str(word)
        if not plain or any(token in word or token in plain for token in self.added):
            return False
        # What is put over a letter would be put over the space.
        is_over = unicodedata.category(word[0]).startswith("M")
        ends = word[0], word[-1], plain[0], plain[-1]
        return not is_over and not any(c.isspace() or c == self.mark for c in ends)


def word_test(tokenizer: Any) -> WordTest | None:
    """Return what tells whether a word between two spaces is tokenised apart.

    There is none where no word is known to be.
    """
    added = [one.content for one in tokenizer.get_added_tokens_decoder().values()]
    # Words between which there are several spaces are not known to be apart.
    if any(" " in content and (content.strip() or content == " ") for content in added):
        return None
    if reads_words(tokenizer):
        return WordTest()
    *before, last = _parts(tokenizer.pre_tokenizer, "pretokenizers") or [{"type": ""}]
    known = {"normalizer": tokenizer.normalizer, "added": tuple(added)}
    if not _is_local(tokenizer.normalizer):
        return None
    if last["type"] == "Metaspace":
        is_cut = all(part["type"] == "WhitespaceSplit" for part in before)
        is_always = last["split"] and last["prepend_scheme"] == "always"
        mark = str(last["replacement"])
        return _Bordered(mark=mark, **known) if is_cut and is_always else None
    if last["type"] == "ByteLevel" and last["use_regex"] and not before:
        return _Bordered(lead="" if last["add_prefix_space"] else " ", **known)
    return None


def _is_local(normalizer: Any) -> bool:
    """Tell whether a word is normalised alike, whatever stands beside it."""
    parts = _parts(normalizer, "normalizers")
    return all(part["type"] in _LOCAL or part == _ONE_SPACE for part in parts)


def _parts(part: Any, name: str) -> list[dict[str, Any]]:
    """Return what a part of a tokenizer does in turn, as its file would say it."""
    if part is None:
        return []
    try:
        state = json.loads(part.__getstate__())
    except Exception:  # its own kind: no file can say what is written in Python
        return [{"type": "Custom"}]
    parts: list[dict[str, Any]] = state.get(name, [state])
    return parts
