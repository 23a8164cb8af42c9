"""The benchmarks' own modules, and a data set of a few rows."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

# Benchmarks are scripts: their modules lie beside them.
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from recommending import accuracy, data


@pytest.fixture
def small():
    """Forty users of two tastes, twenty items whose content tells the taste."""
    rng = np.random.default_rng(0)
    taste = np.arange(20) % 2
    vectors = rng.normal(size=(20, 6)) + 3 * taste[:, None]
    items = pd.DataFrame(vectors.astype(np.float32))
    items.columns = [f"{name}__{i}" for name in ("text", "image") for i in range(3)]
    items.insert(0, "item_id", np.arange(20))
    rows = [
        (user, item)
        for user in range(40)
        for item in rng.choice(np.flatnonzero(taste == user % 2), 7, replace=False)
    ]
    X = pd.DataFrame(rows, columns=data.IDS)
    part = X.groupby("user_id").cumcount()
    train, validation, test = X[part < 5], X[part == 5], X[part == 6]
    return data.Data("small", items, train, test, (train, validation))


@pytest.fixture
def folder(small, tmp_path):
    """Folder in which the small data set is prepared."""
    accuracy.loaded.cache_clear()
    data.keep(small, tmp_path)
    yield tmp_path
    accuracy.loaded.cache_clear()
