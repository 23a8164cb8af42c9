"""What stands before each route: tokens, rates, sizes and deadlines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from ._problems import ProblemError, answer_problem
from ._rates import RateLimit
from ._settings import ServiceSettings
from ._tokens import Caller, Role, Tokens
from ._uploads import FORM, media_type

_EVERYBODY = Caller("anonymous", "write")
_CHALLENGE = (
    "send the header 'Authorization: Bearer TOKEN', with a token of the service's list"
)


class Gate:
    """Lets requests in, or tells why not.

    Parameters
    ----------
    settings : ServiceSettings
    tokens : Tokens or None
        None: everybody may do everything.
    """

    def __init__(self, settings: ServiceSettings, tokens: Tokens | None) -> None:
        self._settings, self._tokens = settings, tokens
        self._rates: RateLimit | None = None
        if settings.rate is not None:
            self._rates = RateLimit(settings.rate, settings.burst)

    @asynccontextmanager
    async def let_in(self, request: Request, role: Role) -> AsyncIterator[None]:
        """Check a request before its body is read, and end it at the deadline."""
        self._admit(request, role)
        seconds = self._settings.deadline
        try:
            async with asyncio.timeout(seconds) as deadline:
                yield
        except TimeoutError as error:
            if not deadline.expired():  # a store that was busy
                raise
            if not request.scope["state"].get("arrived", True):
                raise ProblemError("slow", f"no whole body in {seconds:g} s") from None
            raise ProblemError("deadline", f"no answer within {seconds:g} s") from error

    def _admit(self, request: Request, role: Role) -> None:
        caller = self._caller(request)
        address = request.client.host if request.client else "unknown"
        name = None if caller is None or caller is _EVERYBODY else caller.name
        request.scope["state"]["caller"] = name
        # Wrong tokens count, too, so that nobody tries many.
        self._limit(f"address {address}" if name is None else f"token {name}")
        if caller is None:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise ProblemError("unauthorized", _CHALLENGE, challenge)
        if not caller.may(role):
            raise ProblemError("forbidden", f"this needs a token for {role!r}")

    def _caller(self, request: Request) -> Caller | None:
        if self._tokens is None:
            return _EVERYBODY
        return self._tokens.find(request.headers.get("authorization"))

    def _limit(self, who: str) -> None:
        wait = 0.0 if self._rates is None else self._rates.wait(who)
        if wait:
            headers = {"Retry-After": str(math.ceil(wait))}
            rate = self._settings.rate
            raise ProblemError("too-many", f"{rate:g} requests a second", headers)

    def measured(self, request: Request, takes_files: bool) -> Request:
        """Return the request with a body that ends in an error where it is too long.

        JSON may be as long as elsewhere where files may come, too: in memory it takes
        many times its length.
        """
        settings = self._settings
        is_upload = takes_files and media_type(request) == FORM
        most = settings.max_upload_bytes if is_upload else settings.max_request_bytes
        said = request.headers.get("content-length", "")
        if said.isdecimal() and _is_above(said, most):
            raise _too_large(most)
        read, state = 0, request.scope["state"]

        async def receive() -> Any:
            nonlocal read
            state["arrived"] = False  # the body is being waited for
            message = await request.receive()
            state["arrived"] = True
            read += len(message.get("body", b""))
            if read > most:
                raise _too_large(most)
            return message

        return Request(request.scope, receive)


def _is_above(digits: str, most: int) -> bool:
    """Compare a number, of which Python reads no more than 4,300 digits."""
    digits = digits.lstrip("0")
    return len(digits) > len(str(most)) or int(digits or 0) > most


def _too_large(most: int) -> ProblemError:
    return ProblemError("too-large", f"a body may have {most} bytes")


class ReadRoute(APIRoute):
    """A route that needs a token for reading, where tokens are asked for."""

    role: ClassVar[Role] = "read"
    takes_files: ClassVar[bool] = False

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Put the gate before the route's own handler."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            gate: Gate = request.app.state.gate
            try:
                async with gate.let_in(request, self.role):
                    return await handle(gate.measured(request, self.takes_files))
            except Exception as error:  # each is answered by a status of its own
                return await answer_problem(request, error)

        return guarded


class WriteRoute(ReadRoute):
    """A route that needs a token for writing."""

    role = "write"


class UploadRoute(ReadRoute):
    """A route for reading that takes files."""

    takes_files = True
