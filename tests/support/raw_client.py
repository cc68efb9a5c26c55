"""An HTTP/2 client that does what no gRPC library would, over a blocking socket."""

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import h2.config
import h2.connection
import h2.events
from google.protobuf.message import Message

EMBED = "/penstock.v1.EmbeddingService/Embed"


def framed(message: Message, *, compressed: bool = False) -> bytes:
    data = message.SerializeToString()
    return struct.pack(">?I", compressed, len(data)) + data


def raw_frame(kind: int, payload: bytes, stream: int = 0, flags: int = 0) -> bytes:
    header = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return header + struct.pack(">I", stream) + payload


class PatientH2(h2.connection.H2Connection):
    """h2, but it goes on reading after a GOAWAY, as clients must."""

    def _receive_goaway_frame(self, frame):
        event = h2.events.ConnectionTerminated()
        event.last_stream_id = frame.last_stream_id
        event.error_code = frame.error_code
        return [], [event]


class RawClient:
    """One connection. Frames are collected by :meth:`send` and leave with :meth:`flush`."""

    def __init__(self, port: int, *, receive_buffer: int = 1 << 20) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(10)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        config = h2.config.H2Configuration(
            client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = PatientH2(config)
        self.h2.initiate_connection()
        self.closed = False
        self.pong = False
        self.goaways: list[int] = []
        self.errors: list[int] = []  # of GOAWAYs that name one
        self.responses: dict[int, dict[bytes, bytes]] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.settings: dict[int, int] = {}
        self.flush()

    def open(
        self,
        path: str = EMBED,
        body: bytes | None = None,
        *,
        extra: Iterable[tuple[str, str]] = (),
        drop: Iterable[str] = (),
        end: bool = True,
    ) -> int:
        """Queue a call; its stream id."""
        stream = self.h2.get_next_available_stream_id()
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "test",
            "te": "trailers",
            "content-type": "application/grpc+proto",
        } | dict(extra)
        kept = [(name, value) for name, value in headers.items() if name not in set(drop)]
        self.h2.send_headers(stream, kept, end_stream=end and body is None)
        if body is not None:
            self._send(stream, body, end=end)
        return stream

    def _send(self, stream: int, body: bytes, *, end: bool) -> None:
        """In frames as large as the server takes, as its windows open."""
        most = self.h2.max_outbound_frame_size
        for at in range(0, len(body) or 1, most):
            piece = body[at : at + most]
            while self.h2.local_flow_control_window(stream) < len(piece):
                self.flush()
                self.read()
            self.h2.send_data(stream, piece, end_stream=end and at + most >= len(body))

    def flush(self) -> None:
        try:
            self.socket.sendall(self.h2.data_to_send())
        except OSError:  # what the server had to say before is still to be read
            self.closed = True

    def frame(self, kind: int, payload: bytes, stream: int = 0) -> None:
        """Send a frame that h2 would not."""
        self.flush()
        self.socket.sendall(raw_frame(kind, payload, stream))

    def pour(self, data: bytes) -> None:
        """Send ``data`` as far as the server takes it, reading nothing."""
        with suppress(OSError):
            self.socket.sendall(data)

    def end(self) -> None:
        """Read until the server has closed."""
        while self.read():
            pass

    def read(self) -> bool:
        """Wait for something from the server; False once it has closed."""
        if self.socket.fileno() < 0:  # it had closed before
            return False
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            self.socket.close()
            return False
        for event in self.h2.receive_data(data):
            self._note(event)
        self.flush()
        return True

    def barrier(self) -> None:
        """Read all that the server has sent by the time it hears of this."""
        self.pong = False
        self.h2.ping(b"barrier!")
        self.flush()
        while not self.pong and self.read():
            pass

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                self.responses.setdefault(event.stream_id, {}).update(event.headers)
            case h2.events.DataReceived():
                self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.ended.add(event.stream_id)
            case h2.events.PingAckReceived():
                self.pong = True
            case h2.events.StreamReset():
                self.reset[event.stream_id] = int(event.error_code)
            case h2.events.ConnectionTerminated():
                self.goaways.append(event.last_stream_id)
                if event.error_code:
                    self.errors.append(int(event.error_code))
            case h2.events.RemoteSettingsChanged():
                self.settings |= {
                    int(code): change.new_value for code, change in event.changed_settings.items()
                }

    def result(self, stream: int) -> int | None:
        """The call's gRPC status; None when it was reset, or the connection closed, without."""
        self.flush()
        while stream not in self.ended and stream not in self.reset and self.read():
            pass
        status = self.responses.get(stream, {}).get(b"grpc-status")
        return int(status) if status is not None else None

    def header(self, stream: int, name: str) -> str:
        return self.responses[stream][name.encode()].decode()


@contextmanager
def raw_client(port: int, **options: int) -> Iterator[RawClient]:
    client = RawClient(port, **options)
    try:
        yield client
    finally:
        client.socket.close()
