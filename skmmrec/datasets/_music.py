"""Generate clips of music with lyrics, who listened to them, and hummed queries."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skmmrec.datasets import _lyrics, _songs
from skmmrec.datasets._listening import sample_listens
from skmmrec.datasets._taste import (
    draw_affinity,
    draw_attributes,
    draw_leans,
    numbered_ids,
)
from skmmrec.interactions import ITEM

_ATTRIBUTES = {"text": _lyrics.ATTRIBUTES, "audio": _songs.ATTRIBUTES}
# Most sad and angry songs are in minor, most others in major; taste does not ask.
_MINOR = {"happy": 0.1, "sad": 0.8, "angry": 0.8, "dreamy": 0.4}
# Listeners name three of four things that they could name.
_P_TAG = 0.75
# Of the two modalities; some users hear words alone, some sound alone, most both.
_LEAN_CONCENTRATION = 1.0

_DESCR = """\
Generated music
---------------
{n_clips} clips of 8 seconds, {n_users} users, {n_listens} listens, {n_hums} hummed
queries.

Every clip has independent hidden attributes: theme and mood of its lyrics; instrument,
tempo and beat of its sound. Every user likes some values of each attribute, and
cares for words and sound to different degrees. Within a session, the next clip is like
the one before, and a step faster. Melodies are different for each clip, and
say nothing of who likes it.

Nothing here is taken from real people or real works.
"""


@validate_params(
    {
        "n_users": [Interval(Integral, 1, None, closed="left")],
        "n_clips": [Interval(Integral, 2, 100_000, closed="both")],
        "n_listens_per_user": [Interval(Real, 1, None, closed="left")],
        "n_hums": [Interval(Integral, 0, None, closed="left")],
        "taste_strength": [Interval(Real, 0, None, closed="left")],
        "session_strength": [Interval(Real, 0, None, closed="left")],
        "popularity_strength": [Interval(Real, 0, None, closed="left")],
        "missing_rate": [Interval(Real, 0, 1, closed="left")],
        "untagged_rate": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_music(
    n_users: int = 200,
    n_clips: int = 150,
    *,
    n_listens_per_user: float = 30,
    n_hums: int = 40,
    taste_strength: float = 2.0,
    session_strength: float = 1.5,
    popularity_strength: float = 0.5,
    missing_rate: float = 0.1,
    untagged_rate: float = 0.3,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Generate clips with lyrics, users who listen in sessions, and hummed queries.

    What users like depends on the words and on the sound of clips; what they hear next
    depends on what they have just heard, too.

    Parameters
    ----------
    n_users : int, default=200
        Number of users.
    n_clips : int, default=150
        Number of clips; synthesising one takes about 15 ms.
    n_listens_per_user : float, default=30
        Mean number of clips that a user listens to, each once; log-normal over the
        users.
    n_hums : int, default=40
        Number of hummed queries, each a cut of another clip where there are enough.
    taste_strength : float, default=2.0
        How strongly listens depend on lasting taste; 0 for not at all.
    session_strength : float, default=1.5
        How strongly a listen depends on the one before in the same session.
    popularity_strength : float, default=0.5
        How strongly listens depend on the popularity of clips.
    missing_rate : float, default=0.1
        Probability that a clip has no lyrics, and that its sound is missing; every clip
        has one of them.
    untagged_rate : float, default=0.3
        Probability that nobody has tagged a clip.
    random_state : int, RandomState instance or None, default=None
        An int gives the same data every time.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        item_table : DataFrame of shape (n_clips, 5)
            item_id, title (str), lyrics (str), tags (str, separated by commas) and
            audio (bytes of a WAV file: 8 s, mono, 16 bit, 16 kHz). None if missing; an
            instrumental has a title, but no lyrics.
        interactions : DataFrame
            user_id, item_id, timestamp (datetime64), in order of time. No pair occurs
            twice.
        hums : DataFrame of shape (n_hums, 2)
            item_id, which is sought, and audio (bytes of a WAV file: 4 s), hummed in
            another key and tempo, not quite in tune. The index is called query. Empty
            if no clip has a sound.
        users : DataFrame of shape (n_users, 3)
            user_id and the true lean on ``text`` and ``audio``, which sum to 1.
        item_attributes : DataFrame of shape (n_clips, 5)
            theme, mood, instrument, tempo and beat, indexed by item id.
        affinity : callable
            ``affinity(users=None, items=None)`` is the true lasting taste, of shape
            (n_users, n_items).
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    See Also
    --------
    make_multimodal_interactions : Items with words, a picture and a sound.

    Notes
    -----
    Memory grows with the square of `n_clips`, as any of them may follow another.

    Examples
    --------
    >>> from skmmrec.datasets import make_music
    >>> data = make_music(n_users=20, n_clips=10, n_hums=3, random_state=0)
    >>> list(data.item_table)
    ['item_id', 'title', 'lyrics', 'tags', 'audio']
    >>> data.item_table["title"][0], data.item_table["tags"][0]
    ('Tearful Crowd', 'city, sad, guitar')
    """
    seed = int(check_random_state(random_state).randint(2**31))
    rng = np.random.default_rng(seed)
    items = numbered_ids("clip", n_clips, ITEM)
    attributes = {m: draw_attributes(v, n_clips, rng) for m, v in _ATTRIBUTES.items()}
    leans = draw_leans(_LEAN_CONCENTRATION, list(attributes), n_users, rng)
    affinity = draw_affinity(_ATTRIBUTES, attributes, leans, items, rng)
    table = pd.concat(attributes.values(), axis=1).set_axis(items)
    strengths = (taste_strength, session_strength, popularity_strength)
    listens = sample_listens(
        affinity, _follows(table), n_listens_per_user, strengths, rng
    )
    clips = [
        _Clip(row, np.random.default_rng([seed, n]))
        for n, row in enumerate(table.astype(str).to_dict("records"))
    ]
    content = _content(items, clips, missing_rate, untagged_rate, rng)
    audible = rng.permutation(np.flatnonzero(content["audio"].notna()))
    sought = np.resize(audible, n_hums if len(audible) else 0)
    return Bunch(
        item_table=content,
        interactions=listens,
        hums=_hum(clips, items, sought, rng),
        users=affinity.leans.reset_index(),
        item_attributes=table,
        affinity=affinity,
        DESCR=_DESCR.format(
            n_users=n_users,
            n_clips=n_clips,
            n_listens=len(listens),
            n_hums=len(sought),
        ),
    )


