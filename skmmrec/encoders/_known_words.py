"""Tokens of texts, put together from those of words that were read before.

Tokenizers such as BERT's read what lies between two spaces by itself, and a language
uses few words often. To look one up takes a tenth of the time of tokenising it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmmrec.encoders._word_borders import WordTest
from skmmrec.runtime import ForkSafeLock

Tokens = np.ndarray
"""The ids of a text's tokens, shape (n_tokens,), with those that frame it."""

Name = str | tuple[str] | int
"""A word, the first word of a text where it differs from others, or one of its ends."""

# The most words that are kept: 25 MB. All overviews of 4,814 films have 33,000.
MAX_WORDS = 2**17
# What is longer than this is hardly a word that comes again: BERT itself reads no word
# of more than 100 letters.
MAX_LETTERS = 100
# Texts with a greater share of new words are read in whole. To read a word by itself
# takes four times as long, which pays where it comes again: random letters never do.
MOST_NEW = 0.5
# Fewer texts are read as they are: little is gained.
FEW_TEXTS = 16
# What stands for the beginning and the end of a text among its words, and their places.
_BEGIN, _END = 0, 1
_UNKNOWN = -1


@dataclass(frozen=True)
class _Words:
    """The tokens of words, one after the other, and where each word begins."""

    tokens: Tokens
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def and_also(self, tokens: list[Tokens]) -> _Words:
        """Append words."""
        ends = self.offsets[-1] + np.cumsum([len(each) for each in tokens])
        offsets = np.concatenate([self.offsets, ends])
        return _Words(np.concatenate([self.tokens, *tokens]), offsets)

    def rows(self, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[Tokens]:
        """Return the tokens of texts, as parts of one array.

        `places` are those of their words, `sizes` how many words each text has.
        """
        starts = self.offsets[places]
        n_tokens = self.offsets[places + 1] - starts
        ends = np.cumsum(n_tokens)
        shifts = np.repeat(starts - ends + n_tokens, n_tokens)
        tokens = self.tokens[np.arange(len(shifts)) + shifts]
        cuts = np.append(0, ends)[np.append(0, np.cumsum(sizes))].tolist()
        return [tokens[start:end] for start, end in pairwise(cuts)]


class KnownWords:
    """Tokenises texts by their words; threads may share it.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        One that neither cuts nor pads.
    is_apart : WordTest
        Tells of a word whether its tokens are the same, whatever stands beside it, and
        what is tokenised with it.
    before, after : ndarray of int32
        The tokens that it puts around a text.
    """

    def __init__(
        self,
        tokenizer: Any,
        is_apart: WordTest,
        before: Tokens,
        after: Tokens,
    ) -> None:
        self._tokenizer = tokenizer
        self._is_apart = is_apart
        self._places: dict[Name, int] = {_BEGIN: _BEGIN, _END: _END}
        nothing = _Words(np.empty(0, np.int32), np.zeros(1, np.int64))
        self._words = nothing.and_also([before, after])
        self._is_framed = len(self._words.tokens) > 0
        self._lock = ForkSafeLock()

    def read(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text, with those that frame it."""
        if len(texts) < FEW_TEXTS:
            return self._read_whole(texts)
        parts = self._named(texts)
        sizes = np.fromiter(map(len, parts), np.int64, len(parts))
        words, places = self._find(list(chain.from_iterable(parts)), sizes)
        is_known = np.minimum.reduceat(places, np.cumsum(sizes) - sizes) != _UNKNOWN
        known = words.rows(places[np.repeat(is_known, sizes)], sizes[is_known])
        others = [texts[i] for i in np.flatnonzero(~is_known).tolist()]
        sources = {True: iter(known), False: iter(self._read_whole(others))}
        return [next(sources[each]) for each in is_known.tolist()]

    def _named(self, texts: Sequence[str]) -> list[tuple[Name, ...]]:
        """Cut texts into words, between their beginning and their end."""
        if not self._is_apart.lead:
            return [(_BEGIN, *text.split(" "), _END) for text in texts]
        # The first has no space before it.
        cut = (text.split(" ") for text in texts)
        return [(_BEGIN, (first,), *words, _END) for first, *words in cut]

    def _read_whole(self, texts: Sequence[str]) -> list[Tokens]:
        return read_texts(self._tokenizer, texts, self._is_framed)

    def _find(
        self, named: list[Name], sizes: NDArray[np.int64]
    ) -> tuple[_Words, NDArray[np.int64]]:
        """Find words, and read those that are new; `sizes` tells how many a text has.

        Returns
        -------
        words : _Words
            Where they are found.
        places : ndarray of shape (n_named,)
            Their positions, or -1 where it pays to read the whole text.
        """
        places = _look_up(self._places, named)
        # Looked at after the places: whatever has a place is among these.
        words = self._words
        unknown = np.flatnonzero(places == _UNKNOWN)
        if len(unknown):
            owners = np.repeat(np.arange(len(sizes)), sizes)[unknown]
            asked = [named[i] for i in unknown.tolist()]
            # One thread at a time: others are likely to need the same words.
            with self._lock:
                words, places[unknown] = self._learn(asked, owners, sizes)
        return words, places

    def _learn(
        self, asked: list[Name], owners: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> tuple[_Words, NDArray[np.int64]]:
        """Read new words, keep them where there is room, and return all places."""
        words, places = self._words, _look_up(self._places, asked)
        unknown = np.flatnonzero(places == _UNKNOWN)
        left = [asked[i] for i in unknown.tolist()]
        worth = _worth_reading(left, owners[unknown], sizes)
        if new := [name for name in worth if self._is_apart(_word(name))]:
            lead = self._is_apart.lead
            texts = [
                name[0] if type(name) is tuple else f"{lead}{name}" for name in new
            ]
            more = words.and_also(read_texts(self._tokenizer, texts, is_framed=False))
            numbers = dict(zip(new, range(len(words), len(more)), strict=True))
            places[unknown] = _look_up(numbers, left)
            if len(more) <= MAX_WORDS:
                self._words = more
                self._places.update(numbers)
            words = more
        return words, places


def read_texts(tokenizer: Any, texts: Sequence[str], is_framed: bool) -> list[Tokens]:
    """Return the tokens of texts, as parts of one array; `is_framed`: with a frame."""
    read = tokenizer.encode_batch_fast(texts, add_special_tokens=is_framed)
    ids = [encoding.ids for encoding in read]
    ends = np.cumsum([0, *map(len, ids)])
    tokens = np.fromiter(chain.from_iterable(ids), np.int32, ends[-1])
    return [tokens[start:end] for start, end in pairwise(ends.tolist())]


def _look_up(places: Mapping[Name, int], named: Sequence[Name]) -> NDArray[np.int64]:
    """Return the places of words, -1 for those that have none."""
    return np.fromiter(map(places.get, named, repeat(_UNKNOWN)), np.int64, len(named))


def _worth_reading(
    asked: list[Name], owners: NDArray[np.int64], sizes: NDArray[np.int64]
) -> list[Name]:
    """Return the words that are better read by themselves than with their texts.

    They come several times, or are the few of a text that are not known. `owners` are
    the texts of the words, `sizes` the numbers of words of all texts.
    """
    counts = Counter(asked)
    is_rare = np.array([counts[word] == 1 for word in asked], bool)
    n_rare = np.bincount(owners[is_rare], minlength=len(sizes))
    pays = ~is_rare | (n_rare <= MOST_NEW * sizes)[owners]
    chosen = (word for word, does in zip(asked, pays.tolist(), strict=True) if does)
    distinct = dict.fromkeys(chosen)
    return [name for name in distinct if len(_word(name)) <= MAX_LETTERS]


def _word(name: Name) -> str:
    return name[0] if isinstance(name, tuple) else str(name)
