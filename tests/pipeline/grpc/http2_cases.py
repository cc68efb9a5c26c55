"""What RFC 9113 (and h2spec after it) asks of a server, as frames to send.

The number in a case's name is the section that it is about. A call is always to be
answered on stream 1, unless the case says otherwise."""

from collections.abc import Iterable

from attrs import frozen
from frame_client import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    PADDED,
    PING,
    PRIORITY,
    REQUEST,
    RST_STREAM,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    block,
    frame,
    headers,
    setting,
    uint32,
)
from h2.errors import ErrorCodes
from penstock.v1.embedding_pb2 import EmbedRequest
from raw_client import framed

BODY = framed(EmbedRequest(texts=["a"]))
LARGE = framed(EmbedRequest(texts=["a" * 4000] * 5))
HALF, REST = block()[:20], block()[20:]
BODY_FRAME = frame(DATA, BODY, 1, END_STREAM)
MOST = 2**31 - 1
MAX_FRAME = 1 << 14
EIGHT = b"12345678"
LIGHT = uint32(0) + b"\x10"  # a priority


@frozen
class Case:
    """Frames to send after the handshake, and the error that they are (None: none)."""

    name: str
    sent: bytes
    code: ErrorCodes | None = None


def call(stream: int = 1, payload: bytes | None = None, body: bytes = BODY) -> bytes:
    """A whole call."""
    return headers(stream, payload=payload) + frame(DATA, body, stream, END_STREAM)


def asked(
    *more: tuple[str, str], drop: Iterable[str] = (), first: Iterable[tuple[str, str]] = ()
) -> bytes:
    """A call with ``more`` headers behind the usual ones, ``first`` ones, and some left out."""
    kept = [(name, value) for name, value in REQUEST if name not in drop]
    return call(payload=block([*first, *kept, *more]))


def priority(depends_on: int, weight: int, stream: int) -> bytes:
    return frame(PRIORITY, uint32(depends_on) + bytes([weight - 1]), stream)


ANSWERED = [
    Case("3.4 preface and SETTINGS", call()),
    Case("4.1 a frame of unknown type", frame(0x16, EIGHT) + call()),
    Case("4.1 undefined flags", frame(PING, EIGHT, flags=0x16) + call()),
    Case("4.1 the reserved bit", frame(PING, EIGHT, 1 << 31) + call()),
    Case(
        "4.2 a frame of 2^14 bytes",
        headers()
        + frame(DATA, LARGE[:MAX_FRAME], 1)
        + frame(DATA, LARGE[MAX_FRAME:], 1, END_STREAM),
    ),
    Case("5.1 PRIORITY on an idle stream", priority(0, 256, 1) + call()),
    Case("5.1 PRIORITY on a half-closed stream", call() + priority(0, 256, 1)),
    Case("5.1 WINDOW_UPDATE on a half-closed stream", call() + frame(WINDOW_UPDATE, uint32(1), 1)),
    Case(
        "5.1 RST_STREAM on a half-closed stream", call() + call(3) + frame(RST_STREAM, uint32(8), 3)
    ),
    Case("5.1 PRIORITY of a higher stream first", priority(0, 16, 5) + call()),
    Case("5.5 an unknown frame on a stream", headers() + frame(0x20, b"x", 1) + BODY_FRAME),
    Case(
        "6.1 several DATA frames",
        headers() + frame(DATA, BODY[:3], 1) + frame(DATA, BODY[3:], 1, END_STREAM),
    ),
    Case(
        "6.1 padded DATA",
        headers() + frame(DATA, b"\x05" + BODY + bytes(5), 1, END_STREAM | PADDED),
    ),
    Case(
        "6.1 an empty DATA frame last",
        headers() + frame(DATA, BODY, 1) + frame(DATA, b"", 1, END_STREAM),
    ),
    Case(
        "6.2 padded HEADERS",
        headers(payload=b"\x05" + block() + bytes(5), flags=END_HEADERS | PADDED) + BODY_FRAME,
    ),
    Case(
        "6.2 HEADERS with a priority",
        headers(payload=LIGHT + block(), flags=END_HEADERS | WITH_PRIORITY) + BODY_FRAME,
    ),
    Case("6.3 weight 1", priority(0, 1, 1) + call()),
    Case("6.3 weight 256", priority(0, 256, 1) + call()),
    Case("6.3 a dependency", priority(7, 16, 1) + call()),
    Case("6.3 an exclusive dependency", priority(7 | 1 << 31, 16, 1) + call()),
    Case("6.4 RST_STREAM on an open stream", call() + headers(3) + frame(RST_STREAM, uint32(8), 3)),
    Case("6.5 SETTINGS", setting((3, 100)) + call()),
    Case("6.5.2 an unknown setting", setting((0xFF, 1)) + call()),
    Case("6.5.2 a header table of no size", setting((1, 0)) + call()),
    Case("6.8 GOAWAY(NO_ERROR)", call() + frame(GOAWAY, bytes(8))),
    Case("6.9 WINDOW_UPDATE, connection", frame(WINDOW_UPDATE, uint32(1)) + call()),
    Case(
        "6.9 WINDOW_UPDATE, stream",
        headers() + frame(WINDOW_UPDATE, uint32(1), 1) + BODY_FRAME,
    ),
    Case(
        "6.10 one CONTINUATION",
        headers(flags=0, payload=HALF) + frame(CONTINUATION, REST, 1, END_HEADERS) + BODY_FRAME,
    ),
    Case(
        "6.10 several CONTINUATIONs",
        headers(flags=0, payload=HALF)
        + frame(CONTINUATION, REST[:5], 1)
        + frame(CONTINUATION, b"", 1)
        + frame(CONTINUATION, REST[5:], 1, END_HEADERS)
        + BODY_FRAME,
    ),
    Case("7 RST_STREAM of an unknown code", call() + call(3) + frame(RST_STREAM, uint32(255), 3)),
    Case("8.1 GET", asked(first=[(":method", "GET")], drop=[":method"])),
    Case("8.1 HEAD", asked(first=[(":method", "HEAD")], drop=[":method"])),
    Case(
        "8.1 trailers",
        headers()
        + frame(DATA, BODY, 1)
        + headers(flags=END_HEADERS | END_STREAM, payload=block([("x", "y")])),
    ),
    Case("8.1.1 a content-length that is right", asked(("content-length", str(len(BODY))))),
]
