"""What RFC 9113 forbids a client, as frames to send, and the errors that follow."""

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
from http2_cases import BODY, EIGHT, HALF, MAX_FRAME, MOST, REST, Case, asked, call, priority

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
