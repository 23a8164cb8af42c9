"""The embedded store keeps the contract of all engines."""

import pytest

from skmmrec.feature_store import open_store

from .contract import BackendContract


class TestContract(BackendContract):
    @pytest.fixture
    def store(self, repo):
        return open_store(repo)
