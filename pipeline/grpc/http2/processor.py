"""The reactions to a connection's events: grpclib's, mended for a server.

What is mended, and the internals that each mend touches (grpclib is pinned exactly;
h2's own are in :mod:`pipeline.grpc.http2.server_connection`):

- *Surplus streams* are refused alone, with REFUSED_STREAM, which clients may retry
  safely; many of them are a flood. (``EventsProcessor.process_request_received``)
- *Malformed requests* end only their stream, and are told why; so do requests with
  too many headers. (``process_request_received``, ``process_trailers_received``)
- *Two-phase GOAWAY*, and a client's GOAWAY(NO_ERROR): calls in flight finish.
  (``process_connection_terminated``, ``register``)
- *Unknown frames* are ignored, as RFC 9113 (5.5) says; grpclib raises. (``process``)
- *Empty DATA frames* in the middle of a message are legal; grpclib takes them for
  the end of the stream. (``process_data_received``)
"""

from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from grpclib.protocol import AbstractHandler, EventsProcessor, Stream
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import StreamClosedError

from pipeline.grpc.http2.connection import EdgeConnection
from pipeline.grpc.http2.header_rules import CheckedHeaders, trailers_flaw
from pipeline.grpc.http2.server_connection import ALL_STREAMS, ServerH2
from pipeline.grpc.http2.stream_end import end_stream, reset_stream
from pipeline.grpc.trailers import status_trailers
from pipeline.interface.statuses import GrpcStatus


class EdgeHandler(AbstractHandler):
    """The calls of one connection: grpclib's interface, extended."""

    @abstractmethod
    def close_streaming(self) -> None:
        """End what would never end by itself."""

    @abstractmethod
    def end_stalled(self, now: float) -> None:
        """End the calls whose client keeps them waiting; ``now`` is the loop's time."""


class EdgeProcessor(EventsProcessor):
    """grpclib's reactions to what h2 reports, for a server."""

    connection: EdgeConnection

    def __init__(self, handler: EdgeHandler, connection: EdgeConnection, h2: ServerH2) -> None:
        super().__init__(handler, connection)
        self._h2 = h2
        self._max_metadata_bytes = h2.local_settings.max_header_list_size or 0
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
        stream_id: int = event.stream_id
        headers: Any = event.headers
        checked = headers if isinstance(headers, CheckedHeaders) else CheckedHeaders(headers)
        surplus = len(self.streams) >= self._max_streams
        if surplus:
            self._h2.flood.charge()
        if surplus or stream_id > self._last_stream_id:
            with suppress(StreamClosedError):  # the client reset it in the same read
                self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
        elif checked.flaw is not None:
            self._refuse_malformed(stream_id, checked.flaw)
        elif checked.size > self._max_metadata_bytes:
            self._refuse(
                stream_id,
                GrpcStatus.RESOURCE_EXHAUSTED,
                f"the metadata has {checked.size} bytes; "
                f"at most {self._max_metadata_bytes} are allowed",
            )
        else:
            self._h2.flood.transfers += 1
            super().process_request_received(event)

    def process_window_updated(self, event: WindowUpdated) -> None:
        """Wake the streams that wait for it; waking all would create an event for each."""
        waiters = self.connection.window_waiters
        for stream in waiters:
            if event.stream_id in (0, stream.id):
                stream.window_updated.set()

    def process_remote_settings_changed(self, event: RemoteSettingsChanged) -> None:
        """Windows may have grown."""
        del event
        for stream in self.connection.window_waiters:
            stream.window_updated.set()

    def process_trailers_received(self, event: TrailersReceived) -> None:
        """Requests have no trailers in gRPC: well-formed ones are ignored."""
        headers: Any = event.headers
        stream = self.streams.get(event.stream_id)
        if stream is not None and trailers_flaw(headers) is not None:
            reset_stream(stream, ErrorCodes.PROTOCOL_ERROR)
            self.handler.cancel(stream)

    def _refuse_malformed(self, stream_id: int, flaw: str) -> None:
        """Say what is wrong, and reset the stream (RFC 9113, 8.1.1)."""
        with suppress(StreamClosedError):
            self._h2.send_headers(
                stream_id,
                [
                    (":status", "400"),
                    *status_trailers(GrpcStatus.INVALID_ARGUMENT, flaw, opened=True),
                ],
            )
            self._h2.reset_stream(stream_id, ErrorCodes.PROTOCOL_ERROR)

    def _refuse(self, stream_id: int, status: GrpcStatus, message: str) -> None:
        end_stream(
            self.connection.create_stream(stream_id=stream_id), status_trailers(status, message)
        )

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
        """Know ``stream`` until the returned function is called, once or more often."""
        release = super().register(stream)

        def release_once() -> None:
            if stream.id in self.streams:
                release()
                self._close_when_finished()

        return release_once

    def drop(self) -> None:
        """End all calls; the connection is cut off."""
        self.handler.close()
        vars(self).pop("processors", None)  # what may still come is ignored

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
