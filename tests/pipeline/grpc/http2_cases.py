"""What RFC 9113 (and h2spec after it) asks of a server, as frames to send.

The number in a case's name is the section that it is about. A call is always to be
answered on stream 1, unless the case says otherwise.
"""

from collections.abc import Iterable

from attrs import frozen
from frame_client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    REQUEST,
    RST_STREAM,
    SETTINGS,
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

PROTOCOL = ErrorCodes.PROTOCOL_ERROR
SIZE = ErrorCodes.FRAME_SIZE_ERROR
FLOW = ErrorCodes.FLOW_CONTROL_ERROR

CONNECTION_ERRORS = [
    Case("3.4 no SETTINGS after the preface", PREFACE + frame(PING, EIGHT), PROTOCOL),
    Case("4.2 DATA above the limit", headers() + frame(DATA, bytes(MAX_FRAME + 1), 1), SIZE),
    Case("4.2 HEADERS above the limit", headers(payload=bytes(MAX_FRAME + 1)), SIZE),
    Case("4.3 a broken header block", headers(payload=b"\x40\x7f"), ErrorCodes.COMPRESSION_ERROR),
    Case(
        "4.3 PRIORITY within a header block",
        headers(flags=0, payload=HALF) + priority(0, 16, 1),
        PROTOCOL,
    ),
    Case(
        "4.3 HEADERS of another stream within a header block",
        headers(flags=0, payload=HALF) + headers(3),
        PROTOCOL,
    ),
    Case("5.1 DATA on an idle stream", frame(DATA, b"x", 1), PROTOCOL),
    Case("5.1 RST_STREAM on an idle stream", frame(RST_STREAM, uint32(8), 1), PROTOCOL),
    Case("5.1 WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, uint32(1), 1), PROTOCOL),
    Case("5.1 CONTINUATION on an idle stream", frame(CONTINUATION, REST, 1, END_HEADERS), PROTOCOL),
    Case("5.1.1 an even stream", headers(2), PROTOCOL),
    Case("5.1.1 a stream below the last", call(5) + headers(3), PROTOCOL),
    Case("5.4.1 a PING on a stream", frame(PING, EIGHT, 1), PROTOCOL),
    Case(
        "5.5 an unknown frame within a header block",
        headers(flags=0, payload=HALF) + frame(0x16, EIGHT, 1),
        PROTOCOL,
    ),
    Case("6.1 DATA on stream 0", frame(DATA, b"x"), PROTOCOL),
    Case("6.1 padding longer than DATA", headers() + frame(DATA, b"\xffx", 1, PADDED), PROTOCOL),
    Case("6.2 HEADERS on stream 0", headers(0), PROTOCOL),
    Case(
        "6.2 padding longer than HEADERS",
        headers(payload=b"\xff" + block(), flags=END_HEADERS | PADDED),
        PROTOCOL,
    ),
    Case("6.3 PRIORITY on stream 0", priority(0, 16, 0), PROTOCOL),
    Case("6.4 RST_STREAM on stream 0", frame(RST_STREAM, uint32(8)), PROTOCOL),
    Case("6.4 RST_STREAM of 3 bytes", headers() + frame(RST_STREAM, bytes(3), 1), SIZE),
    Case("6.5 an ACK with a payload", frame(SETTINGS, bytes(6), flags=ACK), SIZE),
    Case("6.5 SETTINGS on a stream", frame(SETTINGS, stream=1), PROTOCOL),
    Case("6.5 SETTINGS of 3 bytes", frame(SETTINGS, bytes(3)), SIZE),
    Case("6.5.2 ENABLE_PUSH of 2", setting((2, 2)), PROTOCOL),
    Case("6.5.2 a window above 2^31-1", setting((4, MOST + 1)), FLOW),
    Case("6.5.2 frames below 2^14", setting((5, MAX_FRAME - 1)), PROTOCOL),
    Case("6.5.2 frames above 2^24-1", setting((5, 1 << 24)), PROTOCOL),
    Case("6.6 PUSH_PROMISE", call() + frame(PUSH_PROMISE, uint32(2) + block(), 1, 4), PROTOCOL),
    Case("6.7 PING of 6 bytes", frame(PING, bytes(6)), SIZE),
    Case("6.8 GOAWAY on a stream", frame(GOAWAY, bytes(8), 1), PROTOCOL),
    Case("6.9 WINDOW_UPDATE of 0", frame(WINDOW_UPDATE, uint32(0)), PROTOCOL),
    Case("6.9 WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, bytes(3)), SIZE),
    Case("6.9.1 a connection's window above 2^31-1", frame(WINDOW_UPDATE, uint32(MOST)) * 2, FLOW),
    Case(
        "6.9.2 a stream's window above 2^31-1 by SETTINGS",
        call() + frame(WINDOW_UPDATE, uint32(1000), 1) + setting((4, MOST)),
        FLOW,
    ),
    Case("6.10 CONTINUATION on stream 0", headers(flags=0) + frame(CONTINUATION, b""), PROTOCOL),
    Case(
        "6.10 another frame within a header block",
        headers(flags=0, payload=HALF) + frame(CONTINUATION, REST, 1) + frame(DATA, BODY, 1),
        PROTOCOL,
    ),
    Case(
        "6.10 CONTINUATION after whole HEADERS",
        headers() + frame(CONTINUATION, REST, 1, END_HEADERS),
        PROTOCOL,
    ),
    Case(
        "6.10 CONTINUATION after the last one",
        headers(flags=0, payload=HALF) + frame(CONTINUATION, REST, 1, END_HEADERS) * 2,
        PROTOCOL,
    ),
    Case(
        "6.10 CONTINUATION after DATA",
        headers() + frame(DATA, BODY, 1) + frame(CONTINUATION, REST, 1, END_HEADERS),
        PROTOCOL,
    ),
]

CLOSED = ErrorCodes.STREAM_CLOSED
DATA_AFTER_END = frame(DATA, b"x", 1)
RESET = frame(RST_STREAM, uint32(8), 1)

STREAM_ERRORS = [
    Case("5.1 DATA on a half-closed stream", call() + DATA_AFTER_END, CLOSED),
    Case("5.1 HEADERS on a half-closed stream", call() + headers(), CLOSED),
    Case("5.1 DATA after RST_STREAM", headers() + RESET + DATA_AFTER_END, CLOSED),
    Case("5.1 HEADERS after RST_STREAM", headers() + RESET + headers(), CLOSED),
    Case(
        "5.3.1 HEADERS that depend on themselves",
        headers(payload=uint32(1) + b"\x10" + block(), flags=END_HEADERS | WITH_PRIORITY),
        PROTOCOL,
    ),
    Case("5.3.1 PRIORITY that depends on itself", priority(1, 16, 1), PROTOCOL),
    Case("6.3 PRIORITY of 4 bytes", headers() + frame(PRIORITY, bytes(4), 1), SIZE),
    Case("6.9 WINDOW_UPDATE of 0", headers() + frame(WINDOW_UPDATE, uint32(0), 1), PROTOCOL),
    Case(
        "6.9.1 a stream's window above 2^31-1",
        headers() + frame(WINDOW_UPDATE, uint32(MOST), 1) * 2,
        FLOW,
    ),
    Case("8.1 a second HEADERS that is no end", headers() + headers(), PROTOCOL),
    Case(
        "8.1.1 a content-length above the body",
        asked(("content-length", str(len(BODY) + 1))),
        PROTOCOL,
    ),
    Case(
        "8.1.1 a content-length below several frames",
        headers(payload=block([*REQUEST, ("content-length", "1")]))
        + frame(DATA, BODY[:3], 1)
        + frame(DATA, BODY[3:], 1, END_STREAM),
        PROTOCOL,
    ),
    Case("8.2.1 a name in capitals", asked(("X-Test", "ok")), PROTOCOL),
    Case("8.2.2 connection", asked(("connection", "keep-alive")), PROTOCOL),
    Case("8.2.2 te other than trailers", asked(("te", "trailers, deflate"), drop=["te"]), PROTOCOL),
    Case("8.3 an unknown pseudo-header", asked(first=[(":test", "ok")]), PROTOCOL),
    Case("8.3 a pseudo-header of responses", asked(first=[(":status", "200")]), PROTOCOL),
    Case(
        "8.3 a pseudo-header among the trailers",
        headers() + headers(flags=END_HEADERS | END_STREAM, payload=block([(":method", "POST")])),
        PROTOCOL,
    ),
    Case("8.3 a pseudo-header after others", asked((":path", "/x"), drop=[":path"]), PROTOCOL),
    Case("8.3.1 an empty path", asked(first=[(":path", "")], drop=[":path"]), PROTOCOL),
    *(
        Case(f"8.3.1 no {name}", asked(drop=[name]), PROTOCOL)
        for name in (":method", ":scheme", ":path")
    ),
    *(
        Case(f"8.3.1 {name} twice", asked(first=[(name, value)]), PROTOCOL)
        for name, value in REQUEST[:3]
    ),
]
