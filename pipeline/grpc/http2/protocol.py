"""asyncio's view of one connection: what is read goes to h2, and its events to the processor.

Internals touched (grpclib is pinned exactly): all of ``H2Protocol``, whose own
``data_received`` lets anything but a ProtocolError out into the loop.
"""

from asyncio import BaseTransport, Transport
from typing import Protocol, cast

import structlog
from grpclib.config import Configuration
from grpclib.protocol import H2Protocol
from h2.connection import ConnectionState
from h2.errors import ErrorCodes

from pipeline.grpc.http2.connection import EdgeConnection
from pipeline.grpc.http2.connection_age import Action, ConnectionAge, Observation
from pipeline.grpc.http2.processor import EdgeHandler, EdgeProcessor
from pipeline.grpc.http2.server_connection import ALL_STREAMS, WINDOW_BYTES, ServerH2
from pipeline.grpc.limits import EdgeLimits

log = structlog.get_logger()


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
    connection: EdgeConnection
    processor: EdgeProcessor

    def __init__(
        self,
        handler: EdgeHandler,
        connections: Connections,
        limits: EdgeLimits,
        age: ConnectionAge,
    ) -> None:
        self.h2 = ServerH2(limits)
        self._age = age
        self._received = 0  # bytes
        config = Configuration().__for_server__()
        super().__init__(handler, config, self.h2.config)
        self._connections = connections
        self._transport: Transport | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Send our SETTINGS and open the connection's window."""
        self._transport = transport = cast(Transport, transport)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW_BYTES - self.h2.inbound_flow_control_window)
        self.connection = EdgeConnection(self.h2, transport, self.config)
        self.connection.flush()
        self.processor = EdgeProcessor(self.handler, self.connection, self.h2)
        self._connections.opened(self)

    def data_received(self, data: bytes) -> None:
        """Feed ``data`` to h2; a client that breaks the protocol is told so and cut off."""
        self._received += len(data)
        try:
            for event in self.connection.feed(data):
                self.processor.process(event)
        except Exception as error:
            self._break_off(error)
        else:
            self.connection.flush()

    def _break_off(self, error: Exception) -> None:
        log.info("gRPC connection broken", error=type(error).__name__)
        if self.connection.is_closing():
            self.connection.cut_off()
            return
        if self.h2.state_machine.state is not ConnectionState.CLOSED:  # or h2 has said why
            code = getattr(error, "error_code", ErrorCodes.INTERNAL_ERROR)
            self.h2.close_connection(code)
        self.connection.cut_off()
        self.processor.drop()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel what is in flight."""
        super().connection_lost(exc)
        self._connections.closed(self)

    def look(self, now: float) -> None:
        """Do what is due at ``now`` (the loop's time); to be called a few times a second."""
        if self._transport is None:
            return
        self.handler.end_stalled(now)
        seen = Observation(
            greeted=self.h2.greeted,
            received=self._received,
            unfinished=self.h2.mid_frame,
            blocked=self.connection.is_blocked,
            drained=self.connection.drained(self._transport),
        )
        match self._age.step(now, seen):
            case Action.PING:
                self._ping()
            case Action.ANNOUNCE:
                self.announce_end()
            case Action.FINISH:
                self.finish()
            case Action.CUT:
                self.cut()
            case Action.ABORT:
                log.info("gRPC connection closed: its client kept it waiting")
                self.abort()

    def _ping(self) -> None:
        if not self.connection.is_closing():
            self.h2.ping(b"still on")
            self.connection.flush()

    def announce_end(self) -> None:
        """First phase: tell the client to open no new streams; those that come are served."""
        if not self.connection.is_closing():
            self.h2.go_away(ALL_STREAMS)
            self.connection.flush()

    def finish(self) -> None:
        """Second phase: name the last stream that is served, and close once all have ended."""
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
