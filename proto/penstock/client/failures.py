"""From what grpclib raises to the errors of this package."""

import os
import ssl
from typing import Final

from google.protobuf.message import DecodeError
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from penstock.client import errors
from penstock.client.details_pb2 import BadRequest, RetryInfo
from penstock.client.details_pb2 import Status as StatusDetails

REFUSED: Final[dict[Status, type[errors.ClientError]]] = {
    Status.INVALID_ARGUMENT: errors.InvalidRequest,
    Status.RESOURCE_EXHAUSTED: errors.InvalidRequest,
    Status.UNIMPLEMENTED: errors.InvalidRequest,
    Status.UNAUTHENTICATED: errors.Unauthenticated,
    Status.PERMISSION_DENIED: errors.Unauthenticated,
    Status.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
}
LOST: Final = (StreamTerminatedError, ProtocolError)


class DetailsCodec(StatusDetailsCodecBase):
    """Reads a status's details without the package that defines them."""

    def encode(self, status: Status, message: str | None, details: object) -> bytes:
        """Clients send no status."""
        raise NotImplementedError

    def decode(self, status: Status, message: str | None, data: bytes) -> StatusDetails | None:
        """The details; None where they cannot be read."""
        del status, message
        try:
            return StatusDetails.FromString(data)
        except DecodeError:
            return None


def failure(error: Exception, target: str, *, met: bool) -> errors.ClientError:
    """What ``error`` of a call to ``target`` means; ``met``: the server has answered before."""
    if isinstance(error, GRPCError):
        return _refused(error)
    if isinstance(error, LOST):  # as when the server has been replaced
        message = f"the connection to {target} was lost before the answer came"
        hint = "" if met else "; is TLS spoken there, or a client certificate asked for?"
        return errors.Unreachable(message + hint, passing=True)
    return errors.Unreachable(f"cannot reach a server at {target}: {_reason(error)}", passing=met)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {error.verify_message}"
    number = getattr(error, "errno", None) or 0
    known = number > 0 and not isinstance(error, ssl.SSLError)  # which has numbers of its own
    return os.strerror(number) if known else str(error)


def _refused(error: GRPCError) -> errors.ClientError:
    message = f"the server refused: {error.message or error.status.name}"
    field = ""
    after_s: float | None = None
    details = error.details.details if isinstance(error.details, StatusDetails) else ()
    for detail in details:
        kind = detail.type_url.rpartition("/")[2]
        if kind == "google.rpc.RetryInfo":
            delay = RetryInfo.FromString(detail.value).retry_delay
            after_s = delay.seconds + delay.nanos / 1e9
        elif kind == "google.rpc.BadRequest":
            violations = BadRequest.FromString(detail.value).field_violations
            field = violations[0].field if violations else ""
    if error.status is Status.UNAVAILABLE or after_s is not None:
        return errors.Unavailable(message, passing=True, retry_after_s=after_s)
    kind_of_error = REFUSED.get(error.status, errors.ServerFailed)
    if kind_of_error is errors.InvalidRequest:
        return errors.InvalidRequest(message, field=field)
    return kind_of_error(message)
