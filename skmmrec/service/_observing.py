"""Ids, logs and metrics of requests."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ._metrics import Metrics

_LOG = logging.getLogger("skmmrec.service")

REQUEST_ID = "X-Request-ID"
# Ids that others give are taken if they can do no harm in a log.
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,64}")
# How nginx logs a request whose client has gone before it was answered.
_CLIENT_GONE = 499


class Observed:
    """Give each request an id, and count and log how it was answered.

    Logs say who asked, for which path, and how that went: neither tokens, nor ids, nor
    content.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, state = time.perf_counter(), scope.setdefault("state", {})
        request_id = state["request_id"] = _request_id(scope)
        status = _CLIENT_GONE

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        found = scope.get("route")
        route = getattr(found, "path", "other")
        # Of a method that a path does not have, too, whoever asks chooses the name.
        methods = getattr(found, "methods", None) or ()
        method = scope["method"] if scope["method"] in methods else "other"
        self._metrics.answered(route, method, status, seconds)
        fields = {
            "request_id": scope["state"]["request_id"],
            "caller": scope["state"].get("caller"),
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 6),
        }
        _LOG.info("request answered", extra={"fields": fields})


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _SANE.fullmatch(given) else uuid.uuid4().hex
