"""Data sets: items as ready vectors, and interactions to train and test on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

from skmmrec import ItemCatalog, TextEncoder
from skmmrec.datasets import (
    load_movielens_posters,
    load_tiktok,
    make_multimodal_interactions,
)
from skmmrec.model_selection import RandomHoldoutPerUser

IDS = ["user_id", "item_id"]
TIMED = [*IDS, "timestamp"]
# What a leaderboard compares on: real ones, and of the generated those where content
# says most and where it is often missing.
LEADERBOARD = [
    "tiktok",
    "movielens-random",
    "movielens-time",
    "dbbook",
    "beauty",
    "generated-sparse",
    "generated-missing",
]
# Where rows have times, and what comes next is held out.
ORDERED = {"movielens-time", "beauty"}
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

    `tuning` is what parameters and options are chosen by, and never holds a test row.
    `later` are rows that are known before the test rows, but are not trained on.
    `words` are the items' texts, which a language model reads.
    """

    name: str
    items: pd.DataFrame
    train: pd.DataFrame
    test: pd.DataFrame
    tuning: Split
    later: pd.DataFrame | None = None
    words: pd.DataFrame | None = None

    @cached_property
    def catalog(self) -> ItemCatalog:
        """The items; those without any content are ranked by their rows alone."""
        items = self.items
        if self.words is not None:
            items = items.merge(self.words, on="item_id", how="left")
        return ItemCatalog(items, on_empty="ignore")

    def for_tuning(self) -> Data:
        """Take the training rows apart, so that no test row has a part in a choice."""
        train, validation = self.tuning
        data = replace(self, train=train, test=validation, later=None)
        data.catalog = self.catalog  # encoded once for all
        return data

    @property
    def everything(self) -> pd.DataFrame:
        """All rows that are split, for other ways to split them."""
        return pd.concat([self.train, self.test], ignore_index=True)


def load(name: str, folder: Path) -> Data:
    """Load a data set by name, as `keep` prepared it where it did.

    Otherwise it is read or generated, and encoded content is kept in the folder.
    """
    if _prepared(folder, name).is_dir():
        return read(name, folder)
    family, _, shape = name.partition("-")
    if name in FROM_FILES:
        return FROM_FILES[name](folder)
    if family == "movielens":
        return movielens(shape, folder)
    if family == "generated" and shape in SHAPES:
        return generated(shape)
    raise ValueError(f"unknown data set {name!r}: there are {names()}")


def names() -> list[str]:
    """List the data sets."""
    shapes = [f"generated-{shape}" for shape in SHAPES]
    return [*FROM_FILES, "movielens-time", "movielens-random", *shapes]


def tiktok(folder: Path | None = None) -> Data:
    """Load the split that others published with the data."""
    data = load_tiktok()
    train, validation, test = (
        part[IDS] for part in (data.train, data.validation, data.test)
    )
    return Data("tiktok", data.item_table, train, test, (train, validation))


def dbbook(folder: Path) -> Data:
    """Load the likes of readers, with the split of those who published them."""
    home = data_home() / "dbbook"
    rows = pd.read_parquet(home / "interactions.parquet")
    likes = rows[rows["liked"] == 1]
    train, validation, test = (
        likes.loc[likes["split"] == part, IDS] for part in ("train", "val", "test")
    )
    items = encoded(folder / "dbbook-items.parquet", lambda: _encoded_books(home))
    return Data("dbbook", items, train, test, (train, validation))


def beauty(folder: Path) -> Data:
    """Hold out each user's last purchase; the one before is for validation.

    It is known when the last one is asked for, as in the papers that use this data.
    """
    home = data_home() / "beauty"
    rows = pd.read_parquet(home / "interactions.parquet")
    X = rows.rename(columns={"position": "timestamp"})[TIMED]
    left = X.groupby("user_id")["timestamp"].rank(method="first", ascending=False)
    train, validation, test = X[left > 2], X[left == 2], X[left == 1]
    codes = np.load(home / "item_codes.npy", allow_pickle=False)
    items = as_one_hot(codes)
    return Data("beauty", items, train, test, (train, validation), later=validation)


