"""HTTP/1.1 as Hypercorn speaks it, and nothing else that a client may offer.

A request to upgrade to another protocol is answered in this one. A request as to a proxy,
with the whole address (RFC 9112, 3.2.2), is accepted. Empty lines before a request are
skipped (2.2). What follows a request that is to be the last is discarded (9.6), and does not
cost it its answer. Input that is not HTTP gets an error as answer, and its connection is
closed.

A client that waits for 100 Continue (RFC 9110, 10.1.1) gets it when the body is wanted. If
it is answered before, its connection ends, since it is not known whether its body follows.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import h11
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import H11SendableEvent

from pipeline.http.errors import tei_error
from pipeline.http.response_headers import CLOSE, NAME
from pipeline.interface.request_checks import request_id_of
from stages.errors import InvalidInput

BOTH_LENGTHS: Final = {b"content-length", b"transfer-encoding"}
BETWEEN_REQUESTS: Final = {h11.IDLE, h11.DONE}

Read: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class _Chunks:
    """h11's reader of chunks, but those that came together are one piece of data.

    Otherwise a body in chunks of a byte would cost a message and a change of state for each.
    """

    def __init__(self, reader: Any) -> None:
        self._reader: Callable[[object], h11.Event | None] = reader
        self._behind: h11.Event | None = None
        self.read_eof = reader.read_eof

    def __call__(self, buffer: object) -> h11.Event | None:
        event, self._behind = self._behind, None
        if event is not None:
            return event
        chunks = []
        while isinstance(event := self._reader(buffer), h11.Data):
            chunks.append(event.data)
        if not chunks:
            return event
        self._behind = event
        return h11.Data(data=b"".join(chunks))


class _Server(h11.Connection):
    """A server's end, which reads nothing after the last request.

    A request that declares its length in two ways is refused: a proxy that goes by the other
    one would see other requests (RFC 9112, 6.3).
    """

    they_are_waiting_for_100_continue = False  # or Hypercorn would ask for every body

    def receive_data(self, data: bytes) -> None:
        if self.their_state is not h11.MUST_CLOSE:
            super().receive_data(data)

    def next_event(self) -> Read:
        if self.their_state is h11.MUST_CLOSE:
            return h11.NEED_DATA
        if self.their_state in BETWEEN_REQUESTS:
            self._pass_over_empty_lines()
        event = super().next_event()
        if isinstance(event, h11.Request):
            lengths = BOTH_LENGTHS & {name for name, _ in event.headers}
            if lengths == BOTH_LENGTHS:
                raise h11.RemoteProtocolError("content-length and transfer-encoding")
            if b"transfer-encoding" in lengths:
                self._reader = _Chunks(self._reader)
        return h11.NEED_DATA if event is h11.PAUSED else event  # nobody waits within

    def _pass_over_empty_lines(self) -> None:
        if self._receive_buffer.is_next_line_obviously_invalid_request_line():
            data, _ = self.trailing_data
            self._receive_buffer.maybe_extract_at_most(len(data) - len(data.lstrip(b"\r\n")))


class Http1(H11Protocol):
    """The protocol of one connection; made with what Hypercorn's is made with.

    ``answered_unasked`` once a client has its answer that was never asked for its body.
    """

    connection: _Server

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connection = _Server(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )
        self.answered_unasked = False

    @property
    def paused(self) -> bool:
        """Whether part of the next request has come, which waits for the end of this one."""
        return self.connection.their_state is h11.DONE and bool(self.connection.trailing_data[0])

    async def go_on(self) -> None:
        """Handle what came after the request that has now been answered."""
        await self._handle_events()

    async def ask_for_body(self) -> None:
        """Send 100 Continue to a client that waits for it."""
        if self.connection.client_is_waiting_for_100_continue:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        waits = self.connection.client_is_waiting_for_100_continue
        if waits and isinstance(event, h11.Response):
            self.answered_unasked = True
            event = h11.Response(status_code=event.status_code, headers=[*event.headers, CLOSE])
        await super()._send_h11_event(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        del event

    async def _create_stream(self, request: h11.Request) -> None:
        await super()._create_stream(_plain(request))

    async def _send_error_response(self, status_code: int) -> None:
        answer = tei_error(InvalidInput(self._why(status_code)))
        headers = [*answer.raw_headers, (NAME, request_id_of("").encode()), CLOSE]
        for event in (
            h11.Response(status_code=status_code, headers=headers),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            await self._send_h11_event(event)

    def _why(self, status: int) -> str:
        match status:
            case HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
                return f"the head has more than {self.config.h11_max_incomplete_size} bytes"
            case HTTPStatus.NOT_IMPLEMENTED:
                return "transfer-encoding: only chunked is known"
            case _:
                return "the request is not valid HTTP/1.1"


def origin_form(target: bytes) -> bytes:
    """A request's target without scheme and host.

    >>> origin_form(b"http://example.org/health?a=b"), origin_form(b"HTTP://x"), origin_form(b"*")
    (b'/health?a=b', b'/', b'*')
    """
    scheme, found, rest = target.partition(b"://")
    if target.startswith(b"/") or not found or scheme.lower() not in {b"http", b"https"}:
        return target
    at = min((place for mark in b"/?#" if (place := rest.find(mark)) >= 0), default=len(rest))
    path = rest[at:]
    return path if path.startswith(b"/") else b"/" + path


def _plain(request: h11.Request) -> h11.Request:
    """``request`` in origin form, for no other protocol."""
    wants_other = any(name == b"upgrade" for name, _ in request.headers)
    if request.target.startswith(b"/") and not wants_other:
        return request
    return h11.Request(
        method=request.method,
        target=origin_form(request.target),
        headers=[(name, value) for name, value in request.headers if name != b"upgrade"],
        http_version=request.http_version,
    )
