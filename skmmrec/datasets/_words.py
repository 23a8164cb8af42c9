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
_SMALL_WORDS = frozenset({"and", "the", "of"})


def write_words(
    attributes: Mapping[str, str], rng: np.random.Generator
) -> tuple[str, str]:
    """Write the title and the description of one item.

    Parameters
    ----------
    attributes : mapping of str to str
        A value for each name in `ATTRIBUTES`.
    rng : numpy Generator
        Chooses the words of the theme and of the tone.

    Returns
    -------
    title, description : str
    """
    theme, tone = THEMES[attributes["theme"]], TONES[attributes["tone"]]
    person, adjective = _pick(rng, theme.people), _pick(rng, tone.adjectives)
    article = "an" if adjective[0] in "aeiou" else "a"
    words = {
        "thing": _pick(rng, theme.things),
        "place": _pick(rng, theme.places),
        "deed": _pick(rng, theme.deeds),
        "article": f"{article} {adjective}",
        "Article": f"{article.capitalize()} {adjective}",
        "adjective": adjective,
        "person": person,
    }
    title = _title_case(_pick(rng, _TITLES).format(**words))
    plot = _pick(rng, _PLOTS).format(**words)
    return title, f"{plot} {_pick(rng, tone.closings)}"


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _title_case(text: str) -> str:
    first, *rest = text.split()
    return " ".join(
        [_upper(first), *(w if w in _SMALL_WORDS else _upper(w) for w in rest)]
    )


def _upper(word: str) -> str:
    return word[0].upper() + word[1:]