class _Clip:
    """A song with words, tags and sound, which its attributes and chance decide."""

    def __init__(self, attributes: Mapping[str, str], rng: np.random.Generator) -> None:
        scale = "minor" if rng.random() < _MINOR[attributes["mood"]] else "major"
        self.song = _songs.compose(attributes["tempo"], scale, rng)
        self.title, self.lyrics = _lyrics.write_lyrics(attributes, rng)
        self.sound = _songs.play(self.song, attributes, rng)
        self.tags = _tags(attributes, rng)


def _tags(attributes: Mapping[str, str], rng: np.random.Generator) -> str | None:
    """Name some of the attributes; a beat that is not there has no name."""
    words = [v for name, v in attributes.items() if (name, v) != ("beat", "none")]
    words = [f"{w} beat" if w in ("steady", "offbeat") else w for w in words]
    return ", ".join(w for w in words if rng.random() < _P_TAG) or None


def _content(
    items: pd.Index,
    clips: list[_Clip],
    missing_rate: float,
    untagged_rate: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Make the item table; None where a clip lacks something."""
    silent, wordless, untagged = rng.random((3, len(clips)))
    has_sound = silent >= missing_rate
    has_words = (wordless >= missing_rate) | ~has_sound
    has_tags = untagged >= untagged_rate
    rows = [
        {
            "title": clip.title,
            "lyrics": clip.lyrics if words else None,
            "tags": clip.tags if tags else None,
            "audio": clip.sound if sound else None,
        }
        for clip, words, tags, sound in zip(
            clips, has_words, has_tags, has_sound, strict=True
        )
    ]
    return pd.DataFrame(rows, index=items).reset_index()


def _follows(table: pd.DataFrame) -> NDArray[np.float64]:
    """How well each clip comes after each other: alike, but a step faster."""
    codes = {name: column.cat.codes.to_numpy() for name, column in table.items()}
    alike = [codes[name][:, None] == codes[name] for name in ("mood", "instrument")]
    faster = (codes["tempo"][:, None] + 1) % len(_songs.ATTRIBUTES["tempo"])
    parts = [*alike, faster == codes["tempo"]]
    return np.sum([(part - part.mean()) / (part.std() + 1e-12) for part in parts], 0)


def _hum(
    clips: list[_Clip], items: pd.Index, sought: NDArray, rng: np.random.Generator
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            ITEM: items[sought],
            "audio": [_songs.hum(clips[n].song, rng) for n in sought],
        },
        index=numbered_ids("hum", len(sought), "query"),
    )