def as_one_hot(codes: np.ndarray) -> pd.DataFrame:
    """Table of items whose content are codes: a modality for each level of them."""
    columns = [pd.DataFrame({"item_id": np.arange(len(codes), dtype=np.int32)})]
    for level, values in enumerate(codes.T):
        table = pd.DataFrame(np.eye(values.max() + 1, dtype=np.float32)[values])
        columns.append(table.add_prefix(f"code{level}__"))
    return pd.concat(columns, axis=1)


def movielens(kind: str, folder: Path) -> Data:
    """Hold out a fifth of each user's films: the latest, or random ones."""
    split = {"time": latest_fifth, "random": random_fifth}[kind]
    films = load_movielens_posters()
    # Rows held out at random lie before and after those that are known: times given
    # to a model would ask it for what comes next, which is not what is judged.
    X = films.interactions[TIMED if kind == "time" else IDS]
    items = encoded(folder / "movielens-items.parquet", _encoded_films)
    data = _split(f"movielens-{kind}", items, X, split)
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


def data_home() -> Path:
    """Folder of the data that may not be redistributed.

    Raises
    ------
    ValueError
        If the environment variable that names it is not set.
    """
    home = os.environ.get("SKMMREC_DATA_HOME")
    if not home:
        raise ValueError("SKMMREC_DATA_HOME must name the folder that has the data")
    return Path(home)


def encoded(path: Path, encode: Callable[[], ItemCatalog]) -> pd.DataFrame:
    """Read vectors of items, or encode and keep them."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        as_vectors(encode()).to_parquet(path)
    return pd.read_parquet(path)


def _encoded_films() -> ItemCatalog:
    sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
    from movielens_posters import describe, encode

    return encode(describe(load_movielens_posters().item_table))


def _encoded_books(home: Path) -> ItemCatalog:
    encoder = ColumnTransformer(
        [("words", TextEncoder("package:all-MiniLM-L6-v2"), "title")]
    )
    return ItemCatalog(pd.read_parquet(home / "items.parquet"), encoder)


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


def keep(data: Data, folder: Path) -> Path:
    """Keep all that a benchmark needs of a data set, and return the folder of it.

    Vectors of items that several sets have in common are kept once.
    """
    to = _prepared(folder, data.name)
    to.mkdir(parents=True, exist_ok=True)
    parts = {
        "train": data.train,
        "test": data.test,
        "tuning-train": data.tuning[0],
        "tuning-test": data.tuning[1],
        "later": data.later,
        "words": data.words,
    }
    for name, rows in parts.items():
        if rows is not None:
            rows.to_parquet(to / f"{name}.parquet", compression="zstd")
    # Nothing repeats in vectors, but the first bytes of their numbers are alike.
    data.items.to_parquet(
        _content(folder, data.name),
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=[name for name in data.items if name != "item_id"],
    )
    return to


def read(name: str, folder: Path) -> Data:
    """Read what `keep` kept: neither the sources nor encoders are needed."""
    parts = {
        path.stem: pd.read_parquet(path)
        for path in _prepared(folder, name).glob("*.parquet")
    }
    return Data(
        name,
        pd.read_parquet(_content(folder, name)),
        parts["train"],
        parts["test"],
        (parts["tuning-train"], parts["tuning-test"]),
        parts.get("later"),
        parts.get("words"),
    )


def _prepared(folder: Path, name: str) -> Path:
    return folder / "data" / name


def _content(folder: Path, name: str) -> Path:
    """File of the items' vectors; both splits of MovieLens have the same."""
    shared = "movielens" if name.startswith("movielens-") else name
    return folder / "data" / f"{shared}-items.parquet"


FROM_FILES: dict[str, Callable[[Path], Data]] = {
    "tiktok": tiktok,
    "dbbook": dbbook,
    "beauty": beauty,
}
