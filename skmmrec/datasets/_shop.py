"""Generate a shop in which words, photos and prices decide who buys what."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skmmrec.datasets._goods import COLOURS, KINDS, PATTERNS, Look, photograph
from skmmrec.datasets._sampling import sample_interactions
from skmmrec.datasets._shop_words import CHARACTERS, PURPOSES, write_offer
from skmmrec.datasets._taste import (
    TrueAffinity,
    draw_affinity,
    draw_attributes,
    draw_leans,
    numbered_ids,
)
from skmmrec.datasets._words import pick
from skmmrec.interactions import ITEM, USER, RandomState, as_frame

# Price in euros of a good of the middle class, by kind.
_PRICES = dict(zip(KINDS, (14, 22, 59, 28, 24, 68, 19, 12), strict=True))
# What a class of price multiplies it by.
_CLASSES = {"budget": 0.6, "middle": 1.0, "premium": 1.8}
# Brands, and what their goods are rated above or below the others, in stars.
_BRANDS = {
    "Ahorn": 0.9,
    "Brise": 0.5,
    "Corvo": 0.2,
    "Dorn": -0.1,
    "Elster": -0.5,
    "Falke": -1.0,
}
# What tastes depend on, by where a customer finds it.
_ATTRIBUTES: dict[str, dict[str, tuple[str, ...]]] = {
    "kind": {"kind": tuple(KINDS)},
    "text": {"purpose": tuple(PURPOSES), "character": tuple(CHARACTERS)},
    "image": {"colour": tuple(COLOURS), "pattern": PATTERNS},
    "price": {"price_class": tuple(_CLASSES)},
}
# Of the goods that customers look at and neither love nor hate, they buy one in eight.
_BUYS = -2.0
# How much more often one buys what one likes: by a factor of about 6 for a liking of 1.
_EAGER = 1.8
# Who bought something and says how it is.
_RATES = 0.6
# Further down in a list, fewer look.
_LOOKS_ON = 0.85

_DESCR = """\
Generated shop
--------------
{n_users} customers, {n_items} goods, {n_interactions} visits of a page.

Every good has independent hidden attributes: its kind; purpose and character, which its
words tell; colour and pattern, which its photo shows; a class of price; and a brand,
which is good or bad. Customers like some values of each, and care more about one than
about another. They visit what they like and what is popular, buy some of it, and rate
some of that, by how much they like it and by its brand.

