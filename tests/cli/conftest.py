"""Tables in files, and a way to run commands on them."""

from io import StringIO

import pandas as pd
import pytest
from click.testing import CliRunner

from skmmrec.cli._main import cli

N_ITEMS, N_USERS = 12, 8


def run(*args, code=0):
    """Run a command, and see that it ends as it should."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def records(result):
    """Read the CSV that a command has printed."""
    ids = dict.fromkeys(["user_id", "item_id", "query"], str)
    return pd.read_csv(StringIO(result.stdout), dtype=ids)


@pytest.fixture(scope="session")
def item_table():
    """Items by numbers, categories and dates, whose ids look like numbers."""
    return pd.DataFrame(
        {
            "item_id": [f"{n:03d}" for n in range(N_ITEMS)],
            "price": [float(n % 5) + 0.25 for n in range(N_ITEMS)],
            "brand": [["north", "NA", "süd"][n % 3] for n in range(N_ITEMS)],
            "released": [f"2026-01-{n + 1:02d}" for n in range(N_ITEMS)],
        }
    )


@pytest.fixture(scope="session")
def like_table(item_table):
    """Users who like a third of the items, at distinct times."""
    rows = [
        (f"1e{user}", item_table.item_id[item], float((user + item) % 5 + 1), item)
        for user in range(N_USERS)
        for item in range(N_ITEMS)
        if (user + item) % 3 == 0
    ]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "stars", "timestamp"])
    return table.assign(timestamp=table.index * 10, plays=table.index % 4)


@pytest.fixture(scope="session")
def tables(item_table, like_table, tmp_path_factory):
    """A folder, with a space in its name, of ``items.csv`` and ``likes.csv``."""
    folder = tmp_path_factory.mktemp("a shop")
    item_table.to_csv(folder / "items.csv", index=False)
    like_table.to_csv(folder / "likes.csv", index=False)
    return folder


CONTENT = ["--number", "price", "--category", "brand", "--date", "released"]


@pytest.fixture(scope="session")
def vectors(tables):
    run("encode", tables / "items.csv", tables / "vectors", *CONTENT)
    return tables / "vectors"


@pytest.fixture(scope="session")
def model(tables, vectors):
    run("fit", tables / "likes.csv", tables / "model", "--items", vectors, *SEED)
    return tables / "model"


SEED = ["--random-state", 0, "--set", "training__max_epochs=2", "--device", "cpu"]
