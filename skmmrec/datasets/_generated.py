"""Generate a catalogue in which tastes depend on texts, pictures and sounds."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from skmmrec.datasets import _pictures, _sounds, _words
from skmmrec.datasets._files import keep
from skmmrec.datasets._sampling import sample_interactions
from skmmrec.datasets._taste import (
    draw_affinity,
    draw_attributes,
    draw_leans,
    numbered_ids,
)
from skmmrec.interactions import ITEM

_ATTRIBUTES = {
    "text": _words.ATTRIBUTES,
    "image": _pictures.ATTRIBUTES,
    "audio": _sounds.ATTRIBUTES,
}
_SUFFIXES = {"image": ".png", "audio": ".wav"}

_DESCR = """\
Generated multimodal interactions
---------------------------------
{n_users} users, {n_items} items, {n_interactions} interactions.

Every item has independent hidden attributes: theme and tone of its text; palette,
motif and texture of its picture; timbre, register and rhythm of its sound. Every user
likes some values of each attribute, and weights the modalities differently. The
interactions were drawn from these tastes and from the items' popularity. So texts,
pictures and sounds tell who likes what.

Nothing here is taken from real people or real works.
"""


@validate_params(
    {
        "n_users": [Interval(Integral, 1, None, closed="left")],
        "n_items": [Interval(Integral, 1, None, closed="left")],
        "n_interactions_per_user": [Interval(Real, 1, None, closed="left")],
        "modalities": ["array-like"],
        "lean_concentration": [Interval(Real, 0, None, closed="neither")],
        "taste_strength": [Interval(Real, 0, None, closed="left")],
        "popularity_strength": [Interval(Real, 0, None, closed="left")],
        "n_cold_items": [Interval(Integral, 0, None, closed="left")],
        "missing_rate": [Interval(Real, 0, 1, closed="left")],
        "image_size": [Interval(Integral, 16, 4096, closed="both")],
        "audio_seconds": [Interval(Real, 0.1, 60, closed="both")],
        "sample_rate": [Interval(Integral, 4000, 192_000, closed="both")],
        "folder": [str, Path, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_multimodal_interactions(
    n_users: int = 200,
    n_items: int = 300,
    *,
    n_interactions_per_user: float = 20,
    modalities: Sequence[str] = ("text", "image", "audio"),
    lean_concentration: float = 0.5,
    taste_strength: float = 3.0,
    popularity_strength: float = 0.7,
    n_cold_items: int = 0,
    missing_rate: float = 0.0,
    image_size: int = 128,
    audio_seconds: float = 1.5,
    sample_rate: int = 16_000,
    folder: str | Path | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Generate users and items; texts, pictures and sounds decide who likes what.

    Parameters
    ----------
    n_users : int, default=200
        Number of users.
    n_items : int, default=300
        Number of items.
    n_interactions_per_user : float, default=20
        Mean number of items per user; log-normal over the users, and never more than
        there are.
    modalities : sequence of {"text", "image", "audio"}, default=all three
        The modalities of items, on which tastes depend. Leaving one out saves the time
        to render it.
    lean_concentration : float, default=0.5
        Concentration of the symmetric Dirichlet distribution of the users' weights of
        the modalities (leans). Near 0, each user cares about a single modality; if
        large, about all equally.
    taste_strength : float, default=3.0
        How strongly interactions depend on affinity; 0 for not at all.
    popularity_strength : float, default=0.7
        How strongly interactions depend on the popularity of items.
    n_cold_items : int, default=0
        Number of items without interactions, chosen at random.
    missing_rate : float, default=0.0
        Probability that an item lacks a modality; every item keeps at least one.
    image_size : int, default=128
        Side of the pictures in pixels.
    audio_seconds : float, default=1.5
        Length of the sounds.
    sample_rate : int, default=16000
        Samples per second of the sounds.
    folder : str or Path, default=None
        Where to write pictures and sounds, in ``image/`` and ``audio/``; the items then
        have paths. None keeps them in memory: about 8 kB per picture, 48 kB per sound.
    random_state : int, RandomState instance or None, default=None
        An int gives the same bytes every time.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        item_table : DataFrame of shape (n_items, 1 + n_columns)
            item_id, and per modality: title and description (str), image (PNG), audio
            (mono 16-bit WAV) as bytes or, with `folder`, as path. None if missing.
        interactions : DataFrame
            user_id, item_id, rating (float, 1 to 5), timestamp (datetime64), in order
            of time. No pair occurs twice, and no two rows of a user have the same time.
        users : DataFrame of shape (n_users, 1 + n_modalities)
            user_id and the true lean on each modality; the leans sum to 1.
        item_attributes : DataFrame of shape (n_items, n_attributes)
            The hidden attributes, indexed by item id.
        user_factors, item_factors : dict of str to ndarray
            Per modality, how much each user likes each attribute value, and which
            values each item has (0 or 1), float32.
        affinity : callable
            ``affinity(users=None, items=None)`` is the true affinity of the given ids,
            of shape (n_users, n_items); ``affinity.by_modality`` splits it. It is
            computed when called.
        cold_items : ndarray of shape (n_cold_items,)
            Ids of the items without interactions.
        DESCR : str
            Description.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    FileExistsError
        If `folder` is a file.

    Notes
    -----
    Time is linear in `n_users` and `n_items`. With more than 4,096 items, each block of
    256 users chooses among a random 4,096 of them. A missing modality still counts in
    the affinity to an item, though its content cannot be seen.

    Examples
    --------
    >>> from skmmrec.datasets import make_multimodal_interactions
    >>> data = make_multimodal_interactions(20, 10, random_state=0)
    >>> list(data.item_table)
    ['item_id', 'title', 'description', 'image', 'audio']
    >>> data.item_table.image[0][:4]
    b'\x89PNG'
    >>> list(data.interactions)
    ['user_id', 'item_id', 'rating', 'timestamp']
    >>> data.affinity(users=["user-0003"]).shape
    (1, 10)
    """
    kinds = _check_modalities(modalities)
    if n_cold_items >= n_items:
        raise ValueError(
            f"n_cold_items must be below n_items ({n_items}), got {n_cold_items}"
        )
    seed = int(check_random_state(random_state).randint(2**31))
    rng = np.random.default_rng(seed)
    attributes = {m: draw_attributes(_ATTRIBUTES[m], n_items, rng) for m in kinds}
    leans = draw_leans(lean_concentration, kinds, n_users, rng)
    index = numbered_ids("item", n_items, ITEM)
    affinity = draw_affinity(_ATTRIBUTES, attributes, leans, index, rng)
    ids = affinity.items.to_numpy()
    cold = np.sort(rng.permutation(n_items)[:n_cold_items])
    interactions = sample_interactions(
        affinity,
        np.delete(ids, cold),
        n_interactions_per_user,
        taste_strength,
        popularity_strength,
        rng,
    )
    present = _draw_present(n_items, len(kinds), missing_rate, rng)
    columns = _Renderer(seed, image_size, audio_seconds, sample_rate, folder).render(
        ids, attributes, dict(zip(kinds, present.T, strict=True))
    )
    return Bunch(
        item_table=pd.DataFrame({ITEM: ids, **columns}),
        interactions=interactions,
        users=affinity.leans.reset_index(),
        item_attributes=pd.concat(attributes.values(), axis=1).set_axis(affinity.items),
        user_factors=affinity.user_factors,
        item_factors=affinity.item_factors,
        affinity=affinity,
        cold_items=ids[cold],
        DESCR=_DESCR.format(
            n_users=n_users, n_items=n_items, n_interactions=len(interactions)
        ),
    )


