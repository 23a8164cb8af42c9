"""Terms that are frequent in the items that a user likes, and rare elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from skmmrec.llm._fields import Row, is_list, labels_of, words_of
from skmmrec.llm._letters import find_words

ABOUT = "often about"
_SUFFIX = r"(?:['\u2019]\w+)?"
# Letters of a word that counts. Not tuned.
_SHORTEST = 3
# Characters of a value that are searched for words: some 300 words, which a plot rarely
# exceeds. Not tuned.
_LONGEST = 2000
# The most tags of a column in a profile; documented in `UserProfiler`. Not tuned.
_N_TAGS = 4
# Least share of distinct texts that contain a bar in a column of lists. Not tuned.
_SHARE_OF_LISTS = 0.5
# Least share of parts between bars that are short in a column of tags. Not tuned.
_SHARE_OF_TAGS = 0.9
# The most characters of a short part. Not tuned.
_LONGEST_TAG = 40


class _Terms(NamedTuple):
    """Which item of a table has which terms.

    Parameters
    ----------
    label : str
        The name of the field that they come from.
    names : ndarray of shape (n_terms,)
        The terms.
    present : csr_array of shape (n_items, n_terms)
        1 where an item has a term.
    n_least : int
        How many liked items must have a term for it to be returned.
    n_most : int
        The most terms per user.
    """

    label: str
    names: NDArray[np.object_]
    present: sparse.csr_array
    n_least: int
    n_most: int

    def best(self, liked: sparse.csr_array) -> list[list[str]]:
        """Return the terms of each user with the greatest tf-idf."""
        n_items = self.present.shape[0]
        rarity = np.log1p(n_items / np.maximum(self.present.sum(axis=0), 1))
        counts = (liked @ self.present).tocsr()
        rows = (counts[[user]] for user in range(counts.shape[0]))
        return [self._top(row.indices, row.data, rarity) for row in rows]

    def _top(self, terms: NDArray, counts: NDArray, rarity: NDArray) -> list[str]:
        common = counts >= self.n_least
        terms, scores = terms[common], (counts * rarity[terms])[common]
        order = np.lexsort((self.names[terms].astype(str), -scores))
        return [str(name) for name in self.names[terms[order[: self.n_most]]]]


class Tastes:
    """Learn the terms of items, and find those that characterize users' likes.

    Parameters
    ----------
    table : DataFrame of n_items rows
        Columns of texts, lists of tags, or tags that are joined by bars.
    n_words : int
        The most words from texts per user.
    n_least : int
        How many liked items must share a term.
    """

    def __init__(self, table: pd.DataFrame, n_words: int, n_least: int) -> None:
        labels = labels_of(table.columns, table.columns).items()
        columns = {label: table[name].tolist() for name, label in labels}
        lists = {label for label, values in columns.items() if _are_lists(values)}
        texts = [values for label, values in columns.items() if label not in lists]
        self._terms = [
            _terms(label, map(_tags, columns[label]), n_least, _N_TAGS)
            for label in columns
            if label in lists
        ]
        if texts:
            rows = zip(*texts, strict=True)
            words = ([w for text in row for w in _words(text)] for row in rows)
            self._terms.append(_terms(ABOUT, words, n_least, n_words))

    def of(self, liked: sparse.csr_array) -> list[Row]:
        """Return the terms of users, by field.

        `liked`, of shape (n_users, n_items), is 1 for the items that a user likes.
        """
        told = {terms.label: terms.best(liked) for terms in self._terms}
        return [
            {label: ", ".join(rows[user]) for label, rows in told.items() if rows[user]}
            for user in range(liked.shape[0])
        ]


def _terms(
    label: str, rows: Iterable[Sequence[str]], n_least: int, n_most: int
) -> _Terms:
    distinct = [sorted(set(row)) for row in rows]
    codes, names = pd.factorize(
        np.array([term for row in distinct for term in row], dtype=object), sort=True
    )
    offsets = np.cumsum([0, *map(len, distinct)])
    shape = (len(distinct), len(names))
    present = sparse.csr_array((np.ones(len(codes)), codes, offsets), shape=shape)
    return _Terms(label, np.asarray(names, object), present, n_least, n_most)


def _are_lists(values: list[Any]) -> bool:
    if any(is_list(value) for value in values):
        return True
    texts = {value for value in values if isinstance(value, str)}
    return bool(texts) and _are_joined(texts)


def _are_joined(texts: set[str]) -> bool:
    """Tell whether texts are tags joined by bars, and not sentences with a bar."""
    parts = [part.strip() for text in texts for part in text.split("|")]
    joined = np.mean(["|" in text for text in texts])
    short = np.mean([len(part) <= _LONGEST_TAG for part in parts])
    return bool(joined >= _SHARE_OF_LISTS and short >= _SHARE_OF_TAGS)


def _tags(value: Any) -> list[str]:
    parts = value.split("|") if isinstance(value, str) else value
    if not is_list(parts):
        return []
    words = (words_of(part, _LONGEST) for part in parts)
    return [word for word in words if word]


def _words(value: Any) -> list[str]:
    text = words_of(value, _LONGEST) if isinstance(value, str) else None
    found = find_words((text or "").lower(), _SHORTEST, _SUFFIX)
    return [word for word in found if word not in ENGLISH_STOP_WORDS]
