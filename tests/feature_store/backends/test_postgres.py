"""PostgreSQL keeps the contract of all engines, and what is special to it."""

import itertools
import os

import pytest
import yaml

from skmmrec.feature_store import open_store

from ..services import postgres_settings
from .contract import BackendContract

pytestmark = pytest.mark.services
_PROJECTS = itertools.count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    with postgres_settings(tmp_path_factory) as settings:
        yield settings


def configure(repo, postgres, **changes):
    """Write a repository's settings, in a project of its own."""
    path = repo / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["project"] = changes.pop("project", f"pg{os.getpid()}_{next(_PROJECTS)}")
    settings["online_store"] = {**postgres, **changes}
    path.write_text(yaml.safe_dump(settings))
    return open_store(repo)


@pytest.fixture
def store(repo, postgres):
    return configure(repo, postgres)


class TestContract(BackendContract):
    pass


class TestContractWithoutPgvector(BackendContract):
    @pytest.fixture
    def store(self, repo, postgres):
        return configure(repo, postgres, vector_enabled=False, conn_type="pool")