Nothing here is taken from real people, brands or works.
"""


@validate_params(
    {
        "n_users": [Interval(Integral, 1, None, closed="left")],
        "n_items": [Interval(Integral, 1, None, closed="left")],
        "n_visits_per_user": [Interval(Real, 1, None, closed="left")],
        "missing_rate": [Interval(Real, 0, 1, closed="left")],
        "n_uploads": [Interval(Integral, 0, None, closed="left")],
        "image_size": [Interval(Integral, 16, 4096, closed="both")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_shop(
    n_users: int = 300,
    n_items: int = 200,
    *,
    n_visits_per_user: float = 12,
    missing_rate: float = 0.1,
    n_uploads: int = 20,
    image_size: int = 128,
    random_state: RandomState = None,
) -> Bunch:
    r"""Generate a shop; words, photos and prices decide who buys what.

    Parameters
    ----------
    n_users : int, default=300
        Number of customers.
    n_items : int, default=200
        Number of goods.
    n_visits_per_user : float, default=12
        Mean number of goods whose page a customer visits; log-normal over the
        customers, and never more than there are.
    missing_rate : float, default=0.1
        Probability that a good has no photo, and that it has no description.
    n_uploads : int, default=20
        Number of photos that customers took of other things.
    image_size : int, default=128
        Side of the photos in pixels.
    random_state : int, RandomState instance or None, default=None
        An int gives the same bytes every time.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        item_table : DataFrame of shape (n_items, 6)
            item_id, title, description (str, None if missing), image (PNG as bytes,
            None if missing), price (float, euros), brand (str).
        interactions : DataFrame
            A row for each visit of a page, in order of time: user_id, item_id,
            timestamp (datetime64), bought (0.0 or 1.0), and rating (1.0 to 5.0; NaN of
            what was not bought or not rated). No pair occurs twice, and no two rows of
            a user have the same time.
        users : DataFrame of shape (n_users, 5)
            user_id and how much each customer cares about the kind, the text, the image
            and the price; these sum to 1.
        item_attributes : DataFrame of shape (n_items, 6)
            The hidden attributes, indexed by item id: kind, purpose, character, colour,
            pattern, price_class.
        uploads : DataFrame of shape (n_uploads, 4)
            image (PNG as bytes), and what it shows: kind, colour, pattern.
        affinity : callable
            ``affinity(users=None, items=None)`` is the true affinity of the given ids,
            of shape (n_users, n_items); ``affinity.by_modality`` splits it.
        show : callable
            ``show(lists, random_state=None)`` shows lists, as `recommend` gives them,
            to their customers, and returns them with the columns ``looked`` and
            ``bought`` (bool). One who looks at a good looks at the next one below with
            a probability of 0.85; who looks buys it as on a visit.
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    See Also
    --------
    make_multimodal_interactions : Works with words, pictures and sounds.

    Examples
    --------
    >>> from skmmrec.datasets import make_shop
    >>> shop = make_shop(20, 10, random_state=0)
    >>> list(shop.item_table)
    ['item_id', 'title', 'description', 'image', 'price', 'brand']
    >>> list(shop.interactions)
    ['user_id', 'item_id', 'timestamp', 'bought', 'rating']
    >>> shop.uploads.image[0][:4]
    b'\x89PNG'
    """
    seed = int(check_random_state(random_state).randint(2**31))
    rng = np.random.default_rng(seed)
    attributes = {
        name: draw_attributes(values, n_items, rng)
        for name, values in _ATTRIBUTES.items()
    }
    affinity = _draw_affinity(attributes, n_users, rng)
    hidden = pd.concat(attributes.values(), axis=1).set_axis(affinity.items)
    items = _offers(hidden, missing_rate, image_size, seed)
    interactions = _visits(affinity, items, n_visits_per_user, rng)
    return Bunch(
        item_table=items,
        interactions=interactions,
        users=affinity.leans.reset_index(),
        item_attributes=hidden,
        uploads=_uploads(n_uploads, image_size, rng),
        affinity=affinity,
        show=_Customers(affinity).show,
        DESCR=_DESCR.format(
            n_users=n_users, n_items=n_items, n_interactions=len(interactions)
        ),
    )


def _draw_affinity(
    attributes: dict[str, pd.DataFrame], n_users: int, rng: np.random.Generator
) -> TrueAffinity:
    # Words and photos count most, on average about the same; each customer differs.
    leans = draw_leans([0.8, 2.2, 2.0, 0.8], list(attributes), n_users, rng)
    items = numbered_ids("item", len(attributes["kind"]), ITEM)
    affinity = draw_affinity(_ATTRIBUTES, attributes, leans, items, rng)
    # A sum of parts whose weights sum to 1 varies less than one part: by this factor.
    scale = 1 / np.sqrt((leans.to_numpy() ** 2).sum(axis=1).mean())
    for likings in affinity.user_factors.values():
        likings *= np.float32(scale)
    return affinity


def _offers(
    hidden: pd.DataFrame, missing_rate: float, image_size: int, seed: int
) -> pd.DataFrame:
    """Write and draw the goods, with a seed for each."""
    rows = []
    for n, good in enumerate(hidden.astype(str).itertuples()):
        rng = np.random.default_rng([seed, n])
        title, description = write_offer(good.kind, good.purpose, good.character, rng)
        look = Look(good.kind, good.colour, good.pattern)
        lacks = rng.random(2) < missing_rate
        rows.append(
            {
                ITEM: good.Index,
                "title": title,
                "description": None if lacks[0] else description,
                "image": None if lacks[1] else photograph(look, rng, image_size),
                "price": _price(good.kind, good.price_class, rng),
                "brand": pick(rng, tuple(_BRANDS)),
            }
        )
    return pd.DataFrame(rows)


def _price(kind: str, price_class: str, rng: np.random.Generator) -> float:
    price = _PRICES[kind] * _CLASSES[price_class] * rng.lognormal(0, 0.12)
    return max(1, round(price)) - 0.05


def _visits(
    affinity: TrueAffinity,
    items: pd.DataFrame,
    n_per_user: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw which pages customers visit, what they buy, and how they rate it."""
    strength, popularity = 1.0, 0.7
    ids = items[ITEM].to_numpy()
    rows = sample_interactions(affinity, ids, n_per_user, strength, popularity, rng)
    liked = _liked(affinity, rows)
    bought = rng.random(len(rows)) < _buys(liked)
    quality = rows[ITEM].map(items.set_index(ITEM)["brand"].map(_BRANDS)).to_numpy()
    stars = 2.4 + 0.7 * liked + quality + rng.normal(0, 0.5, len(rows))
    rates = bought & (rng.random(len(rows)) < _RATES)
    rating = np.where(rates, np.clip(np.rint(stars), 1, 5), np.nan)
    return rows.drop(columns="rating").assign(
        bought=bought.astype(float), rating=rating
    )


