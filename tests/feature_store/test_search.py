"""Filters, similar items and Feast's search on the embedded store."""

import pytest

from .search_contract import SearchContract


class TestEmbedded(SearchContract):
    @pytest.fixture
    def place(self, repo):
        return repo
