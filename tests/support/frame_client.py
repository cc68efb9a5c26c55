"""An HTTP/2 client made of single frames: it knows no rule, so it can break every one."""

import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from attrs import define, field, frozen
from hpack import Decoder, Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
FRAME_HEAD_BYTES = 9

EMBED = "/penstock.v1.EmbeddingService/Embed"
REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", EMBED),
    (":authority", "test"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


def frame(kind: int, payload: bytes = b"", stream: int = 0, flags: int = 0) -> bytes:
    length = struct.pack(">I", len(payload))[1:]
    return length + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(headers: Iterable[tuple[str, str]] = REQUEST) -> bytes:
    """HPACK that neither uses nor changes the table, and leaves names as they are."""
    return b"".join(literal(name.encode(), value.encode()) for name, value in headers)


def literal(name: bytes, value: bytes, *, kind: int = 0, huffman: bool = False) -> bytes:
    """One literal with a new name; ``kind`` is its first byte."""
    return bytes([kind]) + string(name, huffman=huffman) + string(value, huffman=huffman)


def string(text: bytes, *, huffman: bool = False) -> bytes:
    if not huffman:
        return number(len(text), 7) + text
    encoded = Encoder().huffman_coder.encode(text)
    coded = bytearray(number(len(encoded), 7))
    coded[0] |= 0x80
    return bytes(coded) + encoded


def number(value: int, bits: int) -> bytes:
    """HPACK's integer with a prefix of ``bits``."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    rest, digits = value - most, [most]
    while rest >= 128:
        digits.append(rest % 128 | 128)
        rest //= 128
    return bytes([*digits, rest])


def setting(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def headers(stream: int = 1, flags: int = END_HEADERS, payload: bytes | None = None) -> bytes:
    return frame(HEADERS, block() if payload is None else payload, stream, flags)


def uint32(value: int) -> bytes:
    return struct.pack(">I", value)


@frozen
class Received:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of a RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8])


def received(data: bytes) -> Iterator[Received]:
    """The whole frames at the beginning of ``data``."""
    while len(data) >= FRAME_HEAD_BYTES:
        end = FRAME_HEAD_BYTES + int.from_bytes(data[:3])
        if len(data) < end:
            return
        stream = int.from_bytes(data[5:FRAME_HEAD_BYTES]) & 0x7FFFFFFF
        yield Received(data[3], data[4], stream, data[FRAME_HEAD_BYTES:end])
        data = data[end:]


@define(eq=False)
class FrameClient:
    """One connection; all that has been received is in ``received``."""

    socket: socket.socket
    received: list[Received] = field(factory=list)
    closed: bool = False
    _unread: bytes = b""
    _decoder: Decoder = field(factory=Decoder)

    def send(self, *frames: bytes) -> None:
        with suppress(OSError):  # what the server has said before is still to be read
            self.socket.sendall(b"".join(frames))

    def shake_hands(self) -> None:
        """The preface, both SETTINGS and both acknowledgements."""
        self.send(PREFACE, frame(SETTINGS), frame(SETTINGS, flags=ACK))
        self.until(lambda found: found.kind == SETTINGS and found.flags & ACK)

    def read(self) -> Received | None:
        """The next frame; None once the server has closed."""
        while (found := self._next()) is None:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                self.closed = True
                return None
            self._unread += data
        self.received.append(found)
        return found

    def _next(self) -> Received | None:
        found = next(received(self._unread), None)
        if found is not None:
            self._unread = self._unread[FRAME_HEAD_BYTES + len(found.payload) :]
        return found

    def until(self, condition) -> Received | None:
        """The next frame for which ``condition`` holds; None when the server closes first."""
        while (found := self.read()) is not None and not condition(found):
            pass
        return found

    def headers(self, found: Received) -> list[tuple[bytes, bytes]]:
        """What a HEADERS frame says; ask for each of a connection in turn, or for one."""
        return [tuple(header) for header in self._decoder.decode(found.payload, raw=True)]

    def barrier(self, mark: bytes = b"barrier!") -> bool:
        """Whether the server answers a PING; by then it has said all it has to say."""
        self.send(frame(PING, mark))
        ack = (PING, ACK, mark)
        return self.until(lambda f: (f.kind, f.flags, f.payload) == ack) is not None

    def error(self, kind: int, stream: int = 0) -> int | None:
        """The code of the RST_STREAM (of ``stream``) or GOAWAY that has come."""
        codes = [f.code for f in self.received if f.kind == kind and f.stream == stream]
        return codes[0] if codes else None


@contextmanager
def frame_client(port: int, *, handshake: bool = True) -> Iterator[FrameClient]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connected:
        client = FrameClient(connected)
        if handshake:
            client.shake_hands()
        yield client
