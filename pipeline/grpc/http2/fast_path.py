"""h2 with fast paths for the frames that small calls are made of.

h2 takes every frame through objects that know all of HTTP/2, which is most of what a small
call costs. Nearly all calls consist of the same few frames: HEADERS, DATA and WINDOW_UPDATE
from the client, and an answer of HEADERS, DATA and trailers from here, or of HEADERS
alone that refuse it. For these there is a fast path, which leaves h2 in exactly the state
that its own path does (the tests compare the two); everything else, every doubt and every
error takes h2's path.

Internals touched (h2 and hpack are pinned exactly): ``_receive_frame``,
``_begin_new_stream``, the fields of streams, windows and state machines.
"""

from typing import Any, Final, cast

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionState, H2Connection, _decode_headers
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, WindowUpdated
from h2.stream import H2Stream, StreamClosedBy, StreamState
from hyperframe.frame import Frame

from pipeline.grpc.http2.fast_frames import FastFrameBuffer, PlainFrame, PlainUpdate
from pipeline.grpc.http2.header_cache import ENCODING, CachingDecoder, HeaderBlock

SENDING: Final = (StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE)


class FastPathH2(H2Connection):
    """h2's state of a connection, on the server's side."""

    def __init__(self) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                header_encoding=ENCODING,
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.incoming_buffer = FastFrameBuffer(server=True)
        decoder = CachingDecoder()
        decoder.max_header_list_size = self.decoder.max_header_list_size
        self.decoder = decoder

    def _receive_frame(self, frame: Frame | PlainFrame | PlainUpdate) -> list[Event]:
        if isinstance(frame, Frame):
            return super()._receive_frame(frame)
        events = None
        if self.state_machine.state is ConnectionState.SERVER_OPEN:
            if isinstance(frame, PlainUpdate):
                events = self._fast_update(frame)
            else:
                events = self._fast_headers(frame) if frame.is_headers else self._fast_data(frame)
        return super()._receive_frame(frame.as_h2()) if events is None else events

    def _fast_headers(self, frame: PlainFrame) -> list[Event] | None:
        """A new request whose body is still to come."""
        stream_id = frame.stream_id
        if frame.ends_stream or stream_id <= self.highest_inbound_stream_id:
            return None
        if self.open_inbound_streams >= self.local_settings.max_concurrent_streams:
            return None
        block = cast(HeaderBlock, _decode_headers(self.decoder, frame.body))
        stream = self._begin_new_stream(stream_id, AllowedStreamIDs.ODD)
        machine = stream.state_machine
        machine.state, machine.client, machine.headers_received = StreamState.OPEN, False, True
        stream._initialize_content_length(block)  # noqa: SLF001
        return [RequestReceived(stream_id=stream_id, headers=cast(Any, block.checked))]

    def _fast_data(self, frame: PlainFrame) -> list[Event] | None:
        """A piece of a message, within both windows and the announced length."""
        stream = self.streams.get(frame.stream_id)
        if stream is None or stream.state_machine.state is not StreamState.OPEN:
            return None
        size = len(frame.body)
        windows = self._inbound_flow_control_window_manager, stream._inbound_window_manager  # noqa: SLF001
        received = stream._actual_content_length + size  # noqa: SLF001
        announced = stream._expected_content_length  # noqa: SLF001
        if (
            size > windows[0].current_window_size
            or size > windows[1].current_window_size
            or (announced is not None and received > announced)
            or (announced is not None and frame.ends_stream and received < announced)
        ):
            return None
        for window in windows:
            window.current_window_size -= size
        stream._actual_content_length = received  # noqa: SLF001
        event = DataReceived(
            stream_id=frame.stream_id, data=frame.body, flow_controlled_length=size
        )
        if not frame.ends_stream:
            return [event]
        stream.state_machine.state = StreamState.HALF_CLOSED_REMOTE
        event.stream_ended = StreamEnded(stream_id=frame.stream_id)
        return [event, event.stream_ended]

    def _fast_update(self, frame: PlainUpdate) -> list[Event] | None:
        """More may be sent, on the connection or on a stream that is open."""
        stream_id, increment = frame.stream_id, frame.increment
        whose: Any = self.streams.get(stream_id) if stream_id else self
        if whose is None or (stream_id and whose.state_machine.state not in SENDING):
            return None
        window = whose.outbound_flow_control_window + increment
        if window > H2Connection.MAX_WINDOW_INCREMENT:
            return None
        whose.outbound_flow_control_window = window
        return [WindowUpdated(stream_id=stream_id, delta=increment)]

    def answer(self, stream_id: int, head: bytes, data: bytes, trailers: bytes) -> bool:
        """Queue a whole answer: HEADERS, DATA, HEADERS with END_STREAM; False: not possible.

        ``head`` and ``trailers`` are HPACK blocks that neither use nor change the
        encoder's table. It is possible when the client has sent everything, nothing has
        been sent to it, ``data`` fits into one frame and both windows, and no change of
        the encoder's table has to be announced first.
        """
        stream, size = self._unanswered(stream_id), len(data)
        if (
            stream is None
            or size > self.max_outbound_frame_size
            or size > stream.outbound_flow_control_window
            or size > self.outbound_flow_control_window
        ):
            return False
        where = stream_id.to_bytes(4)
        self._data_to_send += b"".join(
            (
                len(head).to_bytes(3),
                b"\x01\x04",
                where,
                head,
                size.to_bytes(3),
                b"\x00\x00",
                where,
                data,
                len(trailers).to_bytes(3),
                b"\x01\x05",
                where,
                trailers,
            )
        )
        stream.outbound_flow_control_window -= size
        self.outbound_flow_control_window -= size
        _close(stream)
        stream.state_machine.trailers_sent = True
        return True

    def refuse(self, stream_id: int, block: bytes) -> bool:
        """Queue an answer of one header block, HEADERS with END_STREAM; False: not possible.

        Possible as for :meth:`answer`, whatever the windows are.
        """
        stream, size = self._unanswered(stream_id), len(block)
        if stream is None or size > self.max_outbound_frame_size:
            return False
        head = size.to_bytes(3) + b"\x01\x05" + stream_id.to_bytes(4)
        self._data_to_send += head + block
        _close(stream)
        return True

    def _unanswered(self, stream_id: int) -> H2Stream | None:
        """The stream, if its client has sent everything and its answer may be a plain block."""
        stream = self.streams.get(stream_id)
        if (
            stream is None
            or stream.state_machine.state is not StreamState.HALF_CLOSED_REMOTE
            or stream.state_machine.headers_sent
            or self.state_machine.state is not ConnectionState.SERVER_OPEN
            or self.encoder.table_size_changes
        ):
            return None
        return stream


def _close(stream: H2Stream) -> None:
    """The answer has been sent to its end."""
    machine = stream.state_machine
    machine.state, machine.stream_closed_by = StreamState.CLOSED, StreamClosedBy.SEND_END_STREAM
    machine.headers_sent = True
