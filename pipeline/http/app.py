"""The routes, as a Starlette application.

Every route only reads a value that was published before, in Trio's own thread: none
waits for a lock, a thread or the pipeline, so all of them answer while the server
is saturated.
"""

import prometheus_client.exposition as prometheus
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.face import StatusBoard
from pipeline.http.health import can_serve, health_body, is_alive, is_ready
from pipeline.observability.metrics import Metrics


def make_app(board: StatusBoard, metrics: Metrics, hang_timeout_s: float) -> Starlette:
    """The application that answers for ``board`` and ``metrics``."""

    async def health(_: Request) -> Response:
        load = board.snapshot
        return JSONResponse(health_body(load), 200 if can_serve(load) else 503)

    async def livez(_: Request) -> Response:
        load = board.snapshot
        return _verdict("alive", load.status, is_alive(load, hang_timeout_s))

    async def readyz(_: Request) -> Response:
        load = board.snapshot
        return _verdict("ready", load.status, is_ready(load))

    async def series(request: Request) -> Response:
        encode, content_type = prometheus.choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), media_type=content_type)

    routes = [
        Route("/health", health),
        Route("/livez", livez),
        Route("/readyz", readyz),
        Route("/metrics", series),
    ]
    paths = ", ".join(route.path for route in routes)

    async def not_found(_: Request, __: Exception) -> Response:
        return JSONResponse({"error": f"there is no such path; there are {paths}"}, 404)

    async def not_allowed(_: Request, error: Exception) -> Response:
        allow = error.headers if isinstance(error, HTTPException) else None
        return JSONResponse({"error": "only GET and HEAD are allowed here"}, 405, allow)

    app = Starlette(routes=routes, exception_handlers={404: not_found, 405: not_allowed})
    app.router.redirect_slashes = False
    return app


def _verdict(question: str, status: str, yes: bool) -> Response:
    return JSONResponse({question: yes, "status": status}, 200 if yes else 503)
