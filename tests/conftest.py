"""A tiny catalogue and who liked what in it."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, settings

N_ITEMS, N_USERS = 14, 9

# The same examples on each machine, however slow it is; others by
# `pytest --hypothesis-profile=default`.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


def pytest_configure(config):
    """Let each process keep what numba compiles for librosa, which takes 24 s, apart.

    Where two compile for the same folder at once, as in a new environment, what they
    leave there ends any process that uses it.
    """
    is_controller = getattr(config.option, "numprocesses", None)
    if not is_controller and config.pluginmanager.hasplugin("cacheprovider"):
        name = f"numba-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
        os.environ.setdefault("NUMBA_CACHE_DIR", str(config.cache.mkdir(name)))


def pytest_collection_modifyitems(items):
    """Skip what needs a CUDA device where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def items():
    """Ready vectors of three modalities; the second item has no text."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N_ITEMS, 9)).round(3)
    columns = [f"{m}__{c}" for m in ("text", "image", "audio") for c in range(3)]
    table = pd.DataFrame(values, columns=columns)
    table.loc[1, columns[:3]] = np.nan
    table.insert(0, "item_id", [f"i{n:02d}" for n in range(N_ITEMS)])
    return table


@pytest.fixture(scope="session")
def ratings(items):
    """Shuffled ratings of distinct pairs at distinct times; every item occurs."""
    rng = np.random.default_rng(1)
    pairs = {(n % N_USERS, n) for n in range(N_ITEMS)}
    pairs |= {(u, int(n)) for u in range(N_USERS) for n in rng.choice(N_ITEMS, 5)}
    users, rows = rng.permutation(sorted(pairs)).T
    return pd.DataFrame(
        {
            "user_id": users + 100,
            "item_id": items.item_id.to_numpy()[rows],
            "timestamp": rng.permutation(len(rows)),
            "rating": rng.integers(1, 6, len(rows)).astype(float),
        }
    )


@pytest.fixture(scope="session")
def X(ratings):
    return ratings[["user_id", "item_id", "timestamp"]]


@pytest.fixture(scope="session")
def flat(X, items):
    """The same rows, each with the content of its item."""
    return X.merge(items, on="item_id", how="left", validate="many_to_one")
