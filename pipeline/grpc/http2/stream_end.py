"""How a stream is ended from here: with a last header block, or broken off."""

from typing import Any

from grpclib.protocol import Stream
from h2.errors import ErrorCodes

from pipeline.grpc.trailers import plain_block


def end_stream(stream: Stream, headers: list[tuple[str, str]]) -> None:
    """End ``stream`` with ``headers`` at once; nothing happens when it is closed already.

    A client that has not finished sending is told to stop with RST_STREAM(NO_ERROR),
    so a stream never stays half open. Never blocks: where the client does not read,
    the few bytes wait in the transport.
    """
    if not stream.closable:
        return
    h2: Any = stream._h2_connection  # noqa: SLF001 - what grpclib's own Stream methods use
    h2.flood.answers += 1
    if not h2.refuse(stream.id, plain_block(headers)):
        h2.send_headers(stream.id, headers, end_stream=True)
    if stream.closable:
        h2.reset_stream(stream.id, ErrorCodes.NO_ERROR)
    stream.connection.flush()


def reset_stream(stream: Stream, code: ErrorCodes) -> None:
    """Break ``stream`` off with ``code``; nothing happens when it is closed already."""
    if stream.closable:
        h2: Any = stream._h2_connection  # noqa: SLF001 - as above
        h2.reset_stream(stream.id, code)
        stream.connection.flush()
