"""Errors as clients know them: OpenAI's body, and TEI's.

Statuses come from the one table (:mod:`pipeline.interface.statuses`); here are those that
only HTTP has, and those for which TEI's clients expect another number.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from attrs import frozen
from starlette.responses import Response

from pipeline.http.json_response import json_response
from pipeline.interface.statuses import http_status, retry_after_s
from stages.errors import (
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NoItems,
    NotOffered,
    NotServing,
    Overloaded,
    PenstockError,
    TooLarge,
    Unauthenticated,
)


class BadJson(InvalidInput):
    """The body is not JSON, or not a JSON object."""


class UnsupportedBody(InvalidInput):
    """The body's headers do not declare plain JSON."""


class SlowBody(DeadlineExceeded):
    """The body did not come in time."""


class NoSuchRoute(InvalidInput):
    """There is no such path."""


class NoSuchModel(InvalidInput):
    """There is no model of that name."""


class WrongMethod(InvalidInput):
    """The path has other methods; ``allow`` names them."""

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


ErrorStyle: TypeAlias = Callable[[PenstockError], Response]


@frozen
class Kind:
    """The name of an error; ``status`` where it is not the table's."""

    name: str
    code: str | None = None  # OpenAI's second name
    status: int | None = None


CHALLENGE: Final = 'Bearer, Basic realm="penstock"'  # the second for browsers
BAD_REQUEST: Final = "invalid_request_error"
OPENAI_KINDS: Final[Mapping[type, Kind]] = {
    UnsupportedBody: Kind(BAD_REQUEST, "unsupported_media_type", 415),
    NoSuchRoute: Kind(BAD_REQUEST, "unknown_url", 404),
    NoSuchModel: Kind(BAD_REQUEST, "model_not_found", 404),
    WrongMethod: Kind(BAD_REQUEST, "method_not_supported", 405),
    InvalidInput: Kind(BAD_REQUEST),
    TooLarge: Kind(BAD_REQUEST, "request_too_large"),
    SlowBody: Kind(BAD_REQUEST, "request_timeout", 408),
    Unauthenticated: Kind(BAD_REQUEST, "invalid_api_key"),
    NotOffered: Kind(BAD_REQUEST, "unsupported_by_model", 400),
    Overloaded: Kind("rate_limit_error", "rate_limit_exceeded"),
    NotServing: Kind("server_error", "unavailable"),
    DeadlineExceeded: Kind("server_error", "timeout"),
    PenstockError: Kind("server_error", "internal_error"),
}
TEI_KINDS: Final[Mapping[type, Kind]] = {
    UnsupportedBody: Kind("Validation", status=415),
    NoSuchRoute: Kind("Validation", status=404),
    WrongMethod: Kind("Validation", status=405),
    BadJson: Kind("Validation", status=400),
    NoItems: Kind("Empty", status=400),
    InvalidInput: Kind("Validation", status=422),
    TooLarge: Kind("Validation"),
    SlowBody: Kind("Validation", status=408),
    Unauthenticated: Kind("Unauthenticated"),
    NotOffered: Kind("Backend", status=424),
    Overloaded: Kind("Overloaded"),
    NotServing: Kind("Unhealthy"),
    DeadlineExceeded: Kind("Backend"),
    Internal: Kind("Backend", status=424),
    PenstockError: Kind("Backend"),
}


def openai_error(error: PenstockError) -> Response:
    """``error`` as OpenAI's clients know it."""
    kind = _kind(error, OPENAI_KINDS)
    body = {
        "message": error.message,
        "type": kind.name,
        "param": getattr(error, "field", "") or None,
        "code": kind.code,
    }
    return json_response({"error": body}, kind.status or http_status(error), _headers(error))


def tei_error(error: PenstockError) -> Response:
    """``error`` as TEI's clients know it."""
    kind = _kind(error, TEI_KINDS)
    body = {"error": error.message, "error_type": kind.name}
    return json_response(body, kind.status or http_status(error), _headers(error))


def style_of(path: str) -> ErrorStyle:
    """How errors look on ``path``."""
    return openai_error if path.startswith("/v1/") or path == "/embeddings" else tei_error


def _kind(error: PenstockError, kinds: Mapping[type, Kind]) -> Kind:
    """The kind of the most specific of the error's classes that has one."""
    return next(kinds[known] for known in type(error).__mro__ if known in kinds)


def _headers(error: PenstockError) -> dict[str, str]:
    if isinstance(error, WrongMethod):
        return {"allow": error.allow}
    if isinstance(error, Unauthenticated):
        return {"www-authenticate": CHALLENGE}
    after_s = retry_after_s(error)
    if after_s is None:
        return {}
    return {
        "retry-after": str(math.ceil(after_s)),
        "retry-after-ms": str(math.ceil(after_s * 1e3)),
    }
