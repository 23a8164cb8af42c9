"""Generate a feed: posts that come every hour, and who likes what they say and show."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skmmrec.datasets import _pictures, _social_words
from skmmrec.datasets._sampling import draw_activity, draw_without_replacement
from skmmrec.datasets._taste import (
    TrueAffinity,
    draw_affinity,
    draw_attributes,
    numbered_ids,
)
from skmmrec.datasets._words import pick
from skmmrec.interactions import ITEM, TIME, USER

_START = np.datetime64("2024-06-03T00:00:00", "s")
_HOUR = 3600  # seconds
# A post is seen for a day, and its reach halves every six hours.
_LIVES, _HALVES = 24, 6
_VALUES: dict[str, dict[str, tuple[str, ...]]] = {
    "text": _social_words.ATTRIBUTES,
    "image": {k: _pictures.ATTRIBUTES[k] for k in ("palette", "motif")},
}
# How far above the posts of newcomers those of authors with many followers are seen,
# in standard deviations of the popularity of posts.
_FOLLOWED = 1.5

_DESCR = """\
Generated feed of a social network
----------------------------------
{n_users} users, {n_posts} posts of {n_authors} authors in {n_hours} hours, {n_likes}
likes.

Every post has a topic and a mood, in English or Chinese; every other post has a picture
with a palette and a motif. Users like some values of each, weigh words and pictures
differently, and read one of the languages or both. What they like among the posts of
the last day was drawn from these tastes, from the posts' popularity and age. A fifth of
the authors is established: they post more, and their posts are seen more.

