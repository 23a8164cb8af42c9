"""A small catalogue with pictures and sounds, models of it, and a page."""

import os
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer

from skmmrec import ImageEncoder, ItemCatalog, MultimodalFusionRecommender
from skmmrec.app._items import open_items
from skmmrec.datasets import TableFiles, make_multimodal_interactions
from skmmrec.recommender import Training

# What must be shown as it is written, in whatever way a page understands text.
EVIL = (
    "<img src=x onerror=\"document.title='broken in'\"><script>alert(1)</script> "
    "![p](http://evil.invalid/p.png) **bold** $x$ :red[r]"
)
SCRIPTS = "深夜的海 · مساء الخير · שלום · नमस्ते · 🎧"


@pytest.fixture(autouse=True)
def own_main(monkeypatch):
    """Put back the main module, for which Streamlit's tests leave the page.

    Every process that is spawned later would import the page, and all that it needs.
    """
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A table in a file, with media beside it."""
    path = tmp_path_factory.mktemp("shop")
    small = {"image_size": 32, "audio_seconds": 0.2, "random_state": 0}
    small["n_interactions_per_user"] = 6
    data = make_multimodal_interactions(30, 40, folder=path / "media", **small)
    table = data.item_table
    for column in ("image", "audio"):
        table[column] = [os.path.relpath(file, path) for file in table[column]]
    table["price"] = np.arange(len(table)) + 0.5
    table.to_csv(path / "items.csv", index=False)
    data.interactions.to_csv(path / "interactions.csv", index=False)
    return path


@pytest.fixture(scope="session")
def table(folder):
    return pd.read_csv(folder / "items.csv")


@pytest.fixture(scope="session")
def interactions(folder):
    return pd.read_csv(folder / "interactions.csv")[["user_id", "item_id"]]


@pytest.fixture(scope="session")
def catalog(table, folder):
    """Words and pictures, by encoders whose weights are at hand."""
    content = table[["item_id", "description", "image"]].copy()
    content["image"] = [str(folder / path) for path in content["image"]]
    encode = make_column_transformer(
        (TfidfVectorizer(), "description"),
        (ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"), "image"),
    )
    return ItemCatalog(content, encode)


@pytest.fixture(scope="session")
def rec(catalog, interactions):
    training = Training(max_epochs=2)
    rec = MultimodalFusionRecommender(catalog, training=training, random_state=0)
    return rec.fit(interactions)


@pytest.fixture(scope="session")
def saved(rec, folder):
    rec.save(folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def shown(folder):
    return open_items(TableFiles(folder / "items.csv"), ["item_id"])
