"""Generate short videos, and sessions of users who like what they see or hear."""

from __future__ import annotations

from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skmmrec.datasets import _films, _sounds
from skmmrec.datasets._files import keep, to_png
from skmmrec.datasets._sessions import Habits, draw_owners, sample_sessions
from skmmrec.datasets._taste import (
    TrueAffinity,
    draw_affinity,
    draw_attributes,
    draw_leans,
    draw_likings,
    numbered_ids,
)
from skmmrec.datasets._words import pick, upper_first
from skmmrec.interactions import ITEM

# Sounds that even an untrained network tells apart, as most users of this have one.
_HEARD: dict[str, tuple[str, ...]] = {
    "timbre": ("reed", "bell", "wind"),
    "register": ("low", "middle", "high"),
    "rhythm": ("drone", "pulse", "flutter"),
}
_ATTRIBUTES: dict[str, dict[str, tuple[str, ...]]] = {
    "image": _films.ATTRIBUTES,
    "sound": _HEARD,
}
_MODALITIES = list(_ATTRIBUTES)
_RATE = 16_000
# Seconds of a short, and of the card that it begins with. Long enough for several
# windows of 2 s, short enough that a hundred are made and encoded in half a minute.
_SECONDS = (3.0, 6.0)
_CARD_SECONDS = (0.3, 1.2)
_TITLES = (
    "{shape} over the {motif}, with {timbre}",
    "{palette} {motif} and a {shape}, {rhythm}",
    "a {rhythm} of {timbre} for a {palette} {shape}",
    "{timbre}, {register}: {motif} in {palette}",
)

_DESCR = """\
Generated shorts
----------------
{n_users} users, {n_items} videos of 3 to 6 seconds, {n_interactions} interactions in
{n_sessions} sessions.

Every video has hidden attributes: palette and motif of its landscape and the shape that
moves in front of it; timbre, register and rhythm of its sound. Some videos show a plain
card, some have hiss in place of music, some have no sound or no pictures at all: then
the other part tells. Every user likes some values of each attribute, and weighs
pictures and sound in a way of their own; in each session a mood comes on top.

Nothing here is taken from real people or real works.
"""


