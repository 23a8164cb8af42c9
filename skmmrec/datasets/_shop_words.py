"""Write titles and descriptions of the goods of a generated shop."""

from __future__ import annotations

import numpy as np

from skmmrec.datasets._words import pick

# Whom a good is for: how its description begins.
PURPOSES: dict[str, tuple[str, ...]] = {
    "travel": (
        "Goes along on night trains, ferries and long flights.",
        "Packed in a minute, for a weekend in another city.",
        "It has seen three continents and still looks new.",
        "For hostels, airports and everything between them.",
    ),
    "children": (
        "Made for small hands, and safe when it falls.",
        "For kindergarten, birthday parties and rainy afternoons.",
        "Children pick it first, and parents do not mind.",
        "Tested by a class of six-year-olds and their toys.",
    ),
    "garden": (
        "At home between tomatoes, herbs and the watering can.",
        "For long evenings on the terrace under the apple tree.",
        "It does not mind soil, rain or a bee.",
        "A companion for allotments, balconies and greenhouses.",
    ),
    "office": (
        "Gets through meetings, deadlines and a full inbox.",
        "For the desk at work, or the one in the bedroom.",
        "Colleagues will ask where you found it.",
        "Made for days of video calls and spreadsheets.",
    ),
    "sport": (
        "Comes along to the gym, the pitch and the climbing wall.",
        "For runners, rowers and those who warm the bench.",
        "Training at six in the morning is easier with it.",
        "It survives sweat, mud and the changing room.",
    ),
}
# What it is like: words of its title, and how its description ends.
CHARACTERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "recycled": (
        ("recycled", "climate-friendly", "reclaimed"),
        (
            "Made of recycled waste, without plastic and with a small footprint.",
            "Every part was something else before, and can be recycled again.",
            "Sustainable from the raw material to the wrapping.",
        ),
    ),
    "handmade": (
        ("handmade", "hand-finished", "artisan"),
        (
            "Each piece is made by hand in a family workshop, so no two are alike.",
            "A craftswoman signs every one of them.",
            "Traditional craft, passed on for four generations.",
        ),
    ),
    "technical": (
        ("high-tech", "smart", "engineered"),
        (
            "Engineered in a laboratory, with a patented sensor inside.",
            "Connects to an app by Bluetooth and charges by USB.",
            "Aerospace materials and digital precision.",
        ),
    ),
    "luxurious": (
        ("luxury", "elegant", "exclusive"),
        (
            "An exclusive designer piece, in a gift box lined with silk.",
            "Elegant, refined and numbered: for those who have everything.",
            "The luxury of a grand hotel, for every day.",
        ),
    ),
}
_NAMES = [
    "Alma", "Anton", "Bela", "Cleo", "Dario", "Edda", "Elio", "Enno", "Fina",
    "Flora", "Greta", "Hedda", "Ida", "Ilja", "Jonna", "Juno", "Kaja", "Lasse",
    "Levi", "Lotta", "Malin", "Mika", "Nele", "Nilo", "Olga", "Otis", "Pia",
    "Quinn", "Rasmus", "Rosa", "Selma", "Sten", "Tilda", "Toni", "Ulla", "Vera",
    "Vito", "Wanda", "Yara", "Zeno",
]  # fmt: skip


def write_offer(
    kind: str, purpose: str, character: str, rng: np.random.Generator
) -> tuple[str, str]:
    """Write the title and the description of one good.

    `kind` is what it is called; `purpose` and `character` are keys of `PURPOSES` and
    `CHARACTERS`.
    """
    words, endings = CHARACTERS[character]
    title = f"{pick(rng, words).capitalize()} {kind} {pick(rng, _NAMES)}"
    return title, f"{pick(rng, PURPOSES[purpose])} {pick(rng, endings)}"
