"""A model card: what a model is, as Markdown and as HTML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from skmmrec.recommender._html import CELL

# What could end a line, hide, or turn the direction of what stands after it.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+"
)
_MARKUP = re.compile(r"[\\`*\[\]<>|~$&]|(?<!\w)_|_(?!\w)")
_STYLE = (
    "border-collapse:collapse;margin:0.2em 0 0.8em;font-family:sans-serif;"
    "font-size:0.9em"
)


class CardSection(NamedTuple):
    """A part of a `ModelCard`.

    Attributes
    ----------
    heading : str
        What it is about.
    rows : list of (str, str)
        What is told, by name.
    notes : list of str
        Whole sentences.
    """

    heading: str
    rows: list[tuple[str, str]]
    notes: list[str]


@dataclass(frozen=True)
class ModelCard:
    """What a fitted model is, for those who are to use it or to answer for it.

    `str` gives Markdown, and a notebook shows HTML. What comes from the data, such as
    names of modalities, is escaped in both.

    Attributes
    ----------
    title : str
        The class of the recommender.
    sections : list of CardSection
        Intended use, data, modalities, choices, figures, limits and versions.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.recommender import PopularityRecommender
    >>> X = pd.DataFrame({"user_id": [1, 2, 2], "item_id": ["a", "a", "b"]})
    >>> card = PopularityRecommender().fit(X).card()
    >>> [section.heading for section in card.sections]
    ['Intended use', 'Data', 'Choices', 'Figures', 'Limits', 'Versions']
    >>> print(str(card).splitlines()[0])
    # Model card: PopularityRecommender
    """

    title: str
    sections: list[CardSection]

    def __str__(self) -> str:
        parts = [f"# Model card: {_markdown(self.title)}"]
        for heading, rows, notes in self.sections:
            parts.append(f"## {_markdown(heading)}")
            if notes:
                parts.append("\n".join(f"- {_markdown(note)}" for note in notes))
            if rows:
                cells = (f"| {_markdown(n)} | {_markdown(v)} |" for n, v in rows)
                parts.append("\n".join(["| | |", "|---|---|", *cells]))
        return "\n\n".join(parts) + "\n"

    def _repr_html_(self) -> str:
        parts = [f"<h3>Model card: {_html(self.title)}</h3>"]
        for heading, rows, notes in self.sections:
            parts.append(f"<h4>{_html(heading)}</h4>")
            if notes:
                told = "".join(f'<li dir="auto">{_html(note)}</li>' for note in notes)
                parts.append(f"<ul>{told}</ul>")
            if rows:
                cells = "".join(_row(name, value) for name, value in rows)
                parts.append(f'<table style="{_STYLE}"><tbody>{cells}</tbody></table>')
        return "".join(parts)


def _row(name: str, value: str) -> str:
    return (
        f'<tr><th style="{CELL}" scope="row" dir="auto">{_html(name)}</th>'
        f'<td style="{CELL}" dir="auto">{_html(value)}</td></tr>'
    )


def _plain(text: str) -> str:
    return _UNSEEN.sub(" ", text).strip()


def _markdown(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", _plain(text))


def _html(text: str) -> str:
    return escape(_plain(text))
