"""One connection of an attacker, and the frames that it sends."""

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from attrs import field, frozen
from hpack import Encoder
from hyperframe.frame import Frame, HeadersFrame, SettingsFrame

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS: Final = Encoder().encode(
    [
        (":method", "POST", True),
        (":scheme", "http", True),
        (":path", "/penstock.v1.EmbeddingService/Embed", True),
        (":authority", "attacker", True),
        ("te", "trailers", True),
        ("content-type", "application/grpc", True),
        ("grpc-timeout", "1H", True),
    ]
)
INITIAL_WINDOW_SIZE: Final = 4


@frozen(eq=False)
class Connection:
    """One connection to the server, which has been greeted unless ``greets`` is false."""

    target: str
    greets: bool = True
    settings: Mapping[int, int] = field(factory=dict)
    link: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.greets:
            self.send(PREFACE, wire(SettingsFrame(0, settings=dict(self.settings))))

    @link.default
    def _connected(self) -> socket.socket:
        host, port = self.target.rsplit(":", 1)
        return socket.create_connection((host, int(port)))

    def send(self, *parts: bytes) -> bool:
        """Whether the server has taken it."""
        with suppress(OSError):
            self.link.sendall(b"".join(parts))
            return True
        return False

    def closed_within(self, seconds: float) -> bool:
        """Read until the server has closed; False when it does not."""
        until = time.monotonic() + seconds
        with suppress(OSError):
            while (left := until - time.monotonic()) > 0:
                self.link.settimeout(left)
                if not self.link.recv(1 << 20):
                    return True
            return False
        return time.monotonic() < until


def wire(frame: Frame) -> bytes:
    """The frame as it is sent."""
    return frame.serialize()


def opening(stream: int) -> bytes:
    """The headers that begin a call."""
    return wire(HeadersFrame(stream, HEADERS, flags=["END_HEADERS"]))