def _check_modalities(modalities: Sequence[str]) -> list[str]:
    unknown = sorted(set(modalities) - set(_ATTRIBUTES))
    if isinstance(modalities, str) or unknown or not len(modalities):
        raise ValueError(
            f"modalities must be a non-empty sequence of names among "
            f"{list(_ATTRIBUTES)}, got {modalities!r}"
        )
    return [m for m in _ATTRIBUTES if m in modalities]


def _draw_present(
    n_items: int, n_modalities: int, missing_rate: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    present = rng.random((n_items, n_modalities)) >= missing_rate
    kept = rng.integers(n_modalities, size=n_items)
    present[np.arange(n_items), kept] |= ~present.any(axis=1)
    return present


class _Renderer:
    """Turns attributes into raw content, with a seed for each item and modality."""

    def __init__(
        self,
        seed: int,
        image_size: int,
        audio_seconds: float,
        sample_rate: int,
        folder: str | Path | None,
    ) -> None:
        self.seed = seed
        self.image_size = image_size
        self.audio_seconds = audio_seconds
        self.sample_rate = sample_rate
        self.folder = None if folder is None else Path(folder)

    def render(
        self,
        ids: NDArray,
        attributes: dict[str, pd.DataFrame],
        present: dict[str, NDArray[np.bool_]],
    ) -> dict[str, list[Any]]:
        """Make the content columns of the item table."""
        columns: dict[str, list[Any]] = {}
        for modality, table in attributes.items():
            rows = table.astype(str).to_dict("records")
            content = [
                self._one(modality, ids[n], n, row) if present[modality][n] else None
                for n, row in enumerate(rows)
            ]
            if modality == "text":
                columns["title"] = [c and c[0] for c in content]
                columns["description"] = [c and c[1] for c in content]
            else:
                columns[modality] = content
        return columns

    def _one(self, modality: str, item: str, n: int, row: dict[str, str]) -> Any:
        rng = np.random.default_rng([self.seed, list(_ATTRIBUTES).index(modality), n])
        if modality == "text":
            return _words.write_words(row, rng)
        if modality == "image":
            content = _pictures.draw_picture(row, rng, self.image_size)
        else:
            content = _sounds.play_sound(row, rng, self.audio_seconds, self.sample_rate)
        folder = None if self.folder is None else self.folder / modality
        return keep(content, folder, f"{item}{_SUFFIXES[modality]}")