Nothing here is taken from real people or real posts.
"""


@validate_params(
    {
        "n_users": [Interval(Integral, 1, None, closed="left")],
        "n_authors": [Interval(Integral, 2, None, closed="left")],
        "n_hours": [Interval(Integral, 2, None, closed="left")],
        "n_posts_per_hour": [Interval(Real, 0, None, closed="neither")],
        "n_likes_per_day": [Interval(Real, 0, None, closed="neither")],
        "chinese_share": [Interval(Real, 0, 1, closed="both")],
        "picture_rate": [Interval(Real, 0, 1, closed="both")],
        "taste_strength": [Interval(Real, 0, None, closed="left")],
        "popularity_strength": [Interval(Real, 0, None, closed="left")],
        "image_size": [Interval(Integral, 16, 4096, closed="both")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_social_feed(
    n_users: int = 200,
    n_authors: int = 60,
    *,
    n_hours: int = 72,
    n_posts_per_hour: float = 12,
    n_likes_per_day: float = 12,
    chinese_share: float = 0.5,
    picture_rate: float = 0.5,
    taste_strength: float = 4.0,
    popularity_strength: float = 0.7,
    image_size: int = 96,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Generate posts in two languages that come by the hour, and who likes them.

    Parameters
    ----------
    n_users : int, default=200
        Number of users, of whom 30 % join while the feed runs.
    n_authors : int, default=60
        Number of authors, of whom a fifth is established and the others are newcomers.
    n_hours : int, default=72
        Length of the feed.
    n_posts_per_hour : float, default=12
        Mean number of posts in an hour: fewer at night, more in the evening.
    n_likes_per_day : float, default=12
        Mean number of likes of a user in a day; log-normal over the users.
    chinese_share : float, default=0.5
        Probability that an author writes, or a user reads, Chinese rather than English.
        A quarter of the users reads both.
    picture_rate : float, default=0.5
        Probability that a post has a picture.
    taste_strength : float, default=4.0
        How strongly likes depend on affinity; 0 for not at all.
    popularity_strength : float, default=0.7
        How strongly likes depend on the popularity of posts and authors.
    image_size : int, default=96
        Side of the pictures in pixels.
    random_state : int, RandomState instance or None, default=None
        An int gives the same bytes every time.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        item_table : DataFrame of shape (n_posts, 6)
            item_id, author_id, language ("en" or "zh"), text (str), image (PNG as
            bytes, None if there is none) and timestamp (datetime64), in order of time.
        interactions : DataFrame
            The likes: user_id, item_id and timestamp, in order of time. A post is liked
            in the 24 hours after the hour in which it came. No pair occurs twice.
        users : DataFrame of shape (n_users, 5)
            user_id, reads ("en", "zh" or "both"), joined (datetime64) and the true lean
            on text and image; the leans sum to 1.
        authors : DataFrame of shape (n_authors, 3)
            author_id, language and group ("established" or "newcomer").
        item_attributes : DataFrame of shape (n_posts, 4)
            The hidden topic, mood, palette and motif, indexed by item id.
        affinity : callable
            ``affinity(users=None, items=None)`` is the true affinity of the given ids,
            of shape (n_users, n_items), whatever languages they read; a picture that a
            post does not have adds nothing.
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If an argument is out of its range, or so few posts are asked for that there is
        none.

    Examples
    --------
    >>> from skmmrec.datasets import make_social_feed
    >>> data = make_social_feed(20, 6, n_hours=30, random_state=0)
    >>> list(data.item_table)
    ['item_id', 'author_id', 'language', 'text', 'image', 'timestamp']
    >>> sorted(data.authors["group"].unique())
    ['established', 'newcomer']
    """
    seed = int(check_random_state(random_state).randint(2**31))
    rng = np.random.default_rng(seed)
    authors = _draw_authors(n_authors, chinese_share, rng)
    posts = _draw_posts(authors, n_hours, n_posts_per_hour, rng)
    attributes = {m: draw_attributes(_VALUES[m], len(posts), rng) for m in _VALUES}
    has_picture = rng.random(len(posts)) < picture_rate
    users = _draw_users(n_users, n_hours, chinese_share, rng)
    affinity = _draw_affinity(users, posts, attributes, has_picture, rng)
    fame = rng.standard_normal(len(posts)) + _FOLLOWED * posts["is_established"]
    logits = taste_strength * affinity() + popularity_strength * fame.to_numpy()
    logits[~_can_read(users, posts)] = -np.inf  # never liked
    likes = _draw_likes(logits, users, posts, n_hours, n_likes_per_day, rng)
    table = posts.drop(columns=["hour", "is_established"])
    words, pictures = _render(posts, attributes, has_picture, seed, image_size)
    table.insert(3, "text", words)
    table.insert(4, "image", pictures)
    return Bunch(
        item_table=table,
        interactions=likes,
        users=users.drop(columns="hour"),
        authors=authors,
        item_attributes=pd.concat(attributes.values(), axis=1).set_axis(affinity.items),
        affinity=affinity,
        DESCR=_DESCR.format(
            n_users=n_users,
            n_posts=len(posts),
            n_authors=n_authors,
            n_hours=n_hours,
            n_likes=len(likes),
        ),
    )


