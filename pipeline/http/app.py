"""The routes, as an ASGI application.

From the outside in: the headers of every answer, the rest of an unread body, callers' keys,
CORS where it is on, then the routes. Each family of routes has a file of its own.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from pipeline.http import openai
from pipeline.http.asgi import App, Receive, Scope, Send
from pipeline.http.authentication import Authentication
from pipeline.http.call import Answering, Edge, Work
from pipeline.http.connection.early_response import EarlyResponse
from pipeline.http.errors import NoSuchRoute, WrongMethod, style_of
from pipeline.http.live.feed import Feed
from pipeline.http.live.routes import live_routes
from pipeline.http.openapi.routes import openapi_routes
from pipeline.http.probes import probes
from pipeline.http.response_headers import ResponseHeaders
from pipeline.http.tei.info import ServerInfo, info
from pipeline.http.tei.routes import tei_routes
from pipeline.interface.status import StatusBoard
from pipeline.observability.metrics import Metrics
from pipeline.security.access import Access
from stages.errors import Internal, PenstockError

EXPOSED: Final = (  # to scripts of web pages
    *("x-request-id", "retry-after", "retry-after-ms", "x-compute-type", "x-compute-time"),
    *("x-compute-characters", "x-compute-tokens", "x-total-time", "x-tokenization-time"),
    *("x-queue-time", "x-inference-time"),
)

Handler: TypeAlias = Callable[[Request, Exception], Awaitable[Response]]


def make_app(
    edge: Edge,
    metrics: Metrics,
    access: Access,
    feed: Feed,
    *,
    server: ServerInfo,
    cors_origins: Sequence[str] = (),
    hang_timeout_s: float = 30.0,
    load_reports: bool = False,
) -> App:
    """The application that serves ``edge`` and ``metrics``, and shows ``feed``.

    ``load_reports``: answers say how loaded the server is.
    """
    open_routes = list(probes(edge.board, metrics, hang_timeout_s))
    work = dict(_work_routes(edge))
    routes = [
        *(Route(path, answer, methods=["POST"]) for path, answer in work.items()),
        *_model_routes(edge.board, server),
        *live_routes(feed),
        *openapi_routes(edge.board, server.version),
        *open_routes,
    ]
    app = Starlette(routes=routes, exception_handlers=_handlers(routes))
    app.router.redirect_slashes = False
    open_paths = {route.path for route in open_routes}
    guarded = Authentication(_work_first(work, app), access, open_paths, edge.on_refused)
    read = EarlyResponse(_with_cors(guarded, cors_origins) if cors_origins else guarded)
    return ResponseHeaders(read, edge.board, load_reports=load_reports)


def _with_cors(app: App, origins: Sequence[str]) -> App:
    """``app`` for web pages of ``origins`` too. They send their keys themselves, as headers."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        expose_headers=EXPOSED,
    )


def _work_first(work: Mapping[str, Work], app: App) -> App:
    """Route calls of ``work`` past ``app``: they handle their errors, and need no router."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        found = work.get(scope["path"]) if scope["method"] == "POST" else None
        await (found or app)(scope, receive, send)

    return answer


def _work_routes(edge: Edge) -> Iterator[tuple[str, Work]]:
    """What goes to the frontend, by its path."""

    def route(path: str, answer: Answering) -> tuple[str, Work]:
        return path, Work(edge, answer, style_of(path))

    yield route("/v1/embeddings", openai.embeddings)
    yield route("/embeddings", openai.embeddings)
    for path, answer in tei_routes():
        yield route(path, answer)


def _model_routes(board: StatusBoard, server: ServerInfo) -> Iterator[Route]:
    """The routes that describe the loaded model: they only read what is known."""

    async def models(_: Request) -> Response:
        return openai.models(board)

    async def model(request: Request) -> Response:
        return openai.model(board, request.path_params["id"])

    async def about(_: Request) -> Response:
        return info(board, server)

    yield Route("/v1/models", models)
    yield Route("/v1/models/{id:path}", model)
    yield Route("/info", about)


def _handlers(routes: Iterable[Route]) -> dict[Any, Handler]:
    """The answers to errors that no route handles."""
    routes = tuple(routes)
    paths = ", ".join(sorted({route.path_format for route in routes}))

    def failed(request: Request, error: PenstockError) -> Response:
        return style_of(request.scope["path"])(error)

    async def not_found(request: Request, _: Exception) -> Response:
        return failed(request, NoSuchRoute(f"there is no such path; the paths are {paths}"))

    async def not_allowed(request: Request, _: Exception) -> Response:
        here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
        allow = ", ".join(sorted(set().union(*(route.methods or () for route in here))))
        return failed(request, WrongMethod(f"only {allow} is allowed here", allow=allow))

    async def refused(request: Request, error: Exception) -> Response:
        return failed(request, error if isinstance(error, PenstockError) else Internal(""))

    return {404: not_found, 405: not_allowed, PenstockError: refused}