def _liked(affinity: TrueAffinity, pairs: pd.DataFrame) -> NDArray[np.float32]:
    """Return the true affinity of each row's user to its item."""
    users, row = np.unique(pairs[USER].to_numpy(object), return_inverse=True)
    items, column = np.unique(pairs[ITEM].to_numpy(object), return_inverse=True)
    return affinity(users, items)[row, column]


def _buys(liked: NDArray) -> NDArray[np.float64]:
    probability: NDArray[np.float64] = 1 / (1 + np.exp(-_BUYS - _EAGER * liked))
    return probability


def _uploads(n: int, image_size: int, rng: np.random.Generator) -> pd.DataFrame:
    looks = [
        Look(*(str(rng.choice(list(values))) for values in (KINDS, COLOURS, PATTERNS)))
        for _ in range(n)
    ]
    photos = [photograph(look, rng, image_size, is_snapshot=True) for look in looks]
    shown = pd.DataFrame(looks, columns=list(Look._fields))
    return pd.concat([pd.Series(photos, name="image", dtype=object), shown], axis=1)


@dataclass(frozen=True)
class _Customers:
    """Those who see lists and buy."""

    affinity: TrueAffinity

    def show(
        self, lists: pd.DataFrame, random_state: RandomState = None
    ) -> pd.DataFrame:
        """Show lists to their customers; `make_shop` tells what they do.

        Parameters
        ----------
        lists : DataFrame
            Columns user_id, item_id and rank, as `recommend` gives them.
        random_state : int, RandomState instance or None, default=None
            Seed of what they do.

        Returns
        -------
        DataFrame
            `lists` with the columns looked and bought (bool).

        Raises
        ------
        ValueError
            For an unknown user or item, or a missing column.
        """
        lists = _with_columns(lists, [USER, ITEM, "rank"])
        rng = check_random_state(random_state)
        patience = pd.Series(rng.geometric(1 - _LOOKS_ON, lists[USER].nunique()))
        by_user = patience.set_axis(lists[USER].unique())
        looked = (lists["rank"] <= lists[USER].map(by_user)).to_numpy()
        wanted = rng.random_sample(len(lists)) < _buys(_liked(self.affinity, lists))
        return lists.assign(looked=looked, bought=looked & wanted)


def _with_columns(lists: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    table = as_frame(lists)
    lacking = [name for name in columns if table is None or name not in table]
    if table is None or lacking:
        raise ValueError(
            f"lists must be a DataFrame with the columns {columns}, as recommend gives "
            f"it; it has no column {lacking[0]!r}"
        )
    return table
