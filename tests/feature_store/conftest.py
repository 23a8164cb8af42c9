import gc
import itertools
import os
import shutil
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # feast imports much that is deprecated
    import feast  # noqa: F401

from skmmrec.feature_store import publish
from skmmrec.recommender import ServingVectors

from .services import postgres_settings, redis_settings

# ibis calls what duckdb has deprecated
reads_with_duckdb = pytest.mark.filterwarnings(
    "ignore:fetch_arrow_table:DeprecationWarning"
)

_PROJECTS = itertools.count()
REPO = Path(__file__).parents[2] / "feature_repo"


class FakeRecommender:
    """Anything with `serving_vectors` can be published."""

    def __init__(self, users, items, seen, version="v1"):
        self.vectors = ServingVectors(users, items, seen, version)

    def serving_vectors(self):
        return self.vectors


def make_recommender(
    n_users=12, n_items=30, dim=5, seed=0, version="v1", user_id=str, item_id=int
):
    rng = np.random.default_rng(seed)
    user_ids = [user_id(i) for i in range(100, 100 + n_users)]
    item_ids = [item_id(i) for i in range(n_items)]
    matrix = rng.normal(size=(n_users + n_items, dim)).astype(np.float32)
    seen = [[item_id(j) for j in rng.permutation(n_items)[:3]] for _ in user_ids]
    return FakeRecommender(
        pd.DataFrame(matrix[:n_users], index=user_ids),
        pd.DataFrame(matrix[n_users:], index=item_ids),
        pd.Series(seen, index=user_ids),
        version,
    )


def copy_repo(folder):
    """Copy the repository of the example, without what was published into it."""
    ignored = shutil.ignore_patterns("data", "__pycache__")
    return shutil.copytree(REPO, folder / "repo", ignore=ignored)


@contextmanager
def new_repo():
    """Make a repository for one example of a property test."""
    with tempfile.TemporaryDirectory() as folder:
        yield copy_repo(Path(folder))


@pytest.fixture(scope="session")
def postgres():
    """Give the settings of a PostgreSQL server; each test has a project of its own."""
    with postgres_settings() as settings:
        yield settings


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    """Give the settings of a Redis server; each test has a project of its own."""
    with redis_settings(tmp_path_factory) as settings:
        yield settings


@pytest.fixture
def repo(tmp_path):
    return copy_repo(tmp_path)


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """Fill a new repository by a function; what it did once is copied from then on."""
    kept = {}

    def filled(fill, repo):
        if fill not in kept:
            made = copy_repo(tmp_path_factory.mktemp("made"))
            fill(made)
            # A connection that is closed removes files of its database. So none is
            # while files are copied, and to what is kept none was ever opened.
            gc.collect()
            kept[fill] = tmp_path_factory.mktemp("filled")
            shutil.copytree(made, kept[fill], dirs_exist_ok=True)
        return shutil.copytree(kept[fill], repo, dirs_exist_ok=True)

    return filled


def publish_one(repo):
    publish(make_recommender(), repo)


@pytest.fixture
def recommender():
    return make_recommender()


@pytest.fixture(params=["postgres", "redis"])
def remote(repo, request):
    """Return a repository whose online store is a server, in a project of its own."""
    path = repo / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["online_store"] = request.getfixturevalue(request.param)
    settings["project"] = f"s{os.getpid()}_{next(_PROJECTS)}"
    path.write_text(yaml.safe_dump(settings))
    return repo
