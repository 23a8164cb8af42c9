"""What can go wrong with a request, each told in one form: RFC 9457."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from skmmrec.feature_store import (
    BusyStoreError,
    DamagedStoreError,
    FullStoreError,
    ReadOnlyStoreError,
    UnknownIdError,
)

from ._kinds import PREFIX

_LOG = logging.getLogger("skmmrec.service")

MEDIA_TYPE = "application/problem+json"
# Seconds after which a request that met a store or threads that were busy may be tried
# again: others hold a store for well under a second.
_RETRY_AFTER = "1"


class Kind(NamedTuple):
    """A kind of problem."""

    status: int
    title: str


KINDS = {
    "malformed": Kind(400, "The request cannot be read"),
    "unauthorized": Kind(401, "A valid bearer token is needed"),
    "forbidden": Kind(403, "The token is not good for this"),
    "not-found": Kind(404, "There is no such path"),
    "unknown-id": Kind(404, "A user or an item is unknown"),
    "method": Kind(405, "The path has no such method"),
    "slow": Kind(408, "The request did not arrive in time"),
    "too-large": Kind(413, "The request is too large"),
    "media-type": Kind(415, "The body is of another type than is expected"),
    "invalid-value": Kind(422, "A value is not valid"),
    "invalid-type": Kind(422, "A value has the wrong type"),
    "too-many": Kind(429, "Too many requests"),
    "internal": Kind(500, "The service failed"),
    "damaged": Kind(500, "The store cannot be read"),
    "no-encoder": Kind(501, "No encoder is configured for this"),
    "busy": Kind(503, "The service or the store is busy"),
    "not-published": Kind(503, "Nothing is published"),
    "read-only": Kind(503, "The store cannot be written to"),
    "unreachable": Kind(503, "The store cannot be reached"),
    "deadline": Kind(504, "It took too long"),
    "full": Kind(507, "The store is full"),
}
_OF_STATUS = {400: "malformed", 404: "not-found", 405: "method", 413: "too-large"}
# Errors of the clients of databases, by module and name: those clients are optional.
_UNREACHABLE = {
    ("psycopg", "OperationalError"),
    ("psycopg_pool", "PoolTimeout"),
    ("redis.exceptions", "ConnectionError"),
    ("redis.exceptions", "TimeoutError"),
}


class Problem(BaseModel):
    """What went wrong, as ``application/problem+json`` (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": f"{PREFIX}unknown-id",
                "title": "A user or an item is unknown",
                "status": 404,
                "detail": "no vector of model version '5f2c' for 1 of 1 users, ...",
                "request_id": "0b4dd6c6a5c141f5",
            }
        }
    )

    type: str = Field(description="Names the kind of problem; it does not change.")
    title: str = Field(description="The kind of problem in words.")
    status: int
    detail: str = Field(description="What is wrong with this request.")
    request_id: str = Field(description="As in the header X-Request-ID, and in logs.")


class ProblemError(HTTPException):
    """A problem of a kind.

    FastAPI wraps other errors that are raised while a body is read.
    """

    def __init__(
        self, kind: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        if kind == "busy":
            headers = {"Retry-After": _RETRY_AFTER, **(headers or {})}
        super().__init__(KINDS[kind].status, detail, headers)
        self.kind = kind


def problem_of(error: Exception) -> ProblemError:
    """Find out what kind of problem an error is.

    What the service itself is to blame for is not told to the outside: it names files
    and servers. The log has it, under the request's id.
    """
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestValidationError):
        if isinstance(error.body, bytes):  # no header said that it was JSON
            return ProblemError("media-type", _NO_JSON)
        return ProblemError("invalid-value", _told(error))
    if isinstance(error, HTTPException):
        kind = _OF_STATUS.get(error.status_code, "internal")
        headers = dict(error.headers or {})
        return ProblemError(kind, str(error.detail), headers)
    if isinstance(error, UnknownIdError):
        advice = f"; {_INSTEAD}" if error.advice else ""
        return ProblemError("unknown-id", f"{error.args[0]}{advice}")
    return _of_store(error) or ProblemError("internal", _HIDDEN)


# The store's own advice is about Python, which a client over HTTP does not see.
_INSTEAD = (
    'send "history", a list of items, in place of "users", or let whoever runs the '
    'service set unknown to "popular" or "skip"'
)
_NO_JSON = "send JSON, with the header Content-Type: application/json"
_HIDDEN = "the log of the service tells more, under this request_id"


def _of_store(error: Exception) -> ProblemError | None:
    if isinstance(error, BusyStoreError):
        return ProblemError("busy", "others are writing to the store")
    if isinstance(error, ReadOnlyStoreError):
        return ProblemError("read-only", "the store can be read, but not written to")
    if isinstance(error, FullStoreError):
        return ProblemError("full", "there is no space left in the store")
    if isinstance(error, DamagedStoreError):
        return ProblemError("damaged", _HIDDEN)
    if type(error) is LookupError:  # the store's error where nothing is published
        return ProblemError("not-published", "nothing is published to be served")
    if _is_unreachable(error) or _is_unreachable(error.__cause__):
        return ProblemError("unreachable", _HIDDEN)
    return None


def _is_unreachable(error: BaseException | None) -> bool:
    """Tell a server that does not answer, also where the store's error wraps that."""
    names = {(each.__module__, each.__name__) for each in type(error).__mro__}
    return bool(names & _UNREACHABLE)


@contextmanager
def told_to_callers() -> Iterator[None]:
    """Tell what a request is refused for to who has sent it.

    The store and the saved model refuse values by a TypeError or a ValueError. Only
    what hands them a request stands in this block: elsewhere, such an error is a
    mistake of the service itself.

    Raises ProblemError.
    """
    try:
        yield
    except TypeError as error:
        raise ProblemError("invalid-type", str(error)) from error
    except (ValueError, OverflowError) as error:  # whole numbers have no bounds
        raise ProblemError("invalid-value", str(error)) from error


def _told(error: RequestValidationError) -> str:
    """Name each place and what is wrong there, without what was given."""
    return "; ".join(map(_told_of_one, error.errors()))


def _told_of_one(error: dict[str, Any]) -> str:
    place, message = error["loc"][1:], error["msg"]
    if error["type"] == "json_invalid" and place:  # a position, no field
        return f"body: no JSON, from character {place[0]} on"
    named = ".".join(f"{part!s:.100}" for part in place)  # some are the sender's words
    return f"{named or 'body'}: {message}"


def request_id_of(request: Request) -> str:
    """Return the id that the request was given."""
    return str(request.scope["state"]["request_id"])


async def answer_problem(request: Request, error: Exception) -> JSONResponse:
    """Answer an error, and log it where the service is to blame.

    What was not configured is no failure: requests for it come by the thousand. So do
    those that a busy service refuses by itself: their tracebacks tell nothing, and are
    left out.
    """
    problem, request_id = problem_of(error), request_id_of(request)
    status = problem.status_code
    fields: dict[str, Any] = {"request_id": request_id, "kind": problem.kind}
    if status >= 500 and problem.kind != "no-encoder":
        is_refused = error is problem and error.__cause__ is None
        why = {"detail": problem.detail} if is_refused else {}
        _LOG.error(
            "request failed",
            exc_info=None if is_refused else error,
            extra={"fields": fields | why},
        )
    body = Problem(
        type=f"{PREFIX}{problem.kind}",
        title=KINDS[problem.kind].title,
        status=status,
        detail=problem.detail,
        request_id=request_id,
    )
    return JSONResponse(
        body.model_dump(), status, dict(problem.headers or {}), MEDIA_TYPE
    )
