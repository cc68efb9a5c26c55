"""The routes of the document and of its page."""

from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.http.json_response import json_response
from pipeline.http.live.page import HEADERS
from pipeline.http.openapi.document import document
from pipeline.interface.status import StatusBoard


def openapi_routes(board: StatusBoard, version: str) -> list[Route]:
    """``GET /openapi.json`` and ``GET /docs``."""

    async def schema(_: Request) -> Response:
        return json_response(document(board.model, board.limits, version))

    async def docs(_: Request) -> Response:
        return Response(_page(), media_type="text/html", headers=HEADERS)

    return [Route("/openapi.json", schema), Route("/docs", docs)]


@cache
def _page() -> bytes:
    return (files(__package__) / "docs.html").read_bytes()
