"""Filters, similar items and Feast's search on the embedded store."""

import pytest

from .conftest import make_recommender
from .search_contract import SearchContract, publish_all


def fill(repo):
    publish_all(make_recommender(), repo)


class TestEmbedded(SearchContract):
    @pytest.fixture
    def place(self, repo):
        return repo

    @pytest.fixture
    def published(self, repo, filled):
        return filled(fill, repo)
