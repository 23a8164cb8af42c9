"""One application's threads and counts, and its look at what is served."""

from __future__ import annotations

import asyncio
import logging
import string
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

from fastapi.responses import JSONResponse, Response

from ._answers import Answers
from ._messages import (
    ExplainRequest,
    FeedbackQuery,
    FeedbackRequest,
    RecommendRequest,
    SimilarRequest,
)
from ._metrics import Metrics
from ._problems import ProblemError, problem_of
from ._settings import ServiceSettings
from ._threads import Threads

_LOG = logging.getLogger("skmmrec.service")

MODEL_VERSION = "X-Model-Version"
# What a header may hold as it is, besides letters and digits; all else is %-encoded.
_PLAIN = f" {string.punctuation}"


class Service:
    """Answers in threads, so that the event loop never waits.

    Parameters
    ----------
    answers : Answers
    settings : ServiceSettings

    Attributes
    ----------
    metrics : Metrics
    """

    def __init__(self, answers: Answers, settings: ServiceSettings) -> None:
        self._answers, self._settings = answers, settings
        self.metrics = Metrics()
        waiting = settings.max_waiting
        self._threads = Threads("answers", settings.n_threads, waiting)
        self._encoding = Threads("encoding", settings.n_encoder_threads, waiting)
        # A thread of its own, so that a busy worker does not seem to have stopped.
        self._looking = Threads("refresh", 1, 0)
        self._seen: tuple[float, str | ProblemError] | None = None

    async def recommend(self, asked: RecommendRequest) -> Response:
        """Recommend items."""
        work = partial(self._answers.recommend, asked)
        return await self._threads.run(partial(_rendered, work))

    async def similar(
        self, asked: SimilarRequest, files: Mapping[str, bytes]
    ) -> Response:
        """Find similar items; encoders have threads of their own, as they take long."""
        threads = self._encoding if asked.content or files else self._threads
        work = partial(self._answers.similar, asked, files)
        return await threads.run(partial(_rendered, work))

    async def record(self, asked: FeedbackRequest) -> Response:
        """Record an event."""
        work = partial(self._answers.record, asked)
        return await self._threads.run(partial(_rendered, work))

    async def feedback(self, asked: FeedbackQuery) -> Response:
        """Return events that wait."""
        work = partial(self._answers.feedback, asked)
        return await self._threads.run(partial(_rendered, work))

    async def explain(self, asked: ExplainRequest) -> Response:
        """Explain scores."""
        work = partial(self._answers.explain, asked)
        return await self._threads.run(partial(_rendered, work))

    async def look(self) -> None:
        """Look what is served, and note it; a new publication is loaded by that."""
        try:
            found: str | ProblemError = await self._looking.run(self._answers.ready)
        except Exception as error:  # told by `/readyz`
            found = problem_of(error)
            if self._seen is None or isinstance(self._seen[1], str):
                _LOG.warning("not ready", exc_info=error)
        self._seen = time.monotonic(), found
        version = found if isinstance(found, str) else None
        if self.metrics.serves(version):
            fields = {"model_version": version}
            _LOG.info("answering by another model", extra={"fields": fields})

    def ready(self) -> str:
        """Return the version that is served; a ProblemError tells why none is."""
        if self._seen is None:
            raise ProblemError("busy", "the service is starting")
        when, found = self._seen
        if isinstance(found, ProblemError):
            raise found
        if time.monotonic() - when > self._settings.refresh + self._settings.deadline:
            raise ProblemError("unreachable", "the store does not answer")
        return found

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep looking; at the end, finish what has begun."""
        self.metrics.start()
        await self.look()
        task = asyncio.create_task(self._keep_looking())
        try:
            yield
        finally:
            task.cancel()
            for threads in (self._threads, self._encoding, self._looking):
                threads.close()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._settings.refresh)
            await self.look()


def _rendered(work: Callable[[], dict[str, Any]]) -> Response:
    """Answer, and write it as JSON: long answers take as long to write as to find."""
    return as_json(work())


def as_json(content: dict[str, Any]) -> Response:
    """Write an answer, with the version of the model in its headers, too."""
    version = content.get("model_version")
    headers = {} if version is None else {MODEL_VERSION: quote(str(version), _PLAIN)}
    return JSONResponse(content, headers=headers)
