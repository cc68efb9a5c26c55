"""How a call ends that failed: the header block that says why."""

from collections.abc import Mapping
from typing import Final

import structlog
from grpclib.exceptions import GRPCError

from pipeline.grpc.call import Call
from pipeline.grpc.errors import Unimplemented
from pipeline.grpc.trailers import Headers, error_trailers, status_trailers
from pipeline.interface.statuses import GrpcStatus
from stages.errors import DeadlineExceeded, Internal, PenstockError

log = structlog.get_logger()

CONTENT_TYPES: Final = frozenset({"application/grpc", "application/grpc+proto"})


def failure_trailers(call: Call, error: Exception) -> Headers:
    """The trailers for ``error``; an unexpected one is logged and becomes INTERNAL."""
    if isinstance(error, Unimplemented):
        headers = status_trailers(GrpcStatus.UNIMPLEMENTED, str(error), opened=call.opened)
        return [*headers, ("grpc-accept-encoding", "identity")]
    if isinstance(error, GRPCError):  # from grpclib's own services
        status = GrpcStatus(error.status.value)
        return status_trailers(status, error.message or "", opened=call.opened)
    if not isinstance(error, PenstockError):
        log.error("gRPC call failed", path=call.method.path, exc_info=error)
        error = Internal("the server failed; its log has the details")
    return error_trailers(error, call.method.api, opened=call.opened)


def expired() -> PenstockError:
    """The error of a call whose time is up."""
    return DeadlineExceeded("no answer before the call's deadline")


def stalled() -> PenstockError:
    """The error of a call whose client neither sends nor reads."""
    return DeadlineExceeded("the client kept the call waiting for too long")


def not_grpc(headers: Mapping[str, str]) -> Headers | None:
    """The answer, an HTTP status, to what is not a gRPC call at all; None when it is one."""
    if headers.get(":method") != "POST":
        return [(":status", "405")]
    if headers.get("content-type") not in CONTENT_TYPES:
        message = "content-type must be application/grpc"
        trailers = status_trailers(GrpcStatus.INVALID_ARGUMENT, message, opened=True)
        return [(":status", "415"), *trailers]
    return None
