"""Data sets: items as ready vectors, and interactions to train and test on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from skmmrec import ItemCatalog
from skmmrec.datasets import (
    load_movielens_posters,
    load_tiktok,
    make_multimodal_interactions,
)
from skmmrec.model_selection import RandomHoldoutPerUser

IDS = ["user_id", "item_id"]
TIMED = [*IDS, "timestamp"]
Split = tuple[pd.DataFrame, pd.DataFrame]

# Few and many interactions, users and items; taste in one modality or in all; little
# and much popularity; content that is often missing.
SHAPES: dict[str, dict] = {
    "dense": {"n_users": 500, "n_items": 400, "n_interactions_per_user": 60},
    "sparse": {"n_users": 5000, "n_items": 3000, "n_interactions_per_user": 6},
    "few-users": {"n_users": 150, "n_items": 2000, "n_interactions_per_user": 80},
    "few-items": {"n_users": 4000, "n_items": 120, "n_interactions_per_user": 8},
    "popular": {
        "n_users": 2000,
        "n_items": 1500,
        "popularity_strength": 2.0,
        "taste_strength": 1.0,
    },
    "one-lean": {"n_users": 2000, "n_items": 1500, "lean_concentration": 0.05},
    "missing": {"n_users": 2000, "n_items": 1500, "missing_rate": 0.4},
}


@dataclass
class Data:
    """One data set, split.

    `tuning` is what baselines are chosen by, and never holds a test row; `words` are
    the items' texts, which a language model reads.
    """

    name: str
    items: pd.DataFrame
    train: pd.DataFrame
    test: pd.DataFrame
    tuning: Split
    words: pd.DataFrame | None = None

    @cached_property
    def catalog(self) -> ItemCatalog:
        """The items; those without any content are ranked by their rows alone."""
        items = self.items
        if self.words is not None:
            items = items.merge(self.words, on="item_id", how="left")
        return ItemCatalog(items, on_empty="ignore")

    @property
    def everything(self) -> pd.DataFrame:
        """All rows that are split, for other ways to split them."""
        return pd.concat([self.train, self.test], ignore_index=True)


def load(name: str, folder: Path) -> Data:
    """Load a data set by name; encoded content is kept in the folder."""
    family, _, shape = name.partition("-")
    if family == "tiktok":
        return tiktok()
    if family == "movielens":
        return movielens(shape, folder)
    if family == "generated" and shape in SHAPES:
        return generated(shape)
    raise ValueError(f"unknown data set {name!r}: there are {names()}")


def names() -> list[str]:
    """List the data sets."""
    shapes = [f"generated-{shape}" for shape in SHAPES]
    return ["tiktok", "movielens-time", "movielens-random", *shapes]


def tiktok() -> Data:
    """Load the split that others published with the data."""
    data = load_tiktok()
    train, validation, test = (
        part[IDS] for part in (data.train, data.validation, data.test)
    )
    return Data("tiktok", data.item_table, train, test, (train, validation))


def movielens(kind: str, folder: Path) -> Data:
    """Hold out a fifth of each user's films: the latest, or random ones."""
    split = {"time": latest_fifth, "random": random_fifth}[kind]
    films = load_movielens_posters()
    # Rows held out at random lie before and after those that are known: times given
    # to a model would ask it for what comes next, which is not what is judged.
    X = films.interactions[TIMED if kind == "time" else IDS]
    data = _split(f"movielens-{kind}", _encoded_films(folder), X, split)
    data.words = films.item_table[["item_id", "title", "genres", "overview"]]
    return data


def generated(shape: str) -> Data:
    """Generate hidden attributes and blur them, as an encoder would."""
    data = make_multimodal_interactions(
        **{"n_interactions_per_user": 20, **SHAPES[shape]},
        image_size=16,
        audio_seconds=0.1,
        random_state=0,
    )
    rng = np.random.default_rng(0)
    columns = [data.item_table[["item_id"]]]
    for modality, attributes in data.item_factors.items():
        mixed = attributes @ rng.normal(size=(attributes.shape[1], 64))
        vectors = mixed + rng.normal(0, 1.0, mixed.shape)
        raw = "description" if modality == "text" else modality
        vectors[data.item_table[raw].isna()] = np.nan
        table = pd.DataFrame(vectors.astype(np.float32))
        columns.append(table.add_prefix(f"{modality}__"))
    items = pd.concat(columns, axis=1)
    X = data.interactions[IDS]
    return _split(f"generated-{shape}", items, X, random_fifth)


def random_fifth(X: pd.DataFrame) -> Split:
    """Hold out a random fifth of each user's rows."""
    ((train, test),) = RandomHoldoutPerUser(0.2, random_state=0).split(X)
    return X.iloc[train], X.iloc[test]


def latest_fifth(X: pd.DataFrame) -> Split:
    """Hold out the latest fifth of each user's rows."""
    order = X.groupby("user_id")["timestamp"].rank(method="first", pct=True)
    return X[order <= 0.8], X[order > 0.8]


def _split(name: str, items: pd.DataFrame, X: pd.DataFrame, split: Callable) -> Data:
    train, test = split(X)
    return Data(name, items, train, test, split(train))


def _encoded_films(folder: Path) -> pd.DataFrame:
    path = folder / "movielens-items.parquet"
    if not path.exists():
        sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
        from movielens_posters import describe, encode

        catalog = encode(describe(load_movielens_posters().item_table))
        path.parent.mkdir(parents=True, exist_ok=True)
        as_vectors(catalog).to_parquet(path)
    return pd.read_parquet(path)


def as_vectors(catalog: ItemCatalog) -> pd.DataFrame:
    """Table of ready vectors, NaN where a modality is missing."""
    blocks = catalog.blocks
    columns = [pd.DataFrame({"item_id": catalog.ids})]
    for present, (name, block) in zip(
        blocks.mask.T, blocks.values.items(), strict=True
    ):
        vectors = np.where(present[:, None], block, np.nan).astype(np.float32)
        columns.append(pd.DataFrame(vectors).add_prefix(f"{name}__"))
    return pd.concat(columns, axis=1)
