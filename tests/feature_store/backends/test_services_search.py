"""Filters, similar items and Feast's search on PostgreSQL and on Redis."""

import pytest

from ..search_contract import SearchContract

pytestmark = pytest.mark.services


class TestRemote(SearchContract):
    @pytest.fixture
    def place(self, remote):
        return remote
