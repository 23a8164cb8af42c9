"""Write titles and descriptions of generated items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from skmmrec.datasets._vocabulary import THEMES, TONES

ATTRIBUTES = {"theme": tuple(THEMES), "tone": tuple(TONES)}

_TITLES = (
    "The {adjective} {thing}",
    "{adjective} {thing}",
    "The {person} and the {thing}",
    "The {adjective} {person}",
    "The {thing} of the {place}",
)
_PLOTS = (
    "In the {place}, {article} {person} {deed}.",
    "{Article} {person} from the {place} {deed}.",
    "The {thing} changes everything when {article} {person} {deed}.",
    "Between the {place} and the {thing}, {article} {person} {deed}.",
)
_SMALL_WORDS = frozenset({"and", "at", "of", "the"})


def write_words(
    attributes: Mapping[str, str], rng: np.random.Generator
) -> tuple[str, str]:
    """Write the title and the description of one item.

    `attributes` has a value for each name in `ATTRIBUTES`; chance chooses the words of
    its theme and tone.
    """
    theme, tone = THEMES[attributes["theme"]], TONES[attributes["tone"]]
    person, adjective = pick(rng, theme.people), pick(rng, tone.adjectives)
    article = "an" if adjective[0] in "aeiou" else "a"
    words = {
        "thing": pick(rng, theme.things),
        "place": pick(rng, theme.places),
        "deed": pick(rng, theme.deeds),
        "article": f"{article} {adjective}",
        "Article": f"{article.capitalize()} {adjective}",
        "adjective": adjective,
        "person": person,
    }
    title = title_case(pick(rng, _TITLES).format(**words))
    plot = pick(rng, _PLOTS).format(**words)
    return title, f"{plot} {pick(rng, tone.closings)}"


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Draw one of some texts."""
    return options[int(rng.integers(len(options)))]


def title_case(text: str) -> str:
    """Write the words of a title with capitals."""
    first, *rest = text.split()
    rest = [w if w in _SMALL_WORDS else upper_first(w) for w in rest]
    return " ".join([upper_first(first), *rest])


def upper_first(text: str) -> str:
    """Begin a text with a capital."""
    return text[0].upper() + text[1:]
