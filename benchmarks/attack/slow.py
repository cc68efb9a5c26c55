"""Slow clients: they open calls or connections, and keep the server waiting."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from hyperframe.frame import DataFrame, SettingsFrame, WindowUpdateFrame
from penstock.v1.embedding_pb2 import EmbedRequest

from benchmarks.attack.connection import INITIAL_WINDOW_SIZE, PREFACE, Connection, opening, wire

MOST: Final = 2**31 - 1
CALLS: Final = 100
STREAMS: Final = 1000
LARGE: Final = 1 << 20
PAUSE_S: Final = 0.2


def _message(stream: int, texts: int) -> Iterator[bytes]:
    """A whole request with so many texts."""
    message = EmbedRequest(texts=["a"] * texts).SerializeToString()
    data = b"\0" + len(message).to_bytes(4) + message
    yield opening(stream)
    for at in range(0, len(data), 1 << 14):
        last = ["END_STREAM"] if at + (1 << 14) >= len(data) else []
        yield wire(DataFrame(stream, data[at : at + (1 << 14)], flags=last))


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
        connection.send(wire(WindowUpdateFrame(0, MOST - 65_535)))
    connection.link.settimeout(1.0)  # the server may stop to read
    for number in range(calls):
        if not connection.send(*body(2 * number + 1)):
            break
    return connection


def _part(stream: int, sent: int) -> Iterator[bytes]:
    yield opening(stream)
    data = b"\0" + LARGE.to_bytes(4) + bytes(sent)
    for at in range(0, len(data), 1 << 14):
        yield wire(DataFrame(stream, data[at : at + (1 << 14)]))


def _trickle(target: str, seconds: float) -> object:
    connection = _calls(target, lambda stream: _part(stream, 1000))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        connection.send(*(wire(DataFrame(2 * number + 1, b"x")) for number in range(CALLS)))
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
    "half a frame": lambda target, _: _many(target, PREFACE + wire(SettingsFrame(0)) + b"\0\0"),
    "no message": lambda target, _: _calls(target, lambda n: iter([opening(n)]), calls=STREAMS),
    "unfinished messages": lambda target, _: _calls(target, lambda n: _part(n, LARGE - 1)),
    "trickled messages": _trickle,
    "answers not read": lambda target, _: _calls(target, lambda n: _message(n, 4096)),
    "socket not read": lambda target, _: _calls(target, lambda n: _message(n, 4096), window=MOST),
    "trickled reading": _sip,
}
