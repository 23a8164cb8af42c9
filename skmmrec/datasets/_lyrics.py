"""Write titles and lyrics of generated clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from skmmrec.datasets._words import pick, title_case, upper_first


class Theme(NamedTuple):
    """The words of what a song is about."""

    things: tuple[str, ...]
    places: tuple[str, ...]
    deeds: tuple[str, ...]


class Mood(NamedTuple):
    """The words of how a song feels."""

    adjectives: tuple[str, ...]
    feelings: tuple[str, ...]
    calls: tuple[str, ...]


THEMES = {
    "love": Theme(
        ("kiss", "letter", "heartbeat", "ring", "rose", "promise", "slow dance"),
        ("your arms", "our kitchen", "the chapel", "the balcony", "your doorway"),
        ("hold your hand", "whisper your name", "fall for you", "write to you again"),
    ),
    "road": Theme(
        ("engine", "highway", "suitcase", "mile", "train", "map", "headlight"),
        (
            "the county line",
            "a motel",
            "the station",
            "the mountain pass",
            "Route Nine",
        ),
        ("drive till morning", "leave this town", "catch the last train", "roll along"),
    ),
    "city": Theme(
        ("neon light", "rooftop", "subway", "crowd", "taxi", "skyline", "corner bar"),
        ("the boulevard", "downtown", "the top floor", "the club", "the underground"),
        ("walk the crowded street", "stay up all night", "dance on the roof"),
    ),
    "sea": Theme(
        ("wave", "harbour", "sail", "tide", "shell", "lighthouse", "seagull", "anchor"),
        ("the shore", "the open water", "the island", "the pier", "the bay"),
        ("sail beyond the reef", "swim out at dawn", "watch the tide come in"),
    ),
    "winter": Theme(
        ("snowflake", "fireplace", "frost", "candle", "scarf", "sleigh", "icicle"),
        ("the frozen lake", "the white field", "the cabin", "the silent wood"),
        ("walk through the snow", "light the fire", "wait for the thaw"),
    ),
    "protest": Theme(
        ("banner", "law", "wall", "vote", "factory gate", "chain", "march", "flag"),
        ("the square", "the picket line", "the courthouse", "the barricade"),
        ("raise our voices", "tear the fences down", "march for our rights"),
    ),
}

MOODS = {
    "happy": Mood(
        ("golden", "laughing", "sunny", "bright", "sweet"),
        ("I feel so glad", "joy is everywhere", "I cannot stop smiling"),
        ("Clap your hands and sing along", "Oh what a wonderful day"),
    ),
    "sad": Mood(
        ("lonely", "broken", "fading", "tearful", "empty"),
        ("I cry alone", "the sorrow never leaves", "I miss what we lost"),
        ("Goodbye, goodbye, it is over now", "All my tears fall down like rain"),
    ),
    "angry": Mood(
        ("burning", "furious", "bitter", "savage", "thundering"),
        ("I am sick of the lies", "my rage is rising", "I will not forgive"),
        ("Burn it, break it, scream it out", "Never again will I obey"),
    ),
    "dreamy": Mood(
        ("drifting", "silver", "hazy", "floating", "velvet"),
        ("I am half asleep", "time dissolves", "everything turns to mist"),
        ("Float away, float away with me", "Dream on, slowly, under the moon"),
    ),
}

ATTRIBUTES = {"theme": tuple(THEMES), "mood": tuple(MOODS)}

_TITLES = (
    "{adjective} {thing}",
    "The {thing} and the {other}",
    "{thing} at {place}",
    "One more {thing}",
    "{adjective} {thing} blues",
)
_LINES = (
    "A {adjective} {thing} at {place}",
    "I {deed} and {feeling}",
    "Between the {thing} and the {other}, {feeling}",
    "And we {deed}, one {adjective} night",
    "Give me a {thing}, give me a {adjective} {other}",
    "{feeling}, so I {deed}",
    "Who left the {other} at {place}?",
)


def write_lyrics(
    attributes: Mapping[str, str], rng: np.random.Generator
) -> tuple[str, str]:
    """Write the title and the lyrics of one song.

    `attributes` has a value for each name in `ATTRIBUTES`; chance chooses the words of
    its theme and mood. The lyrics are two verses of two lines, each with the same
    chorus.
    """
    theme, mood = THEMES[attributes["theme"]], MOODS[attributes["mood"]]
    chorus = pick(rng, mood.calls)
    order = rng.permutation(len(_LINES))[:4]
    verses = [_line(_LINES[n], theme, mood, rng) for n in order]
    title = title_case(_line(pick(rng, _TITLES), theme, mood, rng))
    return title, "\n".join([*verses[:2], chorus, *verses[2:], chorus])


def _line(template: str, theme: Theme, mood: Mood, rng: np.random.Generator) -> str:
    thing, other = rng.permutation(theme.things)[:2]
    line = template.format(
        thing=thing,
        other=other,
        place=pick(rng, theme.places),
        deed=pick(rng, theme.deeds),
        adjective=pick(rng, mood.adjectives),
        feeling=pick(rng, mood.feelings),
    )
    return upper_first(line)
