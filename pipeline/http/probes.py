"""Health, readiness, liveness and metrics: the routes that are open to everybody.

Each only reads a value that was published before: none waits for a lock, a thread or
the pipeline, so all of them answer while the server is saturated.
"""

from collections.abc import Iterator

import prometheus_client.exposition as prometheus
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.http.health import can_serve, health_body, is_alive, is_ready
from pipeline.interface.status import StatusBoard
from pipeline.observability.metrics import Metrics


def probes(board: StatusBoard, metrics: Metrics, hang_timeout_s: float) -> Iterator[Route]:
    """The routes that show ``board`` and ``metrics``."""

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

    yield Route("/health", health)
    yield Route("/ping", health)
    yield Route("/livez", livez)
    yield Route("/readyz", readyz)
    yield Route("/metrics", series)


def _verdict(question: str, status: str, yes: bool) -> Response:
    return JSONResponse({question: yes, "status": status}, 200 if yes else 503)
