"""One HTTP/2 connection: what grpclib leaves open, mended.

What is mended, and the internals that each mend touches (grpclib is pinned exactly;
h2's own are in :mod:`pipeline.grpc.server_h2`):

- *Surplus streams* are refused alone, with REFUSED_STREAM, which clients may retry
  safely. (``EventsProcessor.process_request_received``)
- *Two-phase GOAWAY*, and a client's GOAWAY(NO_ERROR): calls in flight finish.
  (``process_connection_terminated``, ``register``)
- *Closing* half first: a socket that is closed while the client still sends resets
  the connection, and what the client has not read of its last answer is lost.
- *Unknown frames* are ignored, as RFC 9113 (5.5) says; grpclib raises. (``process``)
- *Empty DATA frames* in the middle of a message are legal; grpclib takes them for
  the end of the stream. (``process_data_received``)
"""

import asyncio
from abc import abstractmethod
from asyncio import BaseTransport, Transport
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, cast

import structlog
from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol, Stream
from grpclib.utils import Wrapper
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived
from h2.exceptions import StreamClosedError

from pipeline.grpc.server_h2 import ALL_STREAMS, WINDOW_BYTES, ServerH2
from pipeline.grpc.stream import EdgeStream

log = structlog.get_logger()

LINGER_S: Final = 2.0  # clients close at once when they read the end; some never do


class EdgeConnection(Connection):
    """grpclib's connection, writing once a turn of the loop.

    What the calls of one turn have to say leaves in one write: with 32 in flight a
    call costs 210 us of processor time, and 260 us where each flushes by itself.
    """

    def __init__(self, h2: ServerH2, transport: Transport, config: Configuration) -> None:
        super().__init__(h2, transport, config=config)
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._ended = False

    def create_stream(
        self, *, stream_id: int | None = None, wrapper: Wrapper | None = None
    ) -> Stream:
        """A stream that the client has opened."""
        del wrapper  # what ends a client's call
        return EdgeStream(self, self._connection, self._transport, cast(int, stream_id))

    def flush(self) -> None:
        """Write what h2 has to send at the end of this turn."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._scheduled = False
        if not self._ended and not self.is_closing():
            super().flush()

    def hang_up(self) -> None:
        """Write what is left, and close when the client has read it to its end."""
        transport = self._transport
        if self._ended or not transport.can_write_eof():
            self.close()
            return
        self._write()
        self._ended = True
        with suppress(OSError):  # the client has closed its end already
            transport.write_eof()
        self._loop.call_later(LINGER_S, transport.close)

    def close(self) -> None:
        """Write what is left and close."""
        self._write()
        super().close()


class EdgeProcessor(EventsProcessor):
    """grpclib's reactions to what h2 reports, for a server."""

    connection: EdgeConnection

    def __init__(self, handler: AbstractHandler, connection: EdgeConnection, h2: ServerH2) -> None:
        super().__init__(handler, connection)
        self._h2 = h2
        self._max_streams = h2.local_settings.max_concurrent_streams
        self._last_stream_id = ALL_STREAMS
        self._finishing = False

    def process(self, event: Event) -> None:
        """React to ``event``; kinds that are not known are ignored."""
        processors = getattr(self, "processors", None)  # gone once the connection is closed
        if processors is not None and type(event) in processors:
            processors[type(event)](event)

    def process_request_received(self, event: RequestReceived) -> None:
        """Hand a new stream to the handler, or refuse it when there are too many."""
        if len(self.streams) >= self._max_streams or event.stream_id > self._last_stream_id:
            with suppress(StreamClosedError):  # the client reset it in the same read
                self._h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
        else:
            super().process_request_received(event)

    def process_data_received(self, event: DataReceived) -> None:
        """Buffer a piece of a message."""
        if event.flow_controlled_length:
            super().process_data_received(event)

    def process_connection_terminated(self, event: ConnectionTerminated) -> None:
        """The client goes away: at NO_ERROR its calls in flight may finish first."""
        if event.error_code == ErrorCodes.NO_ERROR:
            self.finish()
        else:
            super().process_connection_terminated(event)

    def register(self, stream: Stream) -> Callable[[], None]:
        """Know ``stream`` until the function that comes back is called, once or oftener."""
        release = super().register(stream)

        def release_once() -> None:
            if stream.id in self.streams:
                release()
                self._close_when_finished()

        return release_once

    def refuse_above(self, last_stream_id: int) -> None:
        """Refuse streams with a higher number from now on."""
        self._last_stream_id = last_stream_id

    def finish(self) -> None:
        """Close the connection as soon as no call is in flight."""
        self._finishing = True
        self._close_when_finished()

    def _close_when_finished(self) -> None:
        if self._finishing and not self.streams and not self.connection.is_closing():
            self.refuse_above(0)
            self.connection.hang_up()


