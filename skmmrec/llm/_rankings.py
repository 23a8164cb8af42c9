"""Lists of candidates: read them from a table, reorder them, write them back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import pandas as pd

from skmmrec.interactions import ITEM, USER, check_ids, plain, ranks_in
from skmmrec.llm._reading import without_thoughts

# Characters of an answer that are read: more than 1,000 numbers in brackets.
_LONGEST = 10_000
# The least places that make an echo: a random order of five counts up from 1 in one of
# 5! = 120 cases.
_ECHO = 5
_MARKS = re.compile(r"[*`\"'_]")
_OTHER_BRACKETS = str.maketrans("\u3010\u3011", "[]")
_BRACKET = r"\[\s*[0-9][0-9\s,;]*\]"
# Between two of a ranking stands " > ", or the number of a line.
_RUN = re.compile(rf"{_BRACKET}(?:[^\w\[\]]*(?:[0-9]+[.)]\s*)?{_BRACKET})*")
_BRACKETS = re.compile(_BRACKET)
_BARE = re.compile(r"[0-9\s,;>.]+")
_LINE = re.compile(
    r"(?:^|:)[ \t]*([0-9]+(?:[ \t]*[>,;][ \t]*[0-9]+)+)[ \t.]*$", re.MULTILINE
)
_NUMBER = re.compile(r"(?<![0-9])[0-9]{1,6}(?![0-9])")


def parse_ranking(answer: str, n: int) -> list[int]:
    """Return the places that an answer names, in its order, each once.

    Numbers count if they are in brackets, or if a line or the answer consists of
    numbers alone; those in running text do not. The longest row of numbers counts
    first, as a model may talk about candidates before it ranks them. Five or more
    numbers that just count up from 1 repeat the list that was shown, so they are not an
    answer.

    Candidates are numbered from 1 to `n`. Returns distinct numbers from 0 to n - 1,
    perhaps none.

    Examples
    --------
    >>> from skmmrec.llm._rankings import parse_ranking
    >>> parse_ranking("Sure! [3] > [1] > [3] > [99]", 4)
    [2, 0]
    >>> parse_ranking("[1] has a dog, [2] has none. So: [2] > [1]", 4)
    [1, 0]
    >>> parse_ranking("The 2 best of the 4 are dogs.", 4)
    []
    """
    said = unicodedata.normalize("NFKC", without_thoughts(answer)[:_LONGEST])
    said = _MARKS.sub("", said.translate(_OTHER_BRACKETS))
    rows = [_places(row, n) for row in _rows(said)]
    best: list[int] = []
    for row in rows:
        if len(row) > len(best) or {*row} == {*best}:  # the last of several drafts
            best = row
    places = list(dict.fromkeys([*best, *chain.from_iterable(rows)]))
    is_echo = any(
        len(seen) >= _ECHO and seen == list(range(len(seen))) for seen in (best, places)
    )
    return [] if is_echo else places


def _rows(said: str) -> list[str]:
    """Return the parts of an answer that are rows of numbers."""
    if _BRACKETS.search(said):
        return [" ".join(_BRACKETS.findall(run[0])) for run in _RUN.finditer(said)]
    return [said] if _BARE.fullmatch(said) else _LINE.findall(said)


def _places(row: str, n: int) -> list[int]:
    """Return the distinct places that the numbers of a row name."""
    named = (int(number) - 1 for number in _NUMBER.findall(row))
    return list(dict.fromkeys(place for place in named if 0 <= place < n))


def by_score(scores: Sequence[float]) -> list[int]:
    """Return places by descending score, without those that have no score."""
    scored = np.flatnonzero(np.isfinite(scores)).tolist()
    return sorted(scored, key=lambda place: -scores[place])


def complete(order: Iterable[int], n: int) -> list[int]:
    """Return a permutation of n places: the given order, then the rest in order."""
    return list(dict.fromkeys([*order, *range(n)]))


def limit_rise(
    order: Sequence[int], places: Sequence[int], max_rise: int | None
) -> list[int]:
    """Return an order close to the given one in which no candidate rises too far.

    `order` is a permutation of the candidates, best first; `places` are their current
    places, ascending, which are assigned anew. A candidate may rise by `max_rise`
    places; None: by any number. Returns the candidate of each place.

    Examples
    --------
    >>> from skmmrec.llm._rankings import limit_rise
    >>> limit_rise([3, 2, 1, 0], [0, 1, 2, 3], 1)
    [1, 2, 3, 0]
    """
    if max_rise is None:
        return list(order)
    waiting, taken = list(order), []
    for place in places:
        # There is always one: the waiting candidate with the first place never rises.
        chosen = next(c for c in waiting if places[c] - place <= max_rise)
        waiting.remove(chosen)
        taken.append(chosen)
    return taken


def read_lists(recommendations: pd.DataFrame) -> dict[object, list[int]]:
    """Return the rows of each user's list, best first, in order of users' first rows.

    Raises ValueError if a column, an id or a rank is missing, a rank is no number, or a
    user has an item twice.
    """
    for name in (USER, ITEM, "score"):
        if name not in recommendations.columns:
            raise ValueError(
                f"recommendations has no column {name!r}: {list(recommendations)}"
            )
    users = pd.Series(check_ids(recommendations[USER], USER))
    check_ids(recommendations[ITEM], ITEM)
    twice = np.flatnonzero(recommendations.duplicated([USER, ITEM]))
    if len(twice):
        row = recommendations.iloc[twice[0]]
        raise ValueError(
            f"user {plain(row[USER])!r} has item {plain(row[ITEM])!r} twice "
            f"(row {twice[0]})"
        )
    ranks = ranks_in(recommendations)
    rows = pd.Series(
        np.argsort(np.zeros(len(users)) if ranks is None else ranks, kind="stable")
    )
    by_user = rows.groupby(users.to_numpy()[rows], sort=False).agg(list)
    return {user: by_user[user] for user in users.unique()}


def write_lists(recommendations: pd.DataFrame, lists: list[list[int]]) -> pd.DataFrame:
    """Return rows of the recommendations in a new order, with new ranks."""
    rows = [row for rows in lists for row in rows]
    ranks = [rank for rows in lists for rank in range(1, len(rows) + 1)]
    table = recommendations[[USER, ITEM]].iloc[rows]
    return table.assign(
        rank=np.array(ranks, dtype=np.int64),
        score=recommendations["score"].to_numpy()[rows],
    ).reset_index(drop=True)
