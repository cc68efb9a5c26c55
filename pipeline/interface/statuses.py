"""The one table from an error to its gRPC status and its HTTP status.

An overload is UNAVAILABLE on ``penstock.v1`` and RESOURCE_EXHAUSTED on the APIs
whose clients expect that; all other errors have the same status everywhere.
"""

from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final

from attrs import frozen

from stages.errors import Overloaded, PenstockError


class GrpcStatus(IntEnum):
    """The gRPC statuses that this server sends, with gRPC's numbers."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Api(Enum):
    """A family of clients."""

    PENSTOCK = "penstock.v1"
    GPU_INFERENCE = "gpu_inference"
    TEI = "tei.v1"


@frozen
class Status:
    """One outcome in both protocols."""

    grpc: GrpcStatus
    http: int


STATUSES: Final = MappingProxyType(
    {
        "INVALID_ARGUMENT": Status(GrpcStatus.INVALID_ARGUMENT, 400),
        "UNAUTHENTICATED": Status(GrpcStatus.UNAUTHENTICATED, 401),
        "RESOURCE_EXHAUSTED": Status(GrpcStatus.RESOURCE_EXHAUSTED, 413),
        "UNAVAILABLE": Status(GrpcStatus.UNAVAILABLE, 503),
        "DEADLINE_EXCEEDED": Status(GrpcStatus.DEADLINE_EXCEEDED, 504),
        "UNIMPLEMENTED": Status(GrpcStatus.UNIMPLEMENTED, 501),
        "INTERNAL": Status(GrpcStatus.INTERNAL, 500),
    }
)
OVERLOADED_HTTP: Final = 429


def grpc_status(error: PenstockError, api: Api = Api.PENSTOCK) -> GrpcStatus:
    """The gRPC status of ``error`` for the clients of ``api``."""
    if isinstance(error, Overloaded):
        return GrpcStatus.UNAVAILABLE if api is Api.PENSTOCK else GrpcStatus.RESOURCE_EXHAUSTED
    return STATUSES[error.code].grpc


def http_status(error: PenstockError) -> int:
    """The HTTP status of ``error``."""
    if isinstance(error, Overloaded):
        return OVERLOADED_HTTP
    return STATUSES[error.code].http


def retry_after_s(error: PenstockError) -> float | None:
    """Seconds after which the same request may succeed; None: it never will as it stands."""
    after = getattr(error, "retry_after_s", None)
    return float(after) if after is not None else None
