"""The vocabulary of the texts of generated items."""

from __future__ import annotations

from typing import NamedTuple


class Theme(NamedTuple):
    """The words of what a story is about."""

    people: tuple[str, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]
    deeds: tuple[str, ...]


class Tone(NamedTuple):
    """The words of how a story is told."""

    adjectives: tuple[str, ...]
    closings: tuple[str, ...]


THEMES = {
    "sea": Theme(
        ("sailor", "captain", "diver", "fisherman", "lighthouse keeper", "pirate"),
        ("anchor", "tide", "schooner", "pearl", "whale", "lighthouse", "coral reef"),
        ("harbour", "open ocean", "lagoon", "stormy coast", "fishing village"),
        (
            "sails out before the storm",
            "dives for a sunken ship",
            "follows the whales north",
            "hauls the last net of the season",
            "charts an unknown island",
        ),
    ),
    "space": Theme(
        ("astronaut", "pilot", "engineer", "cosmonaut", "star mapper", "android"),
        ("comet", "orbit", "rocket", "satellite", "nebula", "space station", "moon"),
        ("red planet", "outer galaxy", "lunar base", "asteroid belt", "launch pad"),
        (
            "answers a signal from a distant star",
            "repairs the ship in zero gravity",
            "lands on an uncharted planet",
            "loses contact with mission control",
            "races a comet around the sun",
        ),
    ),
    "kitchen": Theme(
        ("chef", "baker", "waiter", "pastry cook", "food critic", "grandmother"),
        ("recipe", "sourdough", "soup", "spice box", "chocolate cake", "menu", "feast"),
        ("bakery", "tiny restaurant", "village market", "street kitchen", "vineyard"),
        (
            "cooks one perfect dinner",
            "inherits a book of secret recipes",
            "opens a noodle shop on a shoestring",
            "enters the national baking contest",
            "tastes a forgotten spice",
        ),
    ),
    "crime": Theme(
        ("detective", "inspector", "thief", "lawyer", "witness", "reporter"),
        ("alibi", "stolen diamond", "verdict", "ransom note", "clue", "vault", "heist"),
        ("police station", "back alley", "courtroom", "locked room", "casino"),
        (
            "reopens an unsolved murder case",
            "plans a robbery at the central bank",
            "interrogates the only suspect",
            "finds a fingerprint nobody can explain",
            "shadows a gang through the city at night",
        ),
    ),
    "music": Theme(
        ("pianist", "singer", "drummer", "violinist", "conductor", "songwriter"),
        ("melody", "violin", "encore", "vinyl record", "guitar", "chorus", "symphony"),
        ("jazz club", "concert hall", "recording studio", "opera house", "garage"),
        (
            "rehearses for the concert of a lifetime",
            "writes a song that tops the charts",
            "joins a travelling orchestra",
            "brings the old band back together",
            "learns to play by ear",
        ),
    ),
    "sport": Theme(
        ("goalkeeper", "sprinter", "coach", "boxer", "cyclist", "tennis champion"),
        (
            "final whistle",
            "trophy",
            "marathon",
            "penalty",
            "medal",
            "rematch",
            "league",
        ),
        ("stadium", "boxing gym", "running track", "training camp", "locker room"),
        (
            "trains for the championship final",
            "leads the team out of the relegation zone",
            "breaks the national record",
            "returns to the ring after an injury",
            "scores in the last minute of the match",
        ),
    ),
    "history": Theme(
        ("emperor", "knight", "archaeologist", "queen", "scribe", "soldier"),
        ("crown", "sword", "scroll", "castle", "treaty", "kingdom", "ancient coin"),
        (
            "royal court",
            "desert temple",
            "medieval abbey",
            "Roman camp",
            "old fortress",
        ),
        (
            "defends the throne against a rival dynasty",
            "unearths a tomb under the ruins",
            "carries a secret letter across the empire",
            "chronicles the fall of a kingdom",
            "rides to war under a false name",
        ),
    ),
    "nature": Theme(
        ("ranger", "botanist", "beekeeper", "farmer", "gardener", "birdwatcher"),
        ("orchard", "fox", "meadow", "oak tree", "nest", "wildflower", "river otter"),
        ("deep forest", "alpine valley", "wetland", "national park", "rainforest"),
        (
            "tracks a wolf pack through the seasons",
            "plants a wild garden",
            "films the birds of the forest",
            "saves a valley from the loggers",
            "raises an orphaned fox cub",
        ),
    ),
}

TONES = {
    "dark": Tone(
        ("haunted", "bleak", "cursed", "sinister", "doomed"),
        (
            "A grim and unsettling nightmare about guilt and death.",
            "Dread grows with every step, and nobody is safe from the evil.",
            "Terror waits in the shadows of this bleak, merciless tale.",
        ),
    ),
    "funny": Tone(
        ("clumsy", "hilarious", "silly", "absurd", "cheeky"),
        (
            "A hilarious comedy of errors, packed with jokes and slapstick.",
            "Everything goes wrong in the silliest way, and you will laugh out loud.",
            "An absurd romp full of gags, pratfalls and mistaken identities.",
        ),
    ),
    "tender": Tone(
        ("gentle", "beloved", "lonely", "devoted", "bittersweet"),
        (
            "A warm love story about family, kindness and second chances.",
            "Quiet and romantic, it is a tender portrait of two hearts.",
            "A touching tale of friendship, longing and forgiveness.",
        ),
    ),
    "thrilling": Tone(
        ("daring", "relentless", "explosive", "fearless", "breakneck"),
        (
            "Non-stop action: chases, explosions and a race against the clock.",
            "A pulse-pounding adventure with one narrow escape after another.",
            "High stakes and breakneck stunts in a battle for survival.",
        ),
    ),
}
