"""Rows that Feast's server cannot take, answered as the mistake of who sent them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from feast.errors import FeastError

from skmmrec.feature_store.backends.base import RowError

# Paths that take rows.
_WRITES = ("/push", "/write-to-online-store")


def answer_mistakes(app: Any) -> None:
    """Have Feast's server answer rows that it cannot take with status 422.

    Feast 0.67 looks at lengths and types of vectors, times and ids before any store
    does, and answers each with 500, as if the server had failed.
    """
    for route in app.routes:
        if getattr(route, "path", None) in _WRITES:
            # FastAPI looks up `call` in each request.
            route.dependant.call = _answering(route.dependant.call)


def _answering(endpoint: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @wraps(endpoint)
    async def answer(**values: Any) -> Any:
        try:
            return await endpoint(**values)
        except FeastError:
            raise  # Feast's errors have statuses of their own
        except KeyError as error:
            raise RowError(f"a column is missing: {error}") from error
        except (TypeError, ValueError) as error:
            raise RowError(str(error)) from error

    return answer
