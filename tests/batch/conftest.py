"""Items of words and prices, in a table and in parquet files."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.batch.letters import LetterEncoder


@pytest.fixture
def items():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcde"), 6)) for _ in range(50)]
    table = pd.DataFrame(
        {
            "item_id": [f"i{n:02d}" for n in range(50)],
            "title": words,
            "price": rng.normal(10, 3, 50),
            "color": rng.choice(["red", "blue"], 50),
            "unread": "x",
        }
    )
    table.loc[[0, 7], "title"] = None
    table.loc[[0, 13], "price"] = np.nan
    return table


@pytest.fixture
def folder(items, tmp_path):
    """Two files, the first of several row groups; the second is in a folder."""
    folder = tmp_path / "items"
    (folder / "more").mkdir(parents=True)
    items[:30].to_parquet(folder / "a.parquet", row_group_size=7)
    items[30:].to_parquet(folder / "more" / "b.parquet")
    (folder / "_SUCCESS").touch()
    return folder


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / "log.txt")


@pytest.fixture
def encoder(items, log):
    columns = make_column_transformer(
        (LetterEncoder(log=log), "title"),
        (StandardScaler(), ["price"]),
        (OneHotEncoder(), ["color"]),
    )
    return columns.fit(items)