class EdgeHandler(AbstractHandler):
    """The calls of one connection; grpclib's interface and one thing more."""

    @abstractmethod
    def close_streaming(self) -> None:
        """End what would never end by itself."""


class Connections(Protocol):
    """Where a connection reports its beginning and its end."""

    def opened(self, connection: "EdgeProtocol") -> None:
        """``connection`` has begun."""
        ...

    def closed(self, connection: "EdgeProtocol") -> None:
        """``connection`` has ended, for whatever reason."""
        ...


class EdgeProtocol(H2Protocol):
    """asyncio's view of a connection."""

    handler: EdgeHandler
    processor: EdgeProcessor

    def __init__(self, handler: EdgeHandler, connections: Connections, max_streams: int) -> None:
        self.h2 = ServerH2(max_streams)
        config = Configuration().__for_server__()
        super().__init__(handler, config, self.h2.config)
        self._connections = connections
        self._transport: Transport | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Send our SETTINGS and open the connection's window."""
        self._transport = transport = cast(Transport, transport)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW_BYTES - self.h2.inbound_flow_control_window)
        connection = EdgeConnection(self.h2, transport, self.config)
        self.connection = connection
        self.connection.flush()
        self.connection.initialize()
        self.processor = EdgeProcessor(self.handler, connection, self.h2)
        self._connections.opened(self)

    def data_received(self, data: bytes) -> None:
        """Feed ``data`` to h2; a client that breaks the protocol is told so and cut off."""
        try:
            events = self.connection.feed(data)
        except Exception as error:  # h2 has queued a GOAWAY when it is a ProtocolError
            log.info("gRPC connection broken", error=type(error).__name__)
            self.processor.close("Protocol error")
            return
        for event in events:
            self.processor.process(event)
        self.connection.flush()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel what is in flight."""
        super().connection_lost(exc)
        self._connections.closed(self)

    def announce_end(self) -> None:
        """First phase: tell the client to open no new streams; all that come are served."""
        if not self.connection.is_closing():
            self.h2.go_away(ALL_STREAMS)
            self.connection.flush()

    def finish(self) -> None:
        """Second phase: name the last stream that is served, and close after it."""
        if not self.connection.is_closing():
            last = self.h2.highest_inbound_stream_id
            self.processor.refuse_above(last)
            self.h2.go_away(last)
            self.connection.flush()
            self.handler.close_streaming()
            self.processor.finish()

    def cut(self) -> None:
        """End all calls with UNAVAILABLE, and close as soon as that is written."""
        self.handler.close()
        self.finish()

    def abort(self) -> None:
        """Close at once, without waiting for the client to read."""
        if self._transport is not None:
            self._transport.abort()


def end_stream(stream: Stream, headers: list[tuple[str, str]]) -> None:
    """End ``stream`` with ``headers`` at once; nothing happens when it is closed already.

    A client that has not finished sending is told to stop with RST_STREAM(NO_ERROR),
    so a stream never stays half open. Never blocks: where the client does not read,
    the few bytes wait in the transport.
    """
    if not stream.closable:
        return
    h2: Any = stream._h2_connection  # noqa: SLF001 - what grpclib's own Stream methods use
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
