"""Answers in JSON, written by orjson."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.responses import Response

JSON: Final = "application/json"


def json_response(
    document: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """``document`` as JSON."""
    return written_response(orjson.dumps(document), status, headers)


def written_response(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A response of JSON that is already encoded."""
    return Response(body, status, headers, JSON)
