"""Filters, similar items and Feast's search on PostgreSQL and on Redis."""

import pytest

from ..search_contract import SearchContract
from .test_services import postgres, redis, remote  # noqa: F401

pytestmark = pytest.mark.services


class TestRemote(SearchContract):
    @pytest.fixture
    def place(self, remote):  # noqa: F811
        return remote
