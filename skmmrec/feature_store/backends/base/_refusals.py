"""Searches and rows that are refused; Feast's server answers with status 422."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from feast.errors import FeastError


class _Refusal(FeastError, ValueError):
    def http_status_code(self) -> int:
        """Say that the request cannot be processed as it is."""
        return 422


class RowError(_Refusal):
    """Rows cannot be written as they are."""


class SearchError(_Refusal):
    """A search asks for what there is not."""


@contextmanager
def refusing() -> Iterator[None]:
    """Make any ValueError inside a `SearchError`."""
    try:
        yield
    except SearchError:
        raise
    except ValueError as error:
        raise SearchError(str(error)) from error
