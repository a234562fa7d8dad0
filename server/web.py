"""The ASGI application: routes, problems, the page, and the engines that live as long as it does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline import __version__, health, log
from pipeline.errors import Code, JobError
from pipeline.job import ColorLockSpec, StrokeSpec
from server import answers, database, description, keeper, metrics, page, routes, training_routes
from server.guard import Guard
from server.problems import Problem, answer, of_job_error, of_status
from server.settings import Pod, listed

_ABOUT = """Turns photographs of vehicles into flat vector illustrations. Submit a photo, follow its job, fetch the files.

Errors are RFC 9457 problems (`application/problem+json`) with the `code` of docs/errors.md.
"""


def create(pod: Pod) -> FastAPI:
    """The application of one web process. `server.counters.prepare` was called."""
    log.configure(pod.environment.log_level)
    metrics.begin(pod.environment.workers)
    jobs = database.connect(pod.database)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        async with keeper.engines(pod, jobs):
            structlog.get_logger().info("server_started", workers=pod.environment.workers, with_key=pod.environment.api_key is not None)
            _note("ready")
            yield
            _note("leaving")
        jobs.close()

    app = FastAPI(
        title="Vehicle to vector",
        version=__version__,
        description=_ABOUT,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
    )
    routes.add(app, pod, jobs)
    training_routes.add(app, pod, jobs)
    app.router.routes.extend([*description.routes(), *page.routes()])
    app.add_middleware(Heads)
    app.add_middleware(Guard, pod=pod, body_limits=routes.body_limits(pod))
    if origins := listed(pod.environment.cors_origins):
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST", "DELETE"], allow_headers=["*"])
    _answer_problems(app)
    _describe(app, with_key=pod.environment.api_key is not None)
    return app


class Heads:
    """The ASGI middleware that answers HEAD as GET without the body (RFC 9110, 9.3.2), as monitors and load balancers ask; the framework
    does not. Events are left out: they would be made for as long as a job takes, and nobody would hear them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].endswith("/events"):
            await self.app(scope, receive, send)
            return

        async def head_alone(message: Message) -> None:
            scope["method"] = "HEAD"  # by which the server knows that no body follows
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        scope["method"] = "GET"  # in place, so that the guard learns which route it was
        try:
            await self.app(scope, receive, head_alone)
        finally:
            scope["method"] = "HEAD"


def _note(state: health.State) -> None:
    """Tell the container's health check."""
    try:
        health.note(state)
    except OSError as fault:  # the server goes on without this file
        structlog.get_logger().warning("state_not_noted", reason=str(fault.strerror))


def _answer_problems(app: FastAPI) -> None:
    """Every refusal, of ours or the framework's, in one form."""

    @app.exception_handler(Problem)
    async def refused(_: Request, problem: Problem) -> Response:
        metrics.ERRORS.labels(str(problem.code)).inc()
        return answer(problem)

    @app.exception_handler(JobError)
    async def wrong_job(request: Request, error: JobError) -> Response:
        return await refused(request, of_job_error(error))

    @app.exception_handler(HTTPException)
    async def refused_by_framework(request: Request, fault: HTTPException) -> Response:
        sentence = _SENTENCES.get(fault.status_code, f"{str(fault.detail).rstrip('.')}.")
        return await refused(request, of_status(fault.status_code, sentence, fault.headers))

    @app.exception_handler(RequestValidationError)
    async def wrong_parameter(request: Request, fault: RequestValidationError) -> Response:
        first = fault.errors()[0]
        return await refused(request, Problem(Code.INVALID_INPUT, f"{first['loc'][-1]}: {first['msg'].rstrip('.')}."))


_SENTENCES = {
    404: "There is nothing at this address; /docs lists what there is.",
    405: "This address does not take that method; Allow names those it does.",
}


def _describe(app: FastAPI, *, with_key: bool) -> None:
    """The API's description: the job's own schemas, the problems, and the key where one is wanted."""
    built = app.openapi

    def openapi() -> dict[str, Any]:
        schema = built()
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = answers.Problem.model_json_schema()
        schemas["StrokeSpec"], schemas["ColorLockSpec"] = StrokeSpec.model_json_schema(), ColorLockSpec.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):  # the framework's own, which is never answered here
            schemas.pop(name, None)
        for operation in (operation for path in schema["paths"].values() for operation in path.values()):
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
        if with_key:
            schema["components"]["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            schema["security"] = [{"bearer": []}, {"key": []}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