def _draw_authors(n: int, chinese: float, rng: np.random.Generator) -> pd.DataFrame:
    n_established = max(1, n // 5)
    return pd.DataFrame(
        {
            "author_id": numbered_ids("author", n, "author_id"),
            "language": np.where(rng.random(n) < chinese, "zh", "en"),
            "group": np.where(np.arange(n) < n_established, "established", "newcomer"),
        }
    )


def _draw_posts(
    authors: pd.DataFrame, n_hours: int, per_hour: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw when posts come, and from whom: the established write twice as often."""
    counts = rng.poisson(per_hour * _activity(np.arange(n_hours)))
    hour = np.repeat(np.arange(n_hours), counts)
    if not len(hour):
        raise ValueError(
            f"there is no post in n_hours={n_hours} hours: raise n_posts_per_hour, "
            f"which is {per_hour}"
        )
    is_established = (authors["group"] == "established").to_numpy()
    weights = 1.0 + is_established
    who = rng.choice(len(authors), size=len(hour), p=weights / weights.sum())
    seconds = np.sort(hour * _HOUR + rng.integers(_HOUR, size=len(hour)))
    return pd.DataFrame(
        {
            ITEM: numbered_ids("post", len(hour), ITEM, width=5),
            "author_id": authors["author_id"].to_numpy()[who],
            "language": authors["language"].to_numpy()[who],
            TIME: _START + seconds.astype("timedelta64[s]"),
            "hour": hour,
            "is_established": is_established[who],
        }
    )


def _activity(hour: NDArray[np.int64]) -> NDArray[np.float64]:
    """How busy an hour of the day is: 1 on average, most at 8 p.m."""
    return 1 + 0.7 * np.cos(2 * np.pi * (hour - 20) / 24)


def _draw_users(
    n: int, n_hours: int, chinese: float, rng: np.random.Generator
) -> pd.DataFrame:
    reads = np.where(rng.random(n) < chinese, "zh", "en").astype("U4")
    reads[rng.random(n) < 0.25] = "both"
    is_late = rng.random(n) < 0.3
    hour = np.where(is_late, rng.integers(n_hours, size=n), 0)
    text = rng.beta(1.0, 1.0, n)
    return pd.DataFrame(
        {
            USER: numbered_ids("user", n, USER),
            "reads": reads,
            "joined": _START + (hour * _HOUR).astype("timedelta64[s]"),
            "text": text,
            "image": 1 - text,
            "hour": hour,
        }
    )


def _draw_affinity(
    users: pd.DataFrame,
    posts: pd.DataFrame,
    attributes: dict[str, pd.DataFrame],
    has_picture: NDArray[np.bool_],
    rng: np.random.Generator,
) -> TrueAffinity:
    leans, items = users.set_index(USER)[list(_VALUES)], pd.Index(posts[ITEM])
    affinity = draw_affinity(_VALUES, attributes, leans, items, rng)
    affinity.item_factors["image"][~has_picture] = 0
    return affinity


def _can_read(users: pd.DataFrame, posts: pd.DataFrame) -> NDArray[np.bool_]:
    reads = users["reads"].to_numpy()[:, None]
    return (reads == "both") | (reads == posts["language"].to_numpy())


def _draw_likes(
    logits: NDArray,
    users: pd.DataFrame,
    posts: pd.DataFrame,
    n_hours: int,
    per_day: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw hour by hour who likes which of the posts of the last day."""
    rates = draw_activity(len(users), per_day / 24, rng)
    posted, joined = posts["hour"].to_numpy(), users["hour"].to_numpy()
    free = logits.copy()
    frames = []
    for hour in range(1, n_hours):
        low, high = np.searchsorted(posted, [hour - _LIVES, hour])
        counts = rng.poisson(rates * _activity(np.array(hour))) * (joined <= hour)
        active = np.flatnonzero(counts)
        if high == low or not len(active):
            continue
        fading = np.log(2) / _HALVES * (hour - posted[low:high])
        counts = np.minimum(counts[active], high - low)
        row, column = draw_without_replacement(
            free[active, low:high] - fading, counts, rng
        )
        user, post = active[row], low + column
        allowed = np.isfinite(free[user, post])
        user, post = user[allowed], post[allowed]
        free[user, post] = -np.inf
        when = hour * _HOUR + rng.integers(_HOUR, size=len(user))
        frames.append(np.stack([user, post, when]))
    user, post, when = np.concatenate([np.empty((3, 0), int), *frames], axis=1)
    likes = pd.DataFrame(
        {
            USER: users[USER].to_numpy()[user],
            ITEM: posts[ITEM].to_numpy()[post],
            TIME: _START + when.astype("timedelta64[s]"),
        }
    )
    return likes.sort_values([TIME, USER, ITEM], ignore_index=True)


def _render(
    posts: pd.DataFrame,
    attributes: dict[str, pd.DataFrame],
    has_picture: NDArray[np.bool_],
    seed: int,
    size: int,
) -> tuple[list[str], list[bytes | None]]:
    """Write and draw each post from a seed of its own."""
    texts, images = (attributes[m].astype(str).to_dict("records") for m in _VALUES)
    words: list[str] = []
    pictures: list[bytes | None] = []
    for n, language in enumerate(posts["language"]):
        rng = np.random.default_rng([seed, n])
        words.append(_social_words.write_post(**texts[n], language=language, rng=rng))
        texture = pick(rng, _pictures.ATTRIBUTES["texture"])
        look = images[n] | {"texture": texture}
        drawn = _pictures.draw_picture(look, rng, size) if has_picture[n] else None
        pictures.append(drawn)
    return words, pictures
