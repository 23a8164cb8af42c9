"""Searches that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from feast.errors import FeastError
from grpc import StatusCode


class SearchError(FeastError, ValueError):
    """A search asks for what there is not; Feast's server answers with status 422."""

    def http_status_code(self) -> int:
        """Say that the request cannot be processed as it is."""
        return 422

    def grpc_status_code(self) -> StatusCode:
        """Say the same in other words."""
        return StatusCode.INVALID_ARGUMENT


@contextmanager
def refusing() -> Iterator[None]:
    """Make any ValueError inside a `SearchError`."""
    try:
        yield
    except SearchError:
        raise
    except ValueError as error:
        raise SearchError(str(error)) from error
