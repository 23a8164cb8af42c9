"""Rows that are refused."""

from __future__ import annotations

from feast.errors import FeastError


class RowError(FeastError, ValueError):
    """Rows cannot be written as they are; Feast's server answers with status 422."""

    def http_status_code(self) -> int:
        """Say that the request cannot be processed as it is."""
        return 422