@validate_params(
    {
        "n_users": [Interval(Integral, 1, None, closed="left")],
        "n_items": [Interval(Integral, 1, None, closed="left")],
        "n_sessions_per_user": [Interval(Real, 1, None, closed="left")],
        "n_watched_per_session": [Interval(Real, 1, None, closed="left")],
        "missing_rate": [Interval(Real, 0, 1, closed="left")],
        "dull_rate": [Interval(Real, 0, 1, closed="left")],
        "lean_concentration": [Interval(Real, 0, None, closed="neither")],
        "taste_strength": [Interval(Real, 0, None, closed="left")],
        "popularity_strength": [Interval(Real, 0, None, closed="left")],
        "mood_strength": [Interval(Real, 0, None, closed="left")],
        "folder": [str, Path, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_shorts(
    n_users: int = 200,
    n_items: int = 120,
    *,
    n_sessions_per_user: float = 3,
    n_watched_per_session: float = 6,
    missing_rate: float = 0.1,
    dull_rate: float = 0.15,
    lean_concentration: float = 1.0,
    taste_strength: float = 2.0,
    popularity_strength: float = 0.5,
    mood_strength: float = 0.7,
    folder: str | Path | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Generate short videos, and sessions; frames and sounds decide who watches what.

    Parameters
    ----------
    n_users : int, default=200
        Number of users.
    n_items : int, default=120
        Number of videos. One takes about 0.1 s to make.
    n_sessions_per_user : float, default=3
        Mean number of sessions of a user.
    n_watched_per_session : float, default=6
        Mean number of videos in a session.
    missing_rate : float, default=0.1
        Probability that a video has no sound, and that it has no pictures.
    dull_rate : float, default=0.15
        Probability that its pictures show nothing but a card, and that its sound is
        nothing but hiss. Every video keeps one part that tells.
    lean_concentration : float, default=1.0
        Concentration of the symmetric Dirichlet distribution of the users' weights of
        pictures and sound (leans). Near 0, each user cares about one of them alone.
    taste_strength : float, default=2.0
        How strongly it depends on affinity what a user watches; 0 for not at all.
    popularity_strength : float, default=0.5
        How strongly it depends on the popularity of videos.
    mood_strength : float, default=0.7
        Weight of a session's own mood beside the lasting taste; 0 for none.
    folder : str or Path, default=None
        Where to write the videos; the items then have paths. None keeps them in
        memory, about 80 kB each.
    random_state : int, RandomState instance or None, default=None
        An int gives the same videos every time, with one version of PyAV.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        item_table : DataFrame of shape (n_items, 5)
            item_id, title (str), video (MP4 as bytes or, with `folder`, as path),
            cover (PNG of a frame as bytes; None without pictures), and seconds (float).
        interactions : DataFrame
            user_id, item_id, session_id (int), watched (share of the video, 0 to 1),
            timestamp (datetime64), in order of time. No pair occurs twice.
        users : DataFrame of shape (n_users, 3)
            user_id and the true lean on image and sound; the leans sum to 1.
        item_attributes : DataFrame of shape (n_items, 6)
            The hidden attributes, indexed by item id, also of parts that do not tell.
        item_parts : DataFrame of shape (n_items, 2)
            Of image and of sound: "tells", "dull" or "missing", indexed by item id.
        affinity : callable
            ``affinity(users=None, items=None)`` is the true lasting affinity of the
            given ids, of shape (n_users, n_items); ``affinity.by_modality`` splits it.
        DESCR : str
            Description.

    Raises
    ------
    ImportError
        If PyAV is not installed.
    ValueError
        If an argument is out of its range.
    FileExistsError
        If `folder` is a file.

    See Also
    --------
    make_multimodal_interactions : Items with texts, pictures and sounds.

    Notes
    -----
    A part that does not tell adds nothing to the affinity: there is nothing to like.
    Memory is linear in the sessions times the items.

    Examples
    --------
    >>> from skmmrec.datasets import make_shorts
    >>> data = make_shorts(20, 4, random_state=0)
    >>> list(data.item_table)
    ['item_id', 'title', 'video', 'cover', 'seconds']
    >>> data.item_table.video[0][4:8]
    b'ftyp'
    >>> list(data.interactions)
    ['user_id', 'item_id', 'session_id', 'watched', 'timestamp']
    """
    seed = int(check_random_state(random_state).randint(2**31))
    rng = np.random.default_rng(seed)
    attributes = {m: draw_attributes(_ATTRIBUTES[m], n_items, rng) for m in _MODALITIES}
    parts = _draw_parts(n_items, missing_rate, dull_rate, rng)
    seconds = np.round(rng.uniform(*_SECONDS, n_items), 1)
    affinity = _draw_affinity(attributes, parts, n_users, lean_concentration, rng)
    owner = draw_owners(n_users, n_sessions_per_user, rng)
    moods = {m: draw_likings(_ATTRIBUTES[m], len(owner), rng) for m in _MODALITIES}
    habits = Habits(
        n_watched_per_session, taste_strength, popularity_strength, mood_strength
    )
    interactions = sample_sessions(affinity, moods, owner, seconds, habits, rng)
    hidden = pd.concat(attributes.values(), axis=1).set_axis(affinity.items)
    return Bunch(
        item_table=_make_items(hidden, parts, seconds, folder, seed),
        interactions=interactions,
        users=affinity.leans.reset_index(),
        item_attributes=hidden,
        item_parts=parts.set_axis(affinity.items),
        affinity=affinity,
        DESCR=_DESCR.format(
            n_users=n_users,
            n_items=n_items,
            n_interactions=len(interactions),
            n_sessions=len(owner),
        ),
    )


def _draw_parts(
    n_items: int, missing: float, dull: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw whether image and sound tell, are dull or missing; one of them tells."""
    chance = rng.random((n_items, 2))
    state = np.where(chance < missing, "missing", "tells")
    state[(chance >= missing) & (chance < missing + (1 - missing) * dull)] = "dull"
    none_tells = (state != "tells").all(axis=1)
    kept = rng.integers(2, size=n_items)
    state[np.flatnonzero(none_tells), kept[none_tells]] = "tells"
    return pd.DataFrame(state, columns=_MODALITIES)


def _draw_affinity(
    attributes: dict[str, pd.DataFrame],
    parts: pd.DataFrame,
    n_users: int,
    concentration: float,
    rng: np.random.Generator,
) -> TrueAffinity:
    leans = draw_leans(concentration, _MODALITIES, n_users, rng)
    items = numbered_ids("short", len(parts), ITEM)
    affinity = draw_affinity(_ATTRIBUTES, attributes, leans, items, rng)
    for part, factors in affinity.item_factors.items():
        factors[parts[part] != "tells"] = 0
    return affinity


def _make_items(
    hidden: pd.DataFrame,
    parts: pd.DataFrame,
    seconds: NDArray,
    folder: str | Path | None,
    seed: int,
) -> pd.DataFrame:
    kept_in = None if folder is None else Path(folder)
    rows = []
    for n, (item, row) in enumerate(hidden.astype(str).iterrows()):
        rng = np.random.default_rng([seed, n])
        title = upper_first(pick(rng, _TITLES).format(**row))
        video, cover = _make_short(dict(row), parts.loc[n], seconds[n], rng)
        kept = keep(video, kept_in, f"{item}.mp4")
        rows.append((item, title, kept, cover, seconds[n]))
    return pd.DataFrame(rows, columns=[ITEM, "title", "video", "cover", "seconds"])


def _make_short(
    row: dict[str, str], part: pd.Series, seconds: float, rng: np.random.Generator
) -> tuple[bytes, bytes | None]:
    """Return the video and its cover."""
    n_frames = round(seconds * _films.FPS)
    n_card = round(rng.uniform(*_CARD_SECONDS) * _films.FPS)
    frames = None
    if part["image"] == "dull":
        frames = [_films.draw_card()] * n_frames
    elif part["image"] == "tells":
        frames = _films.draw_film(row, rng, n_frames, n_card)
    sound = None
    if part["sound"] != "missing":
        begins = n_card / _films.FPS * rng.uniform(0, 1.5)
        sound = _soundtrack(row, part["sound"] == "dull", begins, seconds, rng)
    video = _films.write_video(frames, sound, _RATE)
    return video, None if frames is None else to_png(frames[n_frames // 2])


def _soundtrack(
    row: dict[str, str],
    is_dull: bool,
    begins: float,
    seconds: float,
    rng: np.random.Generator,
) -> NDArray:
    """Return music that begins some time into the short, over hiss; or hiss alone."""
    hiss = rng.uniform(0.002, 0.02) * rng.standard_normal(round(seconds * _RATE))
    if is_dull:
        return hiss
    music = _sounds.synthesise(row, rng, seconds - begins, _RATE)
    hiss[-len(music) :] += music
    return hiss
