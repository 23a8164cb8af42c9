"""The paths of the service, and what OpenAPI says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar

from fastapi import FastAPI, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from skmmrec import __version__

from ._gate import Gate, ReadRoute, UploadRoute, WriteRoute
from ._messages import (
    EventsAnswer,
    ExplainAnswer,
    ExplainRequest,
    FeedbackAnswer,
    FeedbackQuery,
    FeedbackRequest,
    Health,
    RecommendAnswer,
    RecommendRequest,
    SimilarAnswer,
    SimilarRequest,
)
from ._observing import Observed
from ._problems import MEDIA_TYPE, Problem, answer_problem
from ._service import Service, as_json
from ._uploads import OPENAPI, read_similar

# For OpenAPI; the gate looks at tokens before a body is read, which this could not.
_BEARER = [Security(HTTPBearer(auto_error=False))]


def build(gate: Gate, service: Service) -> FastAPI:
    """Make an application of its parts."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    # The usual pages of documentation load scripts from other hosts.
    app = FastAPI(
        title="skmmrec",
        version=__version__,
        summary="Recommendations from a published model.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.gate = gate
    app.add_middleware(Observed, metrics=service.metrics)
    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer_problem)
    _add_routes(app, Endpoints(service))
    return app


class Endpoints:
    """What is done for each path."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def recommend(self, asked: RecommendRequest) -> Response:
        """Recommend items to users, or to somebody who has seen some items."""
        return await self._service.recommend(asked)

    async def similar(self, request: Request) -> Response:
        """Find the items most like others, or like words, files or vectors."""
        return await self._service.similar(*await read_similar(request))

    async def record(self, asked: FeedbackRequest) -> Response:
        """Record that a user interacted with an item, and update the user at once.

        Not to be repeated after status 504: the event may have been recorded.
        """
        return await self._service.record(asked)

    async def feedback(self, asked: Annotated[FeedbackQuery, Query()]) -> Response:
        """Return the events that the served model has not taken in, page by page."""
        return await self._service.feedback(asked)

    async def explain(self, asked: ExplainRequest) -> Response:
        """Say which items of a user's history are behind a score."""
        return await self._service.explain(asked)

    async def metrics(self) -> Response:
        """Return counts in Prometheus' format."""
        # Of workers that were restarted, files stay: 200 of them take 0.1 s to add up.
        text = await run_in_threadpool(self._service.metrics.text)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(self) -> Response:
        """Tell that this worker runs."""
        return as_json({"status": "alive"})

    async def ready(self) -> Response:
        """Tell whether a publication is served."""
        version = self._service.ready()
        return as_json({"status": "ready", "model_version": version})


class _Told:
    """What may be answered instead, by the part of it that differs."""

    OPEN: ClassVar = (503,)
    READ: ClassVar = (400, 401, 403, 408, 413, 422, 429, 500, 503, 504)
    IDS: ClassVar = (*READ, 404, 415)
    FILES: ClassVar = (*IDS, 501)
    WRITE: ClassVar = (*IDS, 507)


def _problems(statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": "A problem", "content": content}
        for status in sorted(statuses)
    }


def _add_routes(app: FastAPI, ends: Endpoints) -> None:
    def add(
        path: str,
        endpoint: Any,
        kind: type[ReadRoute] | None,
        answer: type[BaseModel] | None,
        statuses: tuple[int, ...],
        **options: Any,
    ) -> None:
        app.router.add_api_route(
            path,
            endpoint,
            response_model=answer,
            responses=_problems(statuses),
            dependencies=None if kind is None else _BEARER,
            route_class_override=kind,
            **{"methods": ["POST"], **options},
        )

    get = {"methods": ["GET"]}
    add("/recommend", ends.recommend, ReadRoute, RecommendAnswer, _Told.IDS)
    add(
        "/similar",
        ends.similar,
        UploadRoute,
        SimilarAnswer,
        _Told.FILES,
        openapi_extra=OPENAPI,
    )
    add("/feedback", ends.record, WriteRoute, FeedbackAnswer, _Told.WRITE)
    add("/feedback", ends.feedback, WriteRoute, EventsAnswer, _Told.READ, **get)
    add("/explain", ends.explain, ReadRoute, ExplainAnswer, _Told.IDS)
    add(
        "/metrics",
        ends.metrics,
        ReadRoute,
        None,
        _Told.READ,
        response_class=Response,
        **get,
    )
    for path, end, statuses in (
        ("/healthz", ends.alive, ()),
        ("/readyz", ends.ready, _Told.OPEN),
    ):
        add(path, end, None, Health, statuses, **get)
        # Balancers ask so; servers send no body then.
        app.router.add_api_route(path, end, methods=["HEAD"], include_in_schema=False)
    _name_schemas(app, SimilarRequest, Problem)


def _name_schemas(app: FastAPI, *models: type[BaseModel]) -> None:
    """Put models that only references name among the schemas of OpenAPI."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        schemas = document["components"]["schemas"]
        for model in models:
            schemas.setdefault(model.__name__, model.model_json_schema())
        return document

    app.openapi = openapi  # type: ignore[method-assign]
